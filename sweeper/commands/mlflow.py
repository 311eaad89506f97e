"""Addresses of the runs of sweeps in an MLflow server, in lines for its user."""

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any

import psutil

from sweeper.address import is_every_interface, is_loopback
from sweeper.config.faults import shown
from sweeper.errors import Interrupted, UsageError
from sweeper.planning import child, load
from sweeper.planning.checkpoint_paths import DIAGNOSTICS_FOLDER, CheckpointPaths, folder_of_trial
from sweeper.planning.sweep_folder import existing, started
from sweeper.tracking.mlflow_store import (
    CLICK,
    experiments,
    experiments_page,
    has_pages,
    runs_page,
    without_password,
)

START_S = 120.0  # that a server may take to answer at first
POLL_S = 0.5


def announce(server: str, say: Callable[[str], None]) -> None:
    """Tell where the runs are, once the server answers; nothing if it does not."""
    if _answers(server):
        for line in lines(server):
            say(line)


def lines(server: str) -> Iterator[str]:
    """Return a line for each experiment of sweeps, and one that helps where MLflow goes astray."""
    shown = without_password(server, server)
    try:
        found = experiments(server)
    except Exception:  # whatever MLflow's client or the network raise: the list is there anyway
        found = {}
    for name, experiment_id in found.items():
        yield f"MLflow, the runs of {name}: {runs_page(shown, experiment_id)}"
    if not found:
        yield f"MLflow, all experiments: {experiments_page(shown)}"
    yield CLICK


def _answers(server: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is on this machine
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            direct.open(f"{server}/health", timeout=5).close()
        except OSError:
            time.sleep(POLL_S)
        else:
            return True
    return False


ENDING = (signal.SIGTERM, signal.SIGHUP)  # Ctrl-C comes to the whole group, from the terminal
GRACE_S = 5.0  # then it is killed


def run_in_foreground(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a command until it ends.

    Raises:
        Interrupted: A signal ended it.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)  # the first one is obeyed
        raise Interrupted(f"{signal.Signals(number).name}: ended.", number)

    before = {
        number: signal.signal(number, handle)
        for number in ENDING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        with subprocess.Popen(command, env=environment) as process:
            try:
                process.wait()
            finally:
                _end(process.pid)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(pid: int) -> None:
    """End a process and its descendants, if they have not ended."""
    try:
        leader = psutil.Process(pid)
        processes = [*leader.children(recursive=True), leader]
    except psutil.NoSuchProcess:
        return
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=GRACE_S)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()


def sync(name: str) -> dict[str, Any]:
    """Ship to MLflow what it has not yet received of a sweep, and put deleted artifacts back.

    Raises:
        NotFound: No such sweep.
        SweepIsHeld: A launch runs it, and ships for itself.
    """
    from sweeper.driver.recorder import make_recorder

    folder = existing(name)
    with started(folder) as (ledger, record), ledger.hold():  # a launch ships for itself
        if record.state == "running":  # its driver died without a word
            ledger.end("interrupted")
        sweep = load.from_record(record)
        recorder = make_recorder(ledger, sweep, CheckpointPaths(folder, sweep.checkpoints.store))
        done = recorder.sync()
        for trial in ledger.trials() if done.restored else ():
            if (diagnostics := folder_of_trial(folder, trial) / DIAGNOSTICS_FOLDER).is_dir():
                recorder.attach(trial.study, trial.number, diagnostics)
        recorder.describe()
    failed = f"; {done.pending} are left: {done.last_error}" if done.pending else ""
    again = f"; artifacts of {done.restored} runs were put back" if done.restored else ""
    return {
        "message": f"shipped {done.shipped} records to {done.page or done.uri}{failed}{again}",
        "sweep": name,
        "shipped": done.shipped,
        "pending": done.pending,
        "restored": done.restored,
    }


def ui(host: str, port: int, *, insecure: bool, say: Callable[[str], None]) -> None:
    """Runs MLflow's UI in the foreground on the store that launches here write to.

    Where that is a server, which has its own UI, says where and returns.

    Args:
        say: Takes lines that say where the runs are, once it answers.

    Raises:
        Interrupted: A signal ended it, and with it all that it had started.
        UsageError: Others on the network could reach it, and `insecure` does not allow that.
    """
    if not (insecure or is_loopback(host)):
        raise UsageError(
            f"--host {shown(host)}: others on the network could read and change all that MLflow "
            "holds. Leave it out (127.0.0.1), or add --insecure."
        )
    uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    if has_pages(uri):
        for line in lines(uri):
            say(line)
        return
    reached = "127.0.0.1" if is_every_interface(host) else host
    server = f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"
    Thread(target=announce, args=(server, say), daemon=True).start()
    settings = {
        "MLFLOW_BACKEND_STORE_URI": uri,  # it may hold a password, which arguments would show
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    arguments = ["ui", "--host", host, "--port", str(port), "--workers", "1"]
    run_in_foreground([*child.command("mlflow"), *arguments], child.environment(**settings))
