"""The supervisor of a sweep's driver: it restarts drivers that die, and handles all signals.

The driver, which talks to Ray, is a process of its own. If it dies, it is started again and goes
on from the ledger. The processes that it left on this machine are ended first; they are found by
the name of the lease in their environment. The first SIGINT, SIGTERM or SIGHUP lets the driver end
in its own time, within limits; a second one ends it at once. SIGTSTP (Ctrl-Z) stops every process
of the sweep on this machine, and SIGCONT continues them.

A driver whose Ray does not start, as on a busy machine, has not died: after a pause, longer
each time, it is started again with what it has prepared.
"""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType

import psutil
from rich.console import Console

from sweeper.console import print_text
from sweeper.driver.messages import (
    Died,
    DriverJob,
    DriverMessage,
    DriverOutcome,
    Ended,
    RayNotStarted,
    Refused,
    StartsRay,
    parse,
)
from sweeper.errors import BackendUnreachable, SweeperError, SweepIsHeld
from sweeper.ledger import EventKind, Ledger
from sweeper.ledger.lease import Lease
from sweeper.planning import child
from sweeper.text import without_secrets

LEASE = "SWEEPER_LEASE"  # in the environment of a driver and of all that it starts here
RESTARTS = 3  # in a row, without an epoch between them
PAUSES_S = (10.0, 30.0, 90.0, 180.0)  # after each start of Ray that failed; one more ends it
GRACE_S = {signal.SIGINT: 13.0, signal.SIGTERM: 23.0, signal.SIGHUP: 23.0}
PROGRESS = (EventKind.MEASURED, EventKind.TRIAL_ENDED)


@dataclass
class _Signals:
    """The signals that came, the deadline of the driver, and a request to stop."""

    seen: list[int] = field(default_factory=list)
    deadline: float = float("inf")
    is_stop_asked: bool = False  # by SIGTSTP

    def stop_if_asked(self, owner: str) -> None:
        """Obey a SIGTSTP that came: stop all processes of the lease until SIGCONT."""
        if self.is_stop_asked:
            self.is_stop_asked = False
            # A stopped driver cannot end in time, so its deadline moves by as much.
            stopped_at = time.monotonic()
            _stop_until_continued(owner)
            self.deadline += time.monotonic() - stopped_at


def supervise(job: DriverJob, ledger: Ledger, lease: Lease, console: Console) -> Ended:
    """Run drivers until one ends in its own right, and return how it ended.

    Raises:
        SweeperError: A driver ended with this error, or drivers died again and again.
        BackendUnreachable: Ray did not start on this machine, after several pauses.
        SweepIsHeld: Another launch took the lease.
    """
    # A launch that was killed may have left its driver, Ray and trials on this machine.
    if lease.before is not None:
        _end_leftovers(lease.before.owner)
    deaths, progress = 0, ledger.count_events(kinds=PROGRESS)
    pauses = iter(PAUSES_S)
    with _signals() as signals:
        while True:
            outcome = drive(job, lease, signals)
            if isinstance(outcome, Refused):
                # After a signal the sweep ends as its user wants, whatever the driver refused.
                if not signals.seen:
                    raise outcome.error
                print_text(console, without_secrets(str(outcome.error)))
            # Another launch drives the sweep now. Whatever a further driver wrote would be refused.
            if lease.lost.is_set():
                raise SweepIsHeld(f"another launch took over sweep `{ledger.name}`.")
            if isinstance(outcome, RayNotStarted) and not signals.seen:
                _pause(outcome.why, next(pauses, None), ledger, lease, signals, console)
                # What this driver has prepared, the next one need not prepare again.
                job = replace(job, facts=outcome.facts or job.facts)
                if not signals.seen:
                    continue
            if signals.seen or not isinstance(outcome, Died):
                ended = outcome if isinstance(outcome, Ended) else Ended()
                return replace(ended, signal=next(iter(signals.seen), ended.signal))
            # It did not die at the start of Ray, so a later failure there has all pauses again.
            pauses = iter(PAUSES_S)
            now = ledger.count_events(kinds=PROGRESS)
            # A death after progress counts as the first one: each epoch brings the end nearer.
            deaths, progress = (1 if now > progress else deaths + 1), now
            if deaths > RESTARTS:
                raise SweeperError(
                    f"the driver died {deaths} times without finishing an epoch; the last time: "
                    f"{outcome.how} Go on with: sweeper resume {ledger.name}"
                )
            text = f"the driver died ({outcome.how}); starting it again, from the ledger."
            print_text(console, text)


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
    print_text(console, without_secrets(text))
    until = time.monotonic() + seconds
    while time.monotonic() < until and not signals.seen and not lease.lost.wait(0.1):
        signals.stop_if_asked(lease.owner)


def drive(job: DriverJob, lease: Lease, signals: _Signals) -> DriverOutcome:
    """Run one driver to its end, and return its outcome.

    A driver that wrote none has died, or Ray did not start if it was about to.
    """
    # A file takes an outcome of any length while nobody reads; a pipe holds 64 KiB.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            child.command("sweeper.driver", Path(job.folder).name),  # Ray shows the name
            stdin=subprocess.PIPE,
            stdout=output,
            env=child.environment(**{LEASE: lease.owner}),
            text=True,
            start_new_session=True,  # the terminal's Ctrl-C is ours to hand on
        )
        assert process.stdin is not None
        # A driver that has died already is known below by its lack of an outcome.
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
                    # The driver leads a process group, with which its preparation ends, too.
                    os.killpg(process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        output.seek(0)
        said = output.read()
    # Whatever way it ended, the next driver must find neither Ray nor trials of this one.
    _end_leftovers(lease.owner)
    last = _last_message(said)
    if not isinstance(last, StartsRay):
        return last
    code = process.returncode
    how = f"signal {-code}" if code < 0 else f"exit {code}"
    return RayNotStarted(f"its driver died ({how})") if last.is_starting else Died(how)


def _last_message(output: str) -> DriverMessage:
    """Return the last whole message that a driver wrote."""
    for line in reversed(output.splitlines()):
        # A driver that was killed may have written half of its last line.
        with suppress(ValueError):
            return parse(line)
    return StartsRay(False)


@contextmanager
def _signals() -> Iterator[_Signals]:
    """Collect signals in this context, except ignored ones, as under nohup."""
    signals = _Signals()

    def stop(number: int, frame: FrameType | None) -> None:
        signals.is_stop_asked = True

    def handle(number: int, frame: FrameType | None) -> None:
        signals.seen.append(number)
        # The first signal gives the time, and a later one cannot prolong it.
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
    """End the processes that the driver of a lease left on this machine: Ray's, and trials."""
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
    # This process comes last: it stands still here until SIGCONT.
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
