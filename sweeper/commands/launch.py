"""The start of a sweep and its continuation: launch, resume, extend, retry and rerun.

A sweep file becomes rows of a ledger, a supervised driver runs their trials, and a summary of the
ledger is the result.
"""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from signal import Signals
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.markup import escape

from sweeper.address import is_dashboard
from sweeper.commands.look import Rerun, Summary, summarize
from sweeper.console import print_text
from sweeper.core.replication import missing, next_number, repeat
from sweeper.driver.messages import DriverJob, Ended
from sweeper.driver.notifier import INTERRUPTED_S, Event, Notifier
from sweeper.driver.recorder import make_recorder, still_lacking
from sweeper.driver.supervisor import supervise
from sweeper.errors import (
    BackendUnreachable,
    CannotSchedule,
    Interrupted,
    StorageFull,
    SweeperError,
    SweepIsHeld,
    UsageError,
    exit_code_of,
)
from sweeper.ledger import EndCause, EventKind, Ledger, SweepRecord
from sweeper.ledger.lease import Lease
from sweeper.model import Trial, TrialKind, TrialState
from sweeper.planning import load, resources, resuming
from sweeper.planning.budgets import check_time_left, ended_early, wall_spent
from sweeper.planning.catalog import home, usable_home
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.data import draws
from sweeper.planning.load import Options
from sweeper.planning.plugin_path import hold_active
from sweeper.planning.sweep_folder import (
    check_here,
    check_not_lost,
    check_place,
    discard_unstarted,
    existing,
    folder_of,
    has_ledger,
    open_ledger,
    remember,
    started,
)
from sweeper.planning.trials import find_trial
from sweeper.spec.layers import whole_text
from sweeper.spec.reader import to_yaml
from sweeper.spec.rules.program import PROGRAM, PROGRAMS, UNUSED, sections_of
from sweeper.spec.sweep import Sweep
from sweeper.text import counted, number

MAX_BEST_SHOWN = 5  # studies that a notification names
ERROR_CHARS = 1000  # of an error in a notification
NOTIFIER = "notifier"  # recorder whose entity is the last end that was told


def launch(file: Path, options: Options, *, console: Console) -> Summary:
    """Run the sweep of `file`; resume it if it has begun, and extend it if `--trials` grew.

    Raises:
        SweeperError: Nothing was started, and nothing was overwritten.
    """
    sweep, folder = check(file, options, console)
    # The first context ends last: its removal takes the lease, which must have been given back.
    with (
        _no_trace_of_a_refusal(folder, options.storage),
        closing(open_ledger(folder, options.storage)) as ledger,
        ledger.hold() as lease,
    ):
        ledger.check()
        check_not_lost(ledger, folder)
        sweep = resuming.match(ledger, sweep, whole_text(file, sweep.task_files))
        remember(folder, ledger.url)
        return run(sweep, ledger, lease, folder, options, console)


def check(file: Path, options: Options, console: Console) -> tuple[Sweep, Path]:
    """Return the sweep of `file` and its folder, after all checks that need no writing.

    Raises:
        FileFaults: The file is not valid.
        UsageError: The sweep or its ledger is elsewhere.
        CannotSchedule: A new sweep asks for more than this machine has.
    """
    sweep = load.read(file, options)
    drawn = () if is_dashboard(options.address) else draws.notes_on(sweep, home())
    for note in (*sweep.notes, *drawn, *_notes_on_claims(sweep)):
        console.print(escape(note), style="dim")
    folder = folder_of(sweep.name)
    check_here(folder)
    check_place(folder, options.storage)
    load.check_imported(sweep)
    usable_home()
    # A begun sweep may have nothing left to run; else `run` checks its request.
    if not has_ledger(folder):
        resources.check_request(sweep, options.address)
    return sweep, folder


def _notes_on_claims(sweep: Sweep) -> list[str]:
    """Return lines on the significance that the claims of a question can reach."""
    if sweep.question is None:
        return []
    from sweeper.results.reach import reach_notes, spreads_of
    from sweeper.results.reproduction.files import committed_evidence

    return reach_notes(sweep, spreads_of(sweep, [committed_evidence()]))


@contextmanager
def _no_trace_of_a_refusal(folder: Path, storage: str | None) -> Iterator[None]:
    """Remove everything that a launch wrote before it was refused."""
    had_sweeps = folder.parent.exists()
    try:
        yield
    # What a dead driver has left is for a resume, and a sweep that is held is another's.
    except (UsageError, BackendUnreachable, CannotSchedule, StorageFull):
        with suppress(SweeperError, OSError):  # the reason of the refusal is more useful
            if folder.exists():
                discard_unstarted(folder, storage)
            if not had_sweeps:
                folder.parent.rmdir()
        raise


def resume(name: str, options: Options, *, console: Console) -> Summary:
    """Continue a sweep with the settings that its ledger has, at the address of the options.

    Raises:
        NotFound: There is no such sweep.
        SweepIsHeld: Another launch runs it.
    """
    folder = existing(name, to_drive=True)
    with started(folder, checked=math.inf) as (ledger, record), ledger.hold() as lease:
        return run(resuming.from_record(record), ledger, lease, folder, options, console)


def run(
    sweep: Sweep, ledger: Ledger, lease: Lease, folder: Path, options: Options, console: Console
) -> Summary:
    """Run the trials of a sweep that its ledger lacks; the caller holds the sweep's lease."""
    # From here on `gc` must not delete the copies of plugins that trials import.
    hold_active()
    # A command may have died after its request, before it could obey.
    resuming.obey_requests(ledger, sweep)
    record, trials = ledger.sweep(), ledger.trials()
    assert record is not None
    early = ended_early(sweep, ledger, trials)
    # A study whose search ended early counts with the trials that it has.
    planned = sum(s.num_trials for s in sweep.studies if s.name not in early)
    planned += sum(t.study in early or not t.kind.is_searched for t in trials)
    done = sum(trial.state.is_settled for trial in trials)
    # A paused trial may be the next to go on, unless its sweep is finished or its budget is spent.
    is_paused = any(t.state is TrialState.PAUSED and t.study not in early for t in trials)
    may_go_on = is_paused and record.state != "finished"
    for study, reason in early.items():
        console.print(escape(f"{study}: its search ended early: {reason}."), style="dim")
    if done == planned and not may_go_on and not _lacks_replicates(sweep, trials, record):
        if record.state != "finished":  # its driver died at the very end
            ledger.end("finished", cause=EndCause.DRIVER_DIED)
        _release(sweep, ledger, console)
        console.print(f"{sweep.name} is finished ({done} of {planned} trials); nothing to do.")
        return _caught_up(sweep, ledger, folder, console)
    if (spent := wall_spent(sweep.budget, ledger)) is not None:
        if record.state == "running":
            ledger.end("stopped", spent, cause=EndCause.DRIVER_DIED)
        console.print(escape(f"{sweep.name}: {done} of {planned} trials are done. {spent}"))
        return _caught_up(sweep, ledger, folder, console)
    if record.state != "new":
        console.print(f"{sweep.name}: resuming, {done} of {planned} trials are done.")
    _check_startable(sweep, options)
    # Requests to stop that are in the ledger already were meant for an earlier launch.
    after = max((request.id for request in ledger.requests()), default=0)
    job = DriverJob(
        folder=str(folder), storage=options.storage, address=options.address, owner=lease.owner,
        requests_after=after, insecure=options.insecure, function=options.function,
    )  # fmt: skip
    return _driven(job, sweep, ledger, lease, console)


def _check_startable(sweep: Sweep, options: Options) -> None:
    """Check what a driver needs: resources, a home, and a function that a program has to pass.

    Raises:
        SweeperError: It could not start.
        UsageError: Nobody passes the function, or the text of a program has changed.
    """
    resources.check_request(sweep, options.address)
    resources.check_torch(sweep, options.address)
    usable_home()
    names = (each.function for each in sweep.programs.values() if each.function)
    # An installed function is MODULE:NAME, which workers import by themselves.
    name = next((each for each in names if ":" not in each), None)
    if name is not None and options.function is None:
        raise UsageError(
            f"sweep `{sweep.name}` is of a function that a Python program has passed, which "
            f"nothing keeps: go on with it there, by sweeper.tune({name}, ...)."
        )
    if options.function is None:
        resuming.check_texts(sweep)


def _driven(
    job: DriverJob, sweep: Sweep, ledger: Ledger, lease: Lease, console: Console
) -> Summary:
    """Run drivers until the sweep ends, notify its addresses, and return the summary."""
    folder = Path(job.folder)
    notifier = Notifier(sweep.name, sweep.notify, partial(print_text, console))
    with ledger.backed_up():
        try:
            outcome = supervise(job, ledger, lease, console)
        except SweeperError as error:
            # A ledger that does not answer must not hold up the error.
            ledger.hurry()
            with suppress(SweeperError):  # the error being raised is more useful
                _close(ledger)
            _tell_of_error(notifier, error)
            raise
        if outcome.signal:
            # The notification is delivered while the ledger is closed, which may take a while.
            _tell_of_signal(notifier, sweep.name, outcome)
            try:
                return _interrupted(sweep, ledger, folder, outcome.signal, console)
            finally:
                notifier.close(INTERRUPTED_S)
        _close(ledger)
        _release(sweep, ledger, console)
        summary = summarize(ledger, folder)
        _tell_of_end(notifier, ledger, summary)
        return summary


def _caught_up(sweep: Sweep, ledger: Ledger, folder: Path, console: Console) -> Summary:
    """Return the summary of an ended sweep; do what a launch that died at its end has left.

    Such a launch may have shipped some records to MLflow only, and may have notified nobody.
    """
    say = partial(print_text, console)
    if lacked := ledger.unshipped():
        paths = CheckpointPaths(folder, sweep.checkpoints.store)
        lacking = still_lacking(make_recorder(ledger, sweep, paths).sync(), sweep.name)
        say(lacking or f"MLflow lacked {counted(lacked, 'record')}; it has all now.")
    summary = summarize(ledger, folder)
    if summary.state != "interrupted":  # of a signal or an error its own launch has told
        _tell_of_end(Notifier(sweep.name, sweep.notify, say), ledger, summary)
    return summary


def _interrupted(
    sweep: Sweep, ledger: Ledger, folder: Path, number: int, console: Console
) -> Summary:
    """Return the summary of a sweep that a signal ended.

    Raises:
        Interrupted: The ledger does not answer. The user wants to quit, and does not wait for it.
    """
    ledger.hurry()
    try:
        _close(ledger)
        _release(sweep, ledger, console)
        return replace(summarize(ledger, folder), exit_code=exit_code_of(number))
    except SweeperError as error:
        text = f"{Signals(number).name}: {error} Go on with: sweeper resume {ledger.name}"
        raise Interrupted(text, number) from error


def _lacks_replicates(sweep: Sweep, trials: Sequence[Trial], record: SweepRecord) -> bool:
    # How many seeds are needed until claims are decided, only looks know.
    if (wanted := sweep.replicate) is None:
        return False
    if wanted.until is not None and record.state == "finished":
        return False
    from sweeper.planning.studies import replication

    return any(
        missing([t for t in trials if t.study == study.name], replication(sweep, study))
        for study in sweep.studies
    )


def _release(sweep: Sweep, ledger: Ledger, console: Console) -> None:
    """Release the stage results that a sweep used, if the sweep is finished."""
    record = ledger.sweep()
    if record is None or record.state != "finished":
        return
    from sweeper.planning.stage_store import pin_of, release

    release(sweep, pin_of(ledger), partial(print_text, console))


def _close(ledger: Ledger) -> None:
    """Record the end of a sweep whose driver could not record it."""
    record = ledger.sweep()
    if record is not None and record.state == "running":
        ledger.end("interrupted")


def _tell_of_end(notifier: Notifier, ledger: Ledger, summary: Summary) -> None:
    """Notify of a sweep that has ended by itself, once an end, and wait for that briefly."""
    ends = ledger.events(kinds=[EventKind.SWEEP_ENDED])
    mark = {"end": str(ends[-1].seq if ends else 0)}
    if ledger.mirror(NOTIFIER) == mark:
        return
    end = ends[-1].payload if ends else {}
    reason = str(end.get("reason") or "")[:ERROR_CHARS].rstrip(".")
    is_cut = summary.state == "stopped" and not reason
    found = [
        f"{each.study} {number(each.best.validation)}"
        for each in summary.studies
        if each.best is not None
    ]
    more = f" and {len(found) - MAX_BEST_SHOWN} more studies" if len(found) > MAX_BEST_SHOWN else ""
    parts = [
        *[f"It ended early: {reason}."] * bool(reason),
        *["It was stopped before all trials had run."] * is_cut,
        f"{summary.trials['complete']} trials are complete, {summary.trials['failed']} failed.",
        *[f"Best: {', '.join(found[:MAX_BEST_SHOWN])}{more}."] * bool(found),
        f"sweeper status {summary.sweep}",
    ]
    has_failed = summary.exit_code or end.get("cause") == EndCause.ABORTED
    event = Event.FAILED if has_failed else Event.FINISHED
    notifier.send(event, " ".join(parts), trials=summary.trials, exit_code=summary.exit_code)
    notifier.close()
    # The mark comes last: after a crash the end is told twice rather than never.
    ledger.note_mirror(NOTIFIER, mark)


def _tell_of_error(notifier: Notifier, error: SweeperError) -> None:
    """Notify of an error that ended a launch, except that another launch runs the sweep."""
    if not isinstance(error, SweepIsHeld):
        notifier.send(Event.NEEDS_PERSON, str(error)[:ERROR_CHARS], exit_code=error.exit_code)
        notifier.close()


def _tell_of_signal(notifier: Notifier, sweep: str, ended: Ended) -> None:
    """Notify of a sweep that a signal ended, except for Ctrl-C, whose user knows."""
    assert ended.signal is not None
    if ended.signal == Signals.SIGINT and ended.why is None:
        return
    why, code = ended.why or Signals(ended.signal).name, exit_code_of(ended.signal)
    message = f"Stopped: {why}. Go on with: sweeper resume {sweep}"
    notifier.send(Event.PAUSED, message, exit_code=code)


def extend(name: str, trials: int, options: Options, *, console: Console) -> Summary:
    """Continue a sweep until each study has `trials` trials.

    Raises:
        NotFound, SweepIsHeld: As for `resume`.
        UsageError: The studies have more trials already, or `budget.wall` is spent.
    """
    folder = existing(name, to_drive=True)
    with started(folder, checked=math.inf) as (ledger, record), ledger.hold() as lease:
        sweep = resuming.from_record(record)
        check_time_left(sweep, ledger)
        had = record.resolved["search"]["trials"]
        if trials < had:
            raise UsageError(f"--trials {trials}: sweep `{name}` has {had} a study already.")
        _check_startable(sweep, options)  # what is refused is not extended either
        resolved = {**record.resolved, "search": {**record.resolved["search"], "trials": trials}}
        ledger.extend(resolved)
        extended = resuming.from_record(replace(record, resolved=resolved))
        return run(extended, ledger, lease, folder, options, console)


def fork(name: str, new: str, options: Options, *, console: Console) -> Summary:
    """Run a new sweep with the settings of another one, which begins with its best trials.

    Raises:
        NotFound: There is no such sweep.
        SweeperError: Nothing was started, as for `launch`.
    """
    with forked(name, new, options) as (file, forking, note):
        console.print(escape(note))
        return launch(file, forking, console=console)


@contextmanager
def forked(name: str, new: str, options: Options) -> Iterator[tuple[Path, Options, str]]:
    """Write the resolved form of a sweep as a file, for the launch of a fork within the context.

    Yields:
        The file, the options of its launch, and a note on what the fork takes over.

    Raises:
        NotFound: There is no such sweep.
        UsageError: The new name is that of the sweep itself.
    """
    folder = existing(name)
    if new == folder.name:
        raise UsageError(f"fork: `{new}` is the sweep itself; give another name.")
    if is_dashboard(options.address):
        raise UsageError(f"fork: give HOST:PORT of a cluster instead of {options.address}.")
    with started(folder) as (ledger, record), TemporaryDirectory() as place:
        ended = sum(trial.state.is_settled for trial in ledger.trials())
        note = (
            f"{new}: a fork of {name}, of whose {counted(ended, 'ended trial')} the best "
            "configurations are tried first; no value and no weights are taken over."
        )
        file = Path(place, f"{new}.yaml")
        content = dict(record.resolved)
        if PROGRAMS in content:  # without what a file may not name beside them
            kept = {k: v for k, v in content.items() if k not in (*UNUSED, PROGRAM, PROGRAMS)}
            content = {**kept, **sections_of(content, content["methods"])}
        file.write_text(to_yaml(content), encoding="utf-8")
        # The last one counts: a user may name further sweeps.
        sets = (f"search.warm_start={json.dumps([folder.name])}", *options.sets)
        yield file, replace(options, sets=sets, name=new, fork_of=folder.name), note


def retry(name: str, options: Options, *, console: Console) -> Summary:
    """Run the failed trials of a sweep again, from their last checkpoints; without any, do nothing.

    Raises:
        NotFound, SweepIsHeld: As for `resume`.
        UsageError: `budget.wall` is spent.
    """
    folder = existing(name, to_drive=True)
    with started(folder, checked=math.inf) as (ledger, record), ledger.hold() as lease:
        sweep = resuming.from_record(record)
        failed = ledger.trials(state=TrialState.FAILED)
        if not failed:
            console.print(f"{name}: no trial has failed; nothing to do.")
            # This command has done all it was asked for, whatever the sweep's own exit code is.
            return replace(summarize(ledger, folder), exit_code=0)
        check_time_left(sweep, ledger)
        _check_startable(sweep, options)
        # A refusal after this would leave trials reopened that nobody runs.
        for trial in failed:
            ledger.reopen(trial.study, trial.number)
        many = "1 failed trial is" if len(failed) == 1 else f"{len(failed)} failed trials are"
        console.print(f"{name}: {many} tried again.")
        return run(sweep, ledger, lease, folder, options, console)


def rerun(
    name: str, trial: str, seed: int | None, options: Options, *, console: Console
) -> Summary:
    """Run the configuration of one trial once more, from the start, as a trial outside the search.

    With `seed` None it repeats the trial's own, which gives the same numbers on the same CPU.

    Raises:
        NotFound, SweepIsHeld: As for `resume`; or there is no such trial.
        UsageError: `budget.wall` is spent.
    """
    folder = existing(name, to_drive=True)
    with started(folder, checked=math.inf) as (ledger, record), ledger.hold() as lease:
        sweep = resuming.from_record(record)
        check_time_left(sweep, ledger)
        origin = find_trial(ledger, trial)
        _check_startable(sweep, options)
        number = next_number(ledger.trials(origin.study))
        added = repeat(origin, TrialKind.RERUN, number, origin.seed if seed is None else seed)
        ledger.add_trial(added)
        summary = run(sweep, ledger, lease, folder, options, console)
        again = ledger.trial(added.study, added.number)
        result = Rerun.of(
            again,
            trial=again.number,
            origin=origin.number,
            state=again.state.value,
            origin_value=origin.value,
        )
        note = (
            f"rerun of {origin.name}: {again.name} is {again.state.value}, "
            f"{again.value} where the first had {origin.value}"
        )
        return replace(summary, rerun=result, notes=(note, *summary.notes))
