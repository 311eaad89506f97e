"""A launch from the kernel of a notebook, which is interrupted and stays usable."""

import os
import queue
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.support.command import ROOT, Shell
from tests.support.small_programs import HeldSweep
from tests.support.small_sweep import TRIALS, wait_for_epochs

LONG_S = 400  # a busy machine takes minutes to start Ray


@dataclass
class Cell:
    """The outputs of an executed cell."""

    status: str = ""
    error: str = ""  # the name of the exception
    text: str = ""  # of streams
    result: dict[str, str] = field(default_factory=dict)  # by type
    views: list[str] = field(default_factory=list)  # each HTML that was displayed
    updates: list[str] = field(default_factory=list)  # each HTML that replaced it


@dataclass
class Kernel:
    """A running kernel."""

    manager: KernelManager
    client: BlockingKernelClient

    def start(self, code: str) -> str:
        return self.client.execute(code)

    def end(self, message: str) -> Cell:
        """Return the outputs of a cell once it has ended."""
        cell, deadline = Cell(), time.monotonic() + LONG_S
        while time.monotonic() < deadline:
            with suppress(queue.Empty):
                found = self.client.get_iopub_msg(timeout=1)
                if found["parent_header"].get("msg_id") == message and self._take(found, cell):
                    cell.status = self._status(message)
                    return cell
        raise TimeoutError(cell)

    def _status(self, message: str) -> str:
        while True:
            reply = self.client.get_shell_msg(timeout=10)
            if reply["parent_header"].get("msg_id") == message:
                return reply["content"]["status"]

    def run(self, code: str) -> Cell:
        return self.end(self.start(code))

    @staticmethod
    def _take(message: dict[str, Any], cell: Cell) -> bool:
        """Keep one output; return whether the cell has ended."""
        content = message["content"]
        match message["msg_type"]:
            case "stream":
                cell.text += content["text"]
            case "execute_result":
                cell.result = content["data"]
            case "display_data":
                cell.views.append(content["data"]["text/html"])
            case "update_display_data":
                cell.updates.append(content["data"]["text/html"])
            case "error":
                cell.error = content["ename"]
            case "status":
                return content["execution_state"] == "idle"
        return False


@pytest.fixture
def small(tmp_path, ray_head, data_home) -> HeldSweep:
    home = {"SWEEPER_HOME": str(data_home)}
    return HeldSweep(Shell(tmp_path, {**os.environ, **ray_head.environment, **home}), "small")


@pytest.fixture
def kernel(small) -> Iterator[Kernel]:
    manager = KernelManager()
    environment = {**small.shell.environment, "PYTHONPATH": str(ROOT)}
    manager.start_kernel(cwd=str(small.shell.folder), env=environment)
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def test_an_interrupted_launch_leaves_the_kernel_usable_and_resumes(small, ray_head, kernel):
    file, where = small.file(), f"address={ray_head.address!r}"
    small.hold()
    kernel.run("import signal, sys, sweeper; handler = signal.getsignal(signal.SIGINT)")
    launch = kernel.start(f"sweeper.launch({str(file)!r}, {where})")
    wait_for_epochs(small, 1)
    kernel.manager.interrupt_kernel()
    interrupted = kernel.end(launch)
    small.release()
    assert (interrupted.status, interrupted.error) == ("error", "Interrupted"), interrupted
    assert len(interrupted.views) == 1
    assert small.study in interrupted.updates[-1]

    assert kernel.run("1 + 1").result["text/plain"] == "2"
    assert kernel.run("{'ray', 'torch'} & set(sys.modules)").result["text/plain"] == "set()"
    assert kernel.run("signal.getsignal(signal.SIGINT) is handler").result["text/plain"] == "True"

    resumed = kernel.run(f"sweep = sweeper.open('small').resume({where}); sweep")
    assert resumed.status == "ok", resumed
    assert f"{TRIALS} of {TRIALS} trials ended" in resumed.result["text/html"]
    assert "small: finished" in resumed.result["text/plain"].replace("<Sweep ", "")
    assert resumed.updates[-1].startswith("<div")
    frame = kernel.run("sweep.trials().shape[0], sweep.curves()['epoch'].max()")
    assert frame.result["text/plain"] == f"({TRIALS}, 4)"


def test_a_fault_of_a_file_is_an_exception_in_the_cell(small, kernel):
    (small.shell.folder / "bad.yaml").write_text("name: bad\nmethds: [nft]\n")
    cell = kernel.run("import sweeper; sweeper.launch('bad.yaml')")
    assert (cell.status, cell.error) == ("error", "FileFaults")
    assert kernel.run("1 + 1").result["text/plain"] == "2"
