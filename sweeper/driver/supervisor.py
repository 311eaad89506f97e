"""Keeps a sweep's driver alive, and owns the signals.

The driver, which talks to Ray, is a process of its own. If it dies it is started again, and goes
on from the ledger; what it left running on this machine is ended first, found by the name of the
lease in its environment. The first SIGINT, SIGTERM or SIGHUP lets it end in its own time, within
limits; a second one ends it at once. SIGTSTP (Ctrl-Z) stops every process of the sweep on this
machine, and SIGCONT continues them.

A driver whose Ray does not start, as on a busy machine, is no death: it is started again after a
pause, a longer one each time.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from rich.console import Console

from sweeper.errors import BackendUnreachable, SweeperError, SweepIsHeld, from_record
from sweeper.ledger import EventKind, Ledger
from sweeper.ledger.lease import Lease
from sweeper.planning import child
from sweeper.text import without_secrets

LEASE = "SWEEPER_LEASE"  # in the environment of a driver and of all that it starts here
STARTS_RAY = "starts_ray"  # what a driver writes, true and then false, around the start of Ray
RESTARTS = 3  # in a row, without an epoch between them
PAUSES_S = (10.0, 30.0, 90.0, 180.0)  # after each start of Ray that failed; one more ends it
GRACE_S = {signal.SIGINT: 13.0, signal.SIGTERM: 23.0, signal.SIGHUP: 23.0}
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
    """The signals that came, until when the driver may take its time, and whether to stop."""

    seen: list[int] = field(default_factory=list)
    deadline: float = float("inf")
    is_stop_asked: bool = False  # by SIGTSTP

    def stop_if_asked(self, owner: str) -> None:
        """Obey a SIGTSTP that came: stop all processes of the lease until SIGCONT."""
        if self.is_stop_asked:
            self.is_stop_asked = False
            stopped_at = time.monotonic()
            _stop_until_continued(owner)
            self.deadline += time.monotonic() - stopped_at


def supervise(job: Job, ledger: Ledger, lease: Lease, console: Console) -> Mapping[str, Any]:
    """Runs drivers until one ends in its own right; returns its outcome: `signal` and `why`.

    Raises:
        SweeperError: A driver said so, or drivers died again and again.
        BackendUnreachable: Ray did not start on this machine, after several pauses.
        SweepIsHeld: Another launch took the lease.
    """
    if lease.before is not None:
        _end_leftovers(lease.before.owner)
    deaths, progress = 0, ledger.count_events(kinds=PROGRESS)
    pauses = iter(PAUSES_S)
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
            if not signals.seen and "not_started" in outcome:
                _pause(outcome["not_started"], next(pauses, None), ledger, lease, signals, console)
                if not signals.seen:
                    continue
            if signals.seen or "died" not in outcome:
                return {**outcome, "signal": next(iter(signals.seen), outcome.get("signal"))}
            pauses = iter(PAUSES_S)
            now = ledger.count_events(kinds=PROGRESS)
            deaths, progress = (1 if now > progress else deaths + 1), now
            if deaths > RESTARTS:
                raise SweeperError(
                    f"the driver died {deaths} times without finishing an epoch; the last time: "
                    f"{outcome['died']} Go on with: sweeper resume {ledger.name}"
                )
            text = f"the driver died ({outcome['died']}); starting it again, from the ledger."
            console.print(text, markup=False, soft_wrap=True)


def _pause(
    why: str,
    seconds: float | None,
    ledger: Ledger,
    lease: Lease,
    signals: _Signals,
    console: Console,
) -> None:
    """Wait before Ray is started again, or until a signal comes.

    Raises:
        BackendUnreachable: `seconds` is None: there was the last pause.
    """
    if seconds is None:
        record = ledger.sweep()
        has_begun = record is not None and record.state != "new"  # else nothing of it is kept
        go_on = f"go on with: sweeper resume {ledger.name}" if has_begun else "launch again."
        raise BackendUnreachable(
            f"Ray did not start on this machine in {len(PAUSES_S) + 1} attempts; the last time: "
            f"{why}. The machine is busy, or a limit (ulimit -v, -u) leaves Ray too little. Once "
            f"there is more, {go_on}"
        )
    text = f"Ray has not started on this machine: {why}; trying again in {seconds:.0f} s."
    console.print(without_secrets(text), markup=False, soft_wrap=True)
    until = time.monotonic() + seconds
    while time.monotonic() < until and not signals.seen and not lease.lost.wait(0.1):
        signals.stop_if_asked(lease.owner)


def _drive(job: Job, lease: Lease, signals: _Signals) -> dict[str, Any]:
    """Run one driver to its end.

    If it did not end by itself, `died` says how; or `not_started`, if Ray was about to start.
    """
    process = subprocess.Popen(
        child.command("sweeper.driver.driver", Path(job.folder).name),  # Ray shows the name
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=child.environment(**{LEASE: lease.owner}),
        text=True,
        start_new_session=True,  # the terminal's Ctrl-C is ours to hand on
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:
        json.dump(asdict(job), pipe)
    handed_on = 0
    while process.poll() is None:
        signals.stop_if_asked(lease.owner)
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
    last = _last_line(said)
    if set(last) != {STARTS_RAY}:
        return last
    code = process.returncode
    how = f"signal {-code}" if code < 0 else f"exit {code}"
    return {"not_started": f"its driver died ({how})"} if last[STARTS_RAY] else {"died": how}


def _last_line(said: str) -> dict[str, Any]:
    """Return the last whole object that a driver wrote: its outcome, or whether it starts Ray."""
    for line in reversed(said.splitlines()):
        with suppress(ValueError):
            outcome: dict[str, Any] = json.loads(line)
            return outcome
    return {STARTS_RAY: False}


@contextmanager
def _signals() -> Iterator[_Signals]:
    """Collect signals while it lasts, but for those that are ignored, as under nohup."""
    signals = _Signals()

    def stop(number: int, frame: FrameType | None) -> None:
        signals.is_stop_asked = True

    def handle(number: int, frame: FrameType | None) -> None:
        signals.seen.append(number)
        grace = GRACE_S[signal.Signals(signals.seen[0])]
        signals.deadline = min(signals.deadline, time.monotonic() + grace)

    handlers = {**dict.fromkeys(GRACE_S, handle), signal.SIGTSTP: stop}
    before = {
        number: signal.signal(number, handler)
        for number, handler in handlers.items()
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_leftovers(owner: str) -> None:
    """Ends what the driver of a lease left running on this machine: Ray's processes, and trials."""
    for process in _processes_of(owner):
        with suppress(psutil.Error, OSError):
            process.kill()


def _stop_until_continued(owner: str) -> None:
    """Stop the processes of a lease and this one; once this one is continued, continue them."""
    stopped: set[psutil.Process] = set()
    while new := set(_processes_of(owner)) - stopped:  # one that was not stopped yet may start more
        for process in new:
            with suppress(psutil.Error, OSError):
                process.suspend()
        stopped |= new
    os.kill(os.getpid(), signal.SIGSTOP)
    for process in stopped:
        with suppress(psutil.Error, OSError):
            process.resume()


def _processes_of(owner: str) -> Iterator[psutil.Process]:
    """Yield the processes on this machine that the driver of a lease started, and the driver."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(LEASE) == owner:
                yield process
