"""The parts of a running launch, found and killed by their exact process numbers."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress

import psutil

from sweeper.driver.supervisor import LEASE
from tests.support.servers.process import wait_until


def driver_of(launch: subprocess.Popen[str]) -> psutil.Process:
    """Return the driver that a launch supervises at present."""
    (driver,) = (
        child
        for child in psutil.Process(launch.pid).children()
        if "sweeper.driver" in child.cmdline()
    )
    return driver


def trials_of(launch: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes in which trials run, once there are any."""
    found: list[psutil.Process] = []

    def are_there() -> list[psutil.Process]:
        below = _descendants(driver_of(launch))
        found[:] = [p for p in below if _title(p).startswith("ray::sweeper ")]
        return found

    wait_until(are_there, timeout_s=60, what="a trial's process")
    return found


def part_of(launch: subprocess.Popen[str], name: str) -> psutil.Process:
    """Return a part of the local Ray of a launch: `gcs_server` or `raylet`."""
    (part,) = (p for p in _descendants(driver_of(launch)) if os.path.basename(_title(p)) == name)
    return part


def left_of(owner: str) -> list[psutil.Process]:
    """Return the living processes that the driver with this lease started."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(LEASE) == owner and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def owner_of(launch: subprocess.Popen[str]) -> str:
    """Return the name of the lease in the environment of a launch's driver."""
    return str(driver_of(launch).environ()[LEASE])


def kill(process: psutil.Process) -> None:
    """SIGKILL."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGKILL)


def _descendants(process: psutil.Process) -> Iterator[psutil.Process]:
    with suppress(psutil.Error):
        yield from process.children(recursive=True)


def _title(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return next(iter(process.cmdline()), "")
    return ""
