"""A program of others in the foreground, which a signal to us ends with all that it started."""

import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FrameType

import psutil

from sweeper.errors import Interrupted

ENDING = (signal.SIGTERM, signal.SIGHUP)  # Ctrl-C comes to the whole group, from the terminal
GRACE_S = 5.0  # then it is killed


def run(command: Sequence[str], environment: Mapping[str, str]) -> None:
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
