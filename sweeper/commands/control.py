"""Asks a sweep that runs, here or on another machine, to stop or to be cancelled."""

import os
import signal
import time
from contextlib import suppress
from typing import Any

import psutil

from sweeper.driver.hooks.control import CANCEL, STOP
from sweeper.ledger import EventKind, Ledger
from sweeper.ledger.lease import Holder, place
from sweeper.planning.sweep_folder import existing, started

OBEYS_S = 20.0  # a driver that does not obey a cancel in time is killed, if it runs here
POLL_S = 0.2


def stop(name: str) -> dict[str, Any]:
    """Lets the running trials of a sweep finish, and starts no other. Raises NotFound."""
    with started(existing(name)) as (ledger, _):
        holder = ledger.holder()
        if holder is None:
            return _answer(name, f"`{name}` is not running.", was_running=False)
        ledger.request(STOP)
        text = f"asked `{name}` ({holder}) to stop once its running trials have finished."
        return _answer(name, text)


def cancel(name: str) -> dict[str, Any]:
    """Ends a sweep now; its running trials keep their last checkpoints. Raises NotFound."""
    with started(existing(name)) as (ledger, _):
        holder = ledger.holder()
        if holder is None:
            return _answer(name, f"`{name}` is not running.", was_running=False)
        before = _ends(ledger)
        ledger.request(CANCEL)
        if holder.place == place():
            _continue(holder.pid)  # one that Ctrl-Z stopped obeys nobody
        if not _ends_by_itself(ledger, holder, before):
            if holder.place != place():
                text = (
                    f"asked `{name}` ({holder}) to end; it has not said so within {OBEYS_S:.0f} s."
                )
                return _answer(name, text)
            with suppress(ProcessLookupError):
                os.kill(holder.pid, signal.SIGKILL)
            _wait_for_end(ledger, before)
        text = f"`{name}` was cancelled; go on with: sweeper resume {name}"
        return _answer(name, text)


def _ends_by_itself(ledger: Ledger, holder: Holder, before: int) -> bool:
    """Wait for the end of a launch that was asked to end.

    A driver that does not obey within `OBEYS_S` does not end by itself. One that has, as the ledger
    says, is waited for however long it takes: it closes MLflow's runs, and its launch sums up.
    """
    deadline = time.monotonic() + OBEYS_S
    while (now := ledger.holder()) is not None and now.owner == holder.owner:
        if time.monotonic() > deadline and _ends(ledger) == before:
            return False
        time.sleep(POLL_S)
    return True


def _ends(ledger: Ledger) -> int:
    """Return how often the sweep has ended."""
    return ledger.count_events(kinds=(EventKind.SWEEP_ENDED,))


def _continue(pid: int) -> None:
    """Continue a launch that was stopped; it continues what it started."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_STOPPED:
            process.resume()


def _wait_for_end(ledger: Ledger, before: int) -> None:
    """Wait until a launch that was killed holds nothing, and write its end if nobody did."""
    while ledger.holder() is not None:
        time.sleep(POLL_S)
    if _ends(ledger) == before:
        ledger.end("interrupted", "cancelled")


def _answer(name: str, message: str, *, was_running: bool = True) -> dict[str, Any]:
    return {"message": message, "sweep": name, "was_running": was_running}
