"""Requests to a running sweep, here or on another machine: stop, or cancel."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from sweeper.commands.result import Message
from sweeper.driver.hooks.control import CANCEL, STOP
from sweeper.ledger import EventKind, Ledger
from sweeper.ledger.lease import Holder, place
from sweeper.planning.sweep_folder import started

OBEYS_S = 20.0  # a driver on this machine that does not obey a cancel within this time is killed
POLL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Answer(Message):
    """The answer to a request."""

    sweep: str
    was_running: bool = True


def stop(folder: Path) -> Answer:
    """Let the running trials of the sweep in `folder` finish, and start no others.

    Raises:
        NotFound: The sweep was never started.
    """
    name = folder.name
    with started(folder, checked=None) as (ledger, _):
        holder = ledger.holder()
        if holder is None:
            return _not_running(name)
        ledger.request(STOP)
        text = f"asked `{name}` ({holder}) to stop once its running trials have finished."
        return Answer(message=text, sweep=name)


def cancel(folder: Path) -> Answer:
    """End the sweep in `folder` now; its running trials keep their last checkpoints.

    Raises:
        NotFound: The sweep was never started.
    """
    name = folder.name
    with started(folder, checked=None) as (ledger, _):
        holder = ledger.holder()
        if holder is None:
            return _not_running(name)
        # Ends are counted before the request: one that comes later is the answer to it.
        ends_before = _count_ends(ledger)
        ledger.request(CANCEL)
        if holder.place == place():
            _continue(holder.pid)  # a process suspended by Ctrl-Z could not obey
        if not _ends_by_itself(ledger, holder, ends_before):
            if holder.place != place():
                text = (
                    f"asked `{name}` ({holder}) to end; it has not confirmed that within "
                    f"{OBEYS_S:.0f} s."
                )
                return Answer(message=text, sweep=name)
            with suppress(ProcessLookupError):
                os.kill(holder.pid, signal.SIGKILL)
            _wait_for_end(ledger, ends_before)
        text = f"`{name}` was cancelled; go on with: sweeper resume {name}"
        return Answer(message=text, sweep=name)


def _ends_by_itself(ledger: Ledger, holder: Holder, ends_before: int) -> bool:
    """Wait until the driver that was asked to end has ended; return False if it does not obey.

    A driver that has written its end into the ledger is waited for without a limit: it closes the
    runs in MLflow, and its launch prints the summary.
    """
    deadline = time.monotonic() + OBEYS_S
    # Once this launch has ended, another one may take the lease.
    while (now := ledger.holder()) is not None and now.owner == holder.owner:
        if time.monotonic() > deadline and _count_ends(ledger) == ends_before:
            return False
        time.sleep(POLL_S)
    return True


def _count_ends(ledger: Ledger) -> int:
    """Return how often the sweep has ended."""
    return ledger.count_events(kinds=(EventKind.SWEEP_ENDED,))


def _continue(pid: int) -> None:
    """Continue a suspended launch; it continues the processes that it started."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_STOPPED:
            process.resume()


def _wait_for_end(ledger: Ledger, ends_before: int) -> None:
    """Wait until a killed launch has lost its lease, and record its end if nobody has."""
    while ledger.holder() is not None:
        time.sleep(POLL_S)
    if _count_ends(ledger) == ends_before:
        ledger.end("interrupted", "cancelled")


def _not_running(name: str) -> Answer:
    return Answer(message=f"`{name}` is not running.", sweep=name, was_running=False)
