"""Requests about a sweep, here or on another machine: to end it, or about one of its trials."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from sweeper.commands.result import Message, Result
from sweeper.core.requests import name_of
from sweeper.errors import SweepIsHeld, UsageError
from sweeper.ledger import EventKind, Ledger, Request, RequestKind, RequestState, Target
from sweeper.ledger.lease import Holder, place
from sweeper.planning.budgets import check_time_left
from sweeper.planning.resuming import from_record, obey_requests
from sweeper.planning.sweep_folder import started
from sweeper.planning.trials import find_trial, place_of_trial
from sweeper.spec.sweep import Sweep

OBEYS_S = 20.0  # a driver on this machine that does not obey a cancel within this time is killed
ANSWERS_S = 20.0  # a request about a trial is waited for so long; its driver reads it each second
POLL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Answer(Message):
    """The answer to a request."""

    sweep: str
    was_running: bool = True


@dataclass(frozen=True, kw_only=True)
class TrialAnswer(Result):
    """The answer to a request about a trial."""

    trial: str  # STUDY/NUMBER; of a suggestion that nobody has read yet, its study
    state: str  # obeyed, accepted (it will be), or open (nobody has read it)
    answer: str


@dataclass(frozen=True, kw_only=True)
class TrialAnswers(Message):
    """The answers to requests about trials."""

    sweep: str
    trials: tuple[TrialAnswer, ...]


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
        ledger.request(RequestKind.STOP)
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
        ledger.request(RequestKind.CANCEL)
        if holder.place == place():
            _continue(holder.pid)  # a process suspended by Ctrl-Z could not obey
        if not _ends_by_itself(ledger, holder, ends_before):
            if holder.place != place():
                text = (
                    f"asked `{name}` ({holder}) to end; it has not confirmed that within "
                    f"{OBEYS_S:.0f} s."
                )
                return Answer(message=text, sweep=name)
            # Trials lose only what follows their last checkpoints, so a stuck driver may be killed.
            with suppress(ProcessLookupError):
                os.kill(holder.pid, signal.SIGKILL)
            _wait_for_end(ledger, ends_before)
        text = f"`{name}` was cancelled; go on with: sweeper resume {name}"
        record = ledger.sweep()
        if record is not None and record.state == "finished":
            text = f"`{name}` has finished; its last trials ended before the request was read."
        return Answer(message=text, sweep=name)


def add_trial(folder: Path, sets: Sequence[str], *, study: str | None = None) -> TrialAnswers:
    """Add trials with values of a user, outside the search: the preset with these values.

    Args:
        folder: The folder of the sweep.
        sets: The values, as KEY=VALUE.
        study: The name of the study; None: each study that has all keys.

    Raises:
        NotFound: There is no such sweep or study.
        FileFaults: Keys or values are not valid. The error has all faults.
        UsageError: The request is refused; or `budget.wall` is spent.
    """
    from sweeper.planning.studies import suggestions  # slow

    if not sets:
        raise UsageError("trial add: which values? Write --set refine.lr=1e-3.")
    with started(folder) as (ledger, record):
        sweep = from_record(record)
        check_time_left(sweep, ledger)
        targets, notes = suggestions(sweep, ledger, sets, study)
        answers = _answered(ledger, sweep, RequestKind.ADD_TRIAL, targets)
        return replace(answers, message="\n".join([answers.message, *notes]))


def ask(folder: Path, kind: RequestKind, trial: str) -> TrialAnswers:
    """Ask to stop, skip or retry a trial.

    A running trial that is stopped ends after its next epoch, with its value, as if it were pruned.
    One that is skipped never begins. A failed one that is tried again goes on from its last
    checkpoint.

    Raises:
        NotFound: There is no such sweep or trial.
        UsageError: The request is refused, with the reason; or `budget.wall` is spent.
    """
    with started(folder) as (ledger, record):
        sweep = from_record(record)
        # A trial to be skipped may be yet to come.
        if kind is RequestKind.SKIP_TRIAL:
            study, number = place_of_trial(ledger, trial)
        else:
            found = find_trial(ledger, trial)
            study, number = found.study, found.number
        if kind is RequestKind.RETRY_TRIAL:
            check_time_left(sweep, ledger)
        return _answered(ledger, sweep, kind, [Target(study=study, number=number)])


def _answered(
    ledger: Ledger, sweep: Sweep, kind: RequestKind, targets: Sequence[Target]
) -> TrialAnswers:
    """Write requests, and wait until the holder of the lease has read them; return the answers.

    Where no driver runs, this process takes the lease for a moment, and obeys. If it dies before,
    the next driver reads the requests.

    Raises:
        UsageError: One is refused.
    """
    ids = ledger.request(kind, *targets)
    deadline, is_driven = time.monotonic() + ANSWERS_S, True
    while True:
        found = ledger.requests_about_trials(ids=ids)
        if not any(each.is_open for each in found) or time.monotonic() > deadline:
            break
        try:
            with ledger.hold():
                is_driven = False
                obey_requests(ledger, sweep)
        except SweepIsHeld:
            is_driven = True
            time.sleep(POLL_S)
    answers = [_told(each) for each in found]
    lines = [f"{each.trial}: {each.answer}" for each in answers]
    # Obeyed requests stay obeyed beside a refused one, so the error has the answers to all.
    if any(each.state is RequestState.REFUSED for each in found):
        raise UsageError("\n".join(lines))
    go_on = "" if is_driven else f" No driver runs; go on with: sweeper resume {sweep.name}"
    message = "\n".join(f"{line}." for line in lines) + go_on
    return TrialAnswers(message=message, sweep=sweep.name, trials=tuple(answers))


def _told(request: Request) -> TrialAnswer:
    text = request.answer or "asked; its driver has not answered yet, but will"
    is_refused = request.state is RequestState.REFUSED
    return TrialAnswer(
        trial=name_of(request),
        state=request.state.value,
        answer=f"refused: {text}" if is_refused else text,
    )


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
