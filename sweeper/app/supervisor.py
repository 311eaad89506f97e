"""Keeps a sweep's driver alive, and owns the signals.

The driver, which talks to Ray, is a process of its own. If it dies it is started again, and goes
on from the ledger; what it left running on this machine is ended first, found by the name of the
lease in its environment. The first SIGINT or SIGTERM lets it end in its own time, within limits;
a second one ends it at once.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from rich.console import Console

from sweeper.errors import SweeperError, SweepIsHeld, from_record
from sweeper.ledger import EventKind, Ledger
from sweeper.ledger.lease import Lease
from sweeper.text import without_secrets

LEASE = "SWEEPER_LEASE"  # in the environment of a driver and of all that it starts here
RESTARTS = 3  # in a row, without an epoch between them
GRACE_S = {signal.SIGINT: 13.0, signal.SIGTERM: 23.0}
PROGRESS = (EventKind.MEASURED, EventKind.TRIAL_ENDED)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a driver is to do; handed over by its standard input, since `storage` may be secret."""

    folder: str
    storage: str | None
    address: str
    owner: str  # of the lease
    requests_after: int  # users' requests up to this one are old
    insecure: bool = False


@dataclass
class _Signals:
    """The signals that came, and until when the driver may take its time."""

    seen: list[int]
    deadline: float = float("inf")


def supervise(job: Job, ledger: Ledger, lease: Lease, console: Console) -> Mapping[str, Any]:
    """Runs drivers until one ends in its own right; returns its outcome: `signal` and `why`.

    Raises:
        SweeperError: A driver said so, or drivers died again and again.
        SweepIsHeld: Another launch took the lease.
    """
    if lease.before is not None:
        _end_leftovers(lease.before.owner)
    deaths, progress = 0, ledger.count_events(kinds=PROGRESS)
    with _signals() as signals:
        while True:
            outcome = _drive(job, lease, signals)
            if "error" in outcome:
                error = from_record(outcome["error"])
                if not signals.seen:
                    raise error
                console.print(without_secrets(str(error)), markup=False, soft_wrap=True)
            if lease.lost.is_set():
                raise SweepIsHeld(f"another launch took over sweep `{ledger.name}`.")
            if signals.seen or "died" not in outcome:
                return {**outcome, "signal": next(iter(signals.seen), outcome.get("signal"))}
            now = ledger.count_events(kinds=PROGRESS)
            deaths, progress = (1 if now > progress else deaths + 1), now
            if deaths > RESTARTS:
                raise SweeperError(
                    f"the driver died {deaths} times without finishing an epoch; the last time: "
                    f"{outcome['died']} Go on with: sweeper resume {ledger.name}"
                )
            text = f"the driver died ({outcome['died']}); starting it again, from the ledger."
            console.print(text, markup=False, soft_wrap=True)


def _drive(job: Job, lease: Lease, signals: _Signals) -> dict[str, Any]:
    """Runs one driver to its end; `died` says how, if it did not end by itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeper.app.driver", Path(job.folder).name],  # Ray shows the name
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {LEASE: lease.owner},
        text=True,
        start_new_session=True,  # the terminal's Ctrl-C is ours to hand on
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:
        json.dump(asdict(job), pipe)
    handed_on = 0
    while process.poll() is None:
        if len(signals.seen) > handed_on:
            handed_on = len(signals.seen)
            with suppress(ProcessLookupError):
                process.send_signal(signals.seen[0])
        is_late = time.monotonic() > signals.deadline
        if len(signals.seen) > 1 or is_late or lease.lost.is_set():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.read()
    _end_leftovers(lease.owner)
    try:
        outcome: dict[str, Any] = json.loads(said.splitlines()[-1])
    except (IndexError, ValueError):
        code = process.returncode
        return {"died": f"signal {-code}" if code < 0 else f"exit {code}"}
    return outcome


@contextmanager
def _signals() -> Iterator[_Signals]:
    """Collects SIGINT and SIGTERM while it lasts."""
    signals = _Signals([])

    def handle(number: int, frame: FrameType | None) -> None:
        signals.seen.append(number)
        grace = GRACE_S[signal.Signals(signals.seen[0])]
        signals.deadline = min(signals.deadline, time.monotonic() + grace)

    before = {number: signal.signal(number, handle) for number in GRACE_S}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_leftovers(owner: str) -> None:
    """Ends what the driver of a lease left running on this machine: Ray's processes, and trials."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(LEASE) == owner:
                process.kill()
