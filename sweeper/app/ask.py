"""Asks a sweep that runs, here or on another machine, to stop or to be cancelled."""

import os
import signal
import time
from contextlib import suppress
from typing import Any

from sweeper.app.control import CANCEL, STOP
from sweeper.app.folder import existing, started
from sweeper.ledger import Ledger
from sweeper.ledger.lease import place

OBEYS_S = 20.0  # a driver that does not obey a cancel in time is killed, if it runs here


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
        ledger.request(CANCEL)
        deadline = time.monotonic() + OBEYS_S
        while time.monotonic() < deadline:
            if (now := ledger.holder()) is None or now.owner != holder.owner:
                break
            time.sleep(0.2)
        else:
            if holder.place != place():
                text = (
                    f"asked `{name}` ({holder}) to end; it has not said so within {OBEYS_S:.0f} s."
                )
                return _answer(name, text)
            with suppress(ProcessLookupError):
                os.kill(holder.pid, signal.SIGKILL)
            _wait_for_end(ledger)
        text = f"`{name}` was cancelled; go on with: sweeper resume {name}"
        return _answer(name, text)


def _wait_for_end(ledger: Ledger) -> None:
    while ledger.holder() is not None:
        time.sleep(0.1)
    ledger.end("interrupted", "cancelled")


def _answer(name: str, message: str, *, was_running: bool = True) -> dict[str, Any]:
    return {"message": message, "sweep": name, "was_running": was_running}
