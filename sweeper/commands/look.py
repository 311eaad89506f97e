"""The state of sweeps: one line for each, the summary of one, and its failed trials."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from sweeper.commands.result import Result
from sweeper.commands.upkeep.remarks import parse_tag
from sweeper.core.policies import FailureBudget
from sweeper.errors import NotFound, SweeperError
from sweeper.ledger import EventKind, Ledger, SweepRecord
from sweeper.ledger.records import ClusterSize, Remark
from sweeper.model import (
    Params,
    TrialOutline,
    TrialState,
    count_states,
    known_fields,
    trial_name,
)
from sweeper.planning.budgets import out_of_time
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.sweep_folder import (
    all_folders,
    existing,
    living_state,
    name_of,
    remote_of,
    started,
)
from sweeper.results import floors
from sweeper.results.prose import read_title, search_notes, validation_notes, with_arm
from sweeper.results.read import read_outline
from sweeper.results.schema import Reached, Scope, StudyOutline, cells_of, reached, row_of
from sweeper.results.usage import Usage, as_json, compared, read_usage
from sweeper.spec.schema import named_profile, seconds
from sweeper.text import counted, printable, written

MAX_SHOWN = 5  # failed trials, and notes on trials, that a summary lists
REASON = 1000  # characters of a reason
SUMMARY = ("trial", "kind", "state", "value", "epoch", "validation", "test", "seeds", "params")
Results = StudyOutline[TrialOutline]


@dataclass(frozen=True, kw_only=True)
class SweepLine(Result):
    """One sweep in the list of sweeps."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"reason", "on"})

    sweep: str
    state: str
    profile: str = ""  # "" if the file has no profiles
    studies: int = 0
    trials: Mapping[str, int]  # by state
    age_s: float | None = None
    tags: Mapping[str, str]
    reason: str | None = None  # the ledger cannot be read, or MLflow lacks records
    on: str | None = None  # the address of the cluster that it lives on


@dataclass(frozen=True, kw_only=True)
class Sweeps(Result):
    """The list of sweeps."""

    sweeps: tuple[SweepLine, ...]


@dataclass(frozen=True, kw_only=True)
class ShippedFile(Result):
    """One sweep file that comes with the package."""

    name: str
    file: Path
    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    question: str | None  # that it asks; None: it compares nothing


@dataclass(frozen=True, kw_only=True)
class ShippedFiles(Result):
    """The list of shipped sweep files."""

    shipped: tuple[ShippedFile, ...]


@dataclass(frozen=True, kw_only=True)
class TrialSummary(Result):
    """One trial that leads a study: its best, its preset or its control."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"cells"})

    trial: int
    kind: str
    state: str
    value: float | None
    epoch: int | None
    validation: float | None
    test: float | None
    seeds: int
    params: Params
    checkpoint: str | None
    cells: Mapping[str, object] | None = None  # further columns; None: there are none


@dataclass(frozen=True, kw_only=True)
class StudySummary(Result):
    """One study of a sweep, and the trials that lead it."""

    study: str
    method: str
    task: str
    objective: str
    trials: Mapping[str, int]  # by state
    best: TrialSummary | None
    control: TrialSummary | None
    preset: TrialSummary | None
    baselines: Mapping[str, float]
    floor: floors.FloorVerdict | None  # of the best trial beside the best of the baselines
    data_source: str | None
    protocol: str | None
    backbone: str | None
    pretrained: str | None
    proxy: str | None
    ended_early: str | None = None  # the reason, if its search ended before its number of trials


@dataclass(frozen=True, kw_only=True)
class Rerun(Result):
    """A trial that was run once more, beside the trial that it repeats."""

    study: str
    trial: int
    origin: int
    seed: int
    state: str
    value: float | None
    origin_value: float | None


@dataclass(frozen=True, kw_only=True)
class Summary(Result):
    """The results of a sweep so far, and the exit code of its launch."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"rerun", "waiting_for_nodes"})

    sweep: str
    state: str
    exit_code: int
    profile: str
    experiment: str
    folder: Path
    trials: Mapping[str, int]  # by state
    studies: tuple[StudySummary, ...]
    cost: Mapping[str, object]
    tags: Mapping[str, str]
    remarks: tuple[Remark, ...]
    notes: tuple[str, ...]
    rerun: Rerun | None = None
    waiting_for_nodes: int | None = None  # running trials for which no node has room; None: no one


@dataclass(frozen=True, kw_only=True)
class FailedTrial(Result):
    """One failed trial."""

    trial: str  # STUDY/NUMBER
    study: str
    number: int
    kind: str
    failure: str | None
    attempts: int
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class FailedTrials(Result):
    """The failed trials of a sweep."""

    sweep: str
    failed: tuple[FailedTrial, ...]
    notes: tuple[str, ...]


def sweeps(tags: Sequence[str] = ()) -> Sweeps:
    """Return a line for each sweep in ./sweeps that has all of `tags`.

    Args:
        tags: Each written NAME, for any value, or NAME=VALUE.

    Raises:
        UsageError: A tag is not written so.
    """
    wanted = [parse_tag(each) for each in tags]
    found = (
        line
        for line in _lines()
        if all(name in line.tags and value in ("", line.tags[name]) for name, value in wanted)
    )
    return Sweeps(sweeps=tuple(found))


def shipped() -> ShippedFiles:
    """Return the sweep files of the package, which can be launched by name from any folder."""
    from sweeper.spec.layers import read_document  # NumPy is slow to import
    from sweeper.spec.shipped import shipped_files

    found = []
    for file in shipped_files():
        document = read_document(file)
        title = document.child("question").child("title").value
        found.append(
            ShippedFile(
                name=file.stem,
                file=file,
                methods=tuple(document.child("methods").plain()),
                tasks=tuple(document.child("tasks").plain()),
                question=str(title) if title else None,
            )
        )
    return ShippedFiles(shipped=tuple(found))


def _lines() -> list[SweepLine]:
    lines, remotes = [], []
    for folder in all_folders():
        if (remote := remote_of(folder)) is not None:
            remotes.append(remote)
            continue
        try:
            with started(folder, checked=None) as (ledger, record):
                # A new record without a launch is what a refused one has left.
                if record.state != "new" or ledger.holder() is not None:
                    lines.append(_line(ledger, record))
        except NotFound:  # another kind of folder, or that of a refused launch
            continue
        except SweeperError as error:  # a damaged ledger must not hide other sweeps
            lines.append(
                SweepLine(
                    sweep=folder.name, state="unreadable", trials={}, tags={}, reason=str(error)
                )
            )
    if remotes:
        from sweeper.driver.remote import listed

        # The version of another machine may know other facts.
        lines += [SweepLine(**known_fields(SweepLine, facts)) for facts in listed(remotes)]
    return lines


def _line(ledger: Ledger, record: SweepRecord) -> SweepLine:
    return SweepLine(
        sweep=record.name,
        state=living_state(record, ledger),
        profile=named_profile(record.text, record.profile),
        studies=len(ledger.studies()),
        trials=ledger.count_states(),
        age_s=time.time() - record.created_at,
        tags=ledger.tags(),
        reason=_lacking(ledger),
    )


def _lacking(ledger: Ledger) -> str | None:
    """Return a line if MLflow lacks records of a sweep that no process runs."""
    if not (pending := ledger.unshipped()) or ledger.holder() is not None:
        return None
    return f"MLflow lacks {counted(pending, 'record')}: sweeper sync {ledger.name}"


def status(name: str | Path) -> Summary:
    """Return the summary of a sweep as of now, by its name or the path of its folder.

    Raises:
        NotFound: There is no such sweep.
    """
    return status_of(existing(name_of(str(name))))


def status_of(folder: Path) -> Summary:
    """Return the summary of the sweep in `folder` as of now.

    Raises:
        NotFound: The sweep was never started.
    """
    with started(folder) as (ledger, record):
        state = living_state(record, ledger)
        summary = replace(summarize(ledger, folder), state=state)
        if state == "running":
            # A study without a complete trial is no failure while trials still run.
            summary = replace(summary, exit_code=0)
        if (note := _lacking(ledger)) is not None:
            summary = replace(summary, notes=(note, *summary.notes))
        starts = ledger.events(kinds=[EventKind.SWEEP_STARTED])
        since = starts[-1].seq if starts else 0  # sizes of an earlier launch are of another cluster
        sizes = ledger.events(after=since, kinds=[EventKind.CLUSTER_RESIZED])
        if state != "running" or not sizes:
            return summary
        size = ClusterSize(**sizes[-1].payload)
        waiting = f"; {size.waiting} of the running trials are waiting for nodes"
        note = f"{size}{waiting * bool(size.waiting)}"
        return replace(
            summary, waiting_for_nodes=size.waiting or None, notes=(note, *summary.notes)
        )


def failed(name: str) -> FailedTrials:
    """Return the failed trials of a sweep, each with its reason.

    Raises:
        NotFound: There is no such sweep.
    """
    with started(existing(name)) as (ledger, _):
        found = ledger.trials(state=TrialState.FAILED)
        num_trials = sum(ledger.count_states().values())
    counts = Counter(trial.failure or "unknown" for trial in found)
    classes = ", ".join(f"{count} {failure}" for failure, count in counts.most_common())
    lines = [f"{len(found)} of {counted(num_trials, 'trial')} failed{f': {classes}' * bool(found)}"]
    if found:
        lines.append(f"what one printed: sweeper logs {name} {found[0].name}")
        lines.append(f"to try them again: sweeper retry {name} --failed")
    return FailedTrials(
        sweep=name,
        failed=tuple(
            FailedTrial.of(trial, trial=trial.name, kind=trial.kind.value, attempts=trial.attempt)
            for trial in found
        ),
        notes=tuple(lines),
    )


def summarize(ledger: Ledger, folder: Path) -> Summary:
    """Return the state of a sweep and of its studies, with the exit code of a launch.

    The exit code is 3 if a study has no complete trial, or if too many trials failed.
    """
    outline, usage = read_outline(ledger), read_usage(ledger)
    record, studies = outline.record, outline.studies
    places = CheckpointPaths.recorded(folder, record.resolved)
    trials = [trial for study in studies for trial in study.trials]
    budget = FailureBudget(max_fraction=record.resolved["failures"]["max_failed_fraction"])
    is_bad = any(s.best is None for s in studies) or not budget.is_within(trials)
    tags, remarks = ledger.tags(), tuple(ledger.remarks())
    summaries = tuple(_study(ledger, study, places) for study in studies)
    notes = [
        *_floor_notes(studies, summaries),
        *_notes_on_trials(studies, record.name),
        *_recorded_notes(ledger),
        *_notes_on_results(studies),
        *_time_spent(record, usage),
        *_cost(usage),
        *[f"tags: {written(tags)}"] * bool(tags),
        *(f"note: {line}" for each in remarks for line in str(each).splitlines()),
        f"folder: {folder}; to write a page: sweeper report {record.name}",
    ]
    return Summary.of(
        record,
        sweep=record.name,
        exit_code=3 if is_bad else 0,
        folder=folder,
        trials=count_states(trials),
        studies=summaries,
        cost=as_json(usage),
        tags=tags,
        remarks=remarks,
        notes=tuple(dict.fromkeys(notes)),
    )


def _floor_notes(studies: Sequence[Results], summaries: Iterable[StudySummary]) -> list[str]:
    """Return what is to be said of each task: its best result beside the floor and controls."""
    results: dict[str, list[floors.TaskResult]] = {}
    solvers = {each.study.task: floors.of_solver(each.study.task, each.facts) for each in studies}
    for study, found in zip(studies, summaries, strict=True):
        read_title(found.method, study.facts)
        preset, control = found.preset, found.control
        # A mean over the seeds of one of them is not compared with the single seed of the other.
        is_fair = preset is not None and control is not None and preset.seeds == control.seeds
        results.setdefault(found.task, []).append(
            floors.TaskResult(
                name=with_arm(found.method, study.study.arm),
                test=None if found.best is None else found.best.test,
                floor=found.floor,
                preset=preset.test if preset is not None and is_fair else None,
                control=control.test if control is not None and is_fair else None,
            )
        )
    told = {task: floors.sentences(of) for task, of in results.items()}
    beside = [f"{task}: {text}" for task, texts in told.items() for text in texts]
    return [*beside, *(solvers[task] for task in told if told[task] and solvers[task])]


def _notes_on_trials(studies: Iterable[Results], name: str) -> list[str]:
    """Return a line for each study without a complete trial, and for the first failed trials."""
    failed = [t for study in studies for t in study.trials if t.state is TrialState.FAILED]
    notes = [
        f"{s.study.name}: {s.why_no_best}"
        if s.complete or s.not_begun
        else f"no complete trial: {s.study.name}"
        for s in studies
        if s.best is None
    ]
    notes += [printable(f"failed: {t.name}: {t.reason}", limit=REASON) for t in failed[:MAX_SHOWN]]
    if len(failed) > MAX_SHOWN:
        notes.append(f"{len(failed) - MAX_SHOWN} more failed: sweeper status {name} --failed")
    return notes


def _recorded_notes(ledger: Ledger) -> list[str]:
    """Return the latest notes that the ledger has on trials, such as on a damaged checkpoint."""
    noted = [
        f"{trial_name(event.study, event.number)}: {event.payload['text']}"
        for event in ledger.events(kinds=[EventKind.NOTED])
        if event.study is not None and event.number is not None
    ]
    lines = [printable(line, limit=REASON) for line in noted[-MAX_SHOWN:]]
    if len(noted) > MAX_SHOWN:
        lines.insert(
            0, f"{len(noted)} notes on trials (all: sweeper logs {ledger.name}), the last:"
        )
    return lines


def _notes_on_results(studies: Iterable[Results]) -> list[str]:
    """Return how far validation can be trusted, and which numbers are means."""
    notes = [note for s in studies for note in (*search_notes(s), *validation_notes(s))]
    if any(s.best is not None and s.is_replicated(s.best) for s in studies):
        notes.append("validation and test of trials with replicates are means over their seeds")
    return notes


def _time_spent(record: SweepRecord, usage: Usage) -> list[str]:
    """Return a line if a sweep was stopped because its time was spent."""
    wall = (record.resolved.get("budget") or {}).get("wall")
    if wall is None or record.state != "stopped" or usage.wall_s < seconds(wall):
        return []
    return [out_of_time(seconds(wall))]


def _cost(usage: Usage) -> list[str]:
    """Return the cost beside its prediction, and the share of time in which slots were busy."""
    actual = [
        f"{each.actual:.3g} {each.title} ({each.low:.3g} to {each.high:.3g})"
        for each in compared(usage)
    ]
    lines = [f"took (and was predicted to take): {', '.join(actual)}"] if actual else []
    if usage.taken_over:
        lines.append(
            f"{usage.taken_over} epochs were taken over from trials that computed the same"
        )
    if usage.utilisation is not None:
        lines.append(f"slots were busy {usage.utilisation:.0%} of the time")
    return lines


def _study(ledger: Ledger, table: Results, places: CheckpointPaths) -> StudySummary:
    # Outlines are enough to choose the leading trials, and only these are read with settings.
    leading = [
        None if outline is None else _trained(ledger, table, outline)
        for outline in (table.best, table.control, table.preset)
    ]
    best, control, preset = (each and _summary(table, each, places) for each in leading)
    errors = leading[0].tests if leading[0] else {}
    return StudySummary.of(
        table.facts,
        table.study,
        study=table.study.name,
        trials=count_states(table.trials),
        best=best,
        control=control,
        preset=preset,
        floor=floors.verdict(errors, floors.floors_at(table.facts, errors)),
        ended_early=table.ended_early,
    )


def _trained(ledger: Ledger, table: Results, outline: TrialOutline) -> Reached:
    """Return what the configuration of a trial reached."""
    trial, *replicates = (
        row_of(ledger.trial(outline.study, each.number))
        for each in (outline, *table.replicates.get(outline.number, ()))
    )
    return reached(trial, replicates, table.study.test_metric)


def _summary(table: Results, found: Reached, places: CheckpointPaths) -> TrialSummary:
    return TrialSummary(
        **found.plain(SUMMARY),
        checkpoint=places.checkpoint(found.trial),
        cells=cells_of(table, found.trial, Scope.EVERYWHERE) or None,
    )
