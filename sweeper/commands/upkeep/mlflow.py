"""Sweeps in MLflow: records that are shipped late, and MLflow's own pages."""

import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from types import FrameType

import psutil

from sweeper.address import is_every_interface, is_loopback
from sweeper.commands.result import Message
from sweeper.errors import Interrupted, UsageError
from sweeper.planning import child, resuming
from sweeper.planning.checkpoint_paths import DIAGNOSTICS_FOLDER, CheckpointPaths, folder_of_trial
from sweeper.planning.sweep_folder import existing, started
from sweeper.spec.faults import shown
from sweeper.tracking.mlflow_store import (
    CLICK,
    experiments,
    experiments_page,
    has_pages,
    runs_page,
    share_view,
    tracking_uri,
    without_password,
)

START_S = 120.0  # within which a new server has to answer
POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Pages(Message):
    """The pages of MLflow about the sweeps of this folder."""

    pages: Mapping[str, str]  # address by content


def announce(server: str, say: Callable[[Pages], None]) -> None:
    """Say where the runs are once the server answers; say nothing if it does not."""
    if _answers(server):
        say(pages_of(server))


def pages_of(server: str) -> Pages:
    """Return the addresses of each experiment with sweeps, and a hint on how to use the page."""
    shown = without_password(server, server)
    found: dict[str, str] = {}
    pages: dict[str, str] = {}
    with suppress(Exception):  # whatever MLflow's client or the network raise
        found = experiments(server)
    for name, experiment_id in found.items():
        pages[f"the runs of {name}"] = runs_page(shown, experiment_id)
        view = None
        with suppress(Exception):  # likewise, such as of a server that may only be read
            view = share_view(server, experiment_id)
        if view is not None:
            pages[f"the trials of {name}, the best first"] = without_password(view, server)
    if not found:
        pages["all experiments"] = experiments_page(shown)
    lines = [f"MLflow, {content}: {address}" for content, address in pages.items()]
    return Pages(message="\n".join([*lines, CLICK]), pages=pages)


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


ENDING = (signal.SIGTERM, signal.SIGHUP)  # the terminal sends Ctrl-C to the whole process group
GRACE_S = 5.0  # after it the process is killed


def run_in_foreground(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a program until it ends; a signal to this process ends it with all its descendants.

    Raises:
        Interrupted: A signal ended the program.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)  # one signal is enough
        raise Interrupted(f"{signal.Signals(number).name}: ended.", number)

    # A signal that is ignored, as under nohup, stays ignored.
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
        # Descendants are listed before anything ends: orphans could not be found.
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


@dataclass(frozen=True, kw_only=True)
class Synced(Message):
    """The records of a sweep that went to MLflow."""

    sweep: str
    shipped: int
    pending: int
    restored: int  # runs whose artifacts were put back


def sync(name: str) -> Synced:
    """Ship the records of a sweep that MLflow lacks, and restore artifacts deleted there.

    Raises:
        NotFound: There is no such sweep.
        SweepIsHeld: A launch runs it, and ships its records itself.
    """
    from sweeper.driver.recorder import make_recorder

    folder = existing(name)
    with started(folder) as (ledger, record), ledger.hold():
        if record.state == "running":  # its driver died
            ledger.end("interrupted")
        sweep = resuming.from_record(record)
        recorder = make_recorder(ledger, sweep, CheckpointPaths(folder, sweep.checkpoints.store))
        done = recorder.sync()
        # Diagnostics are not in the ledger, so that the recorder cannot put them back.
        for trial in ledger.trials() if done.restored else ():
            if (diagnostics := folder_of_trial(folder, trial) / DIAGNOSTICS_FOLDER).is_dir():
                recorder.attach(trial.study, trial.number, diagnostics)
        recorder.describe()
    failed = f"; {done.pending} are left: {done.last_error}" if done.pending else ""
    again = f"; artifacts of {done.restored} runs were put back" if done.restored else ""
    return Synced.of(
        done,
        message=f"shipped {done.shipped} records to {done.page or done.uri}{failed}{again}",
        sweep=name,
    )


def ui(host: str, port: int, *, insecure: bool, say: Callable[[Pages], None]) -> None:
    """Run MLflow's UI in the foreground on the store that launches in this folder write to.

    If that store is a server, which has a UI of its own, print its addresses and return.

    Args:
        host: Address to listen at.
        port: Port to listen at.
        insecure: Others on the network may reach the UI.
        say: Called with the addresses, once the UI answers.

    Raises:
        Interrupted: A signal ended the UI.
        UsageError: Others on the network could reach the UI, and `insecure` is False.
    """
    if not (insecure or is_loopback(host)):
        raise UsageError(
            f"--host {shown(host)}: others on the network could read and change all that MLflow "
            "holds. Leave it out (127.0.0.1), or add --insecure."
        )
    uri = tracking_uri(None)
    if has_pages(uri):
        say(pages_of(uri))
        return
    # A browser cannot open the address of every interface.
    reached = "127.0.0.1" if is_every_interface(host) else host
    server = f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"
    # This thread waits for the end of the server, so another one waits for its first answer.
    Thread(target=announce, args=(server, say), daemon=True).start()
    settings = {
        "MLFLOW_BACKEND_STORE_URI": uri,  # not an argument: it may hold a password
        "MLFLOW_REGISTRY_STORE_URI": uri,  # else it says that it takes that one
        "MLFLOW_LOGGING_LEVEL": "ERROR",  # our addresses stay the last lines
        "PYTHONWARNINGS": "ignore",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    arguments = ["ui", "--host", host, "--port", str(port), "--workers", "1"]
    arguments += ["--uvicorn-opts", "--log-level error --no-access-log"]
    run_in_foreground([*child.command("mlflow"), *arguments], child.environment(**settings))
