"""The results of a sweep: each study with its trials, its best trial and its references.

The best trial has the best validation value, over replicates if it has some. It is compared with
the control, which is vanilla fine-tuning without tuning for the same number of epochs. The control
itself is never the best, nor is a trial that breaks a constraint. Test values never influence the
choice.
"""

import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Generic, TypeVar

from sweeper.analysis.statistics import roughness
from sweeper.core.budget import Spending, StudyBudget, ended_early
from sweeper.core.ranking import CANDIDATES, T, best, ranked, replicates_of
from sweeper.core.replication import drawn_by
from sweeper.errors import NotFound, UsageError, unknown
from sweeper.ledger import Event, EventKind, Ledger, SweepRecord
from sweeper.model import (
    CONTROL_ARM,
    DataDraw,
    Params,
    Study,
    StudyFacts,
    Trial,
    TrialKind,
    TrialOutline,
    TrialState,
    label_of,
)
from sweeper.spec.arms import arms_of
from sweeper.spec.goals import VAL, Goals
from sweeper.spec.pareto import front
from sweeper.spec.warm_start import sources_of
from sweeper.text import JsonObject, counted, printable, without_nonfinite
from trainables.report import Measurement

OWN = "own"  # data source of the tasks of users
FILES = 3  # of an own task that are named
NO_TRIAL = "no trial is complete"
ROUGHNESS = "curve/roughness"  # of a trial's validation values by epoch, among its metrics


@dataclass(frozen=True, kw_only=True)
class History:
    """The measurements, epochs and seconds of one trial."""

    measurements: tuple[Measurement, ...] = ()  # oldest first, the latest of each epoch
    epochs: int = 0  # trained epochs, including repeated ones
    seconds: float = 0.0  # sum over all attempts
    ended: int | None = None  # event of the end, for sorting; None: not ended

    @property
    def objectives(self) -> tuple[float, ...]:
        """The objective of each epoch that reports it."""
        return tuple(m.objective for m in self.measurements if m.objective is not None)

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric."""
        return {name: value for m in self.measurements for name, value in m.metrics.items()}

    @property
    def precision(self) -> str | None:
        """The precision of the trial; None before its first epoch."""
        return next((m.precision for m in reversed(self.measurements)), None)


@dataclass(frozen=True, kw_only=True)
class TrialRow(Trial, History):
    """One trial with its history, if that was read: the row of every table, file and page."""

    @property
    def recorded(self) -> dict[str, float]:
        """The last value of each metric, and the roughness of the curve."""
        rough = roughness([value for value in self.objectives if math.isfinite(value)])
        found = {**self.metrics, **self.test}
        return found if rough is None else {**found, ROUGHNESS: rough}


def row_of(trial: Trial, history: History | None = None) -> TrialRow:
    """Return the row of a trial."""
    return TrialRow(**vars(trial), **vars(history or History()))


@dataclass(frozen=True, kw_only=True)
class Reached:
    """The values of a configuration: means over complete replicates, else the trial's own."""

    trial: TrialRow  # of the search, with this configuration
    trainings: tuple[TrialRow, ...]  # the trials with these values
    is_replicated: bool
    validation: float | None
    tests: Mapping[int, float]  # seed -> test value

    @property
    def test(self) -> float | None:
        return statistics.fmean(self.tests.values()) if self.tests else None

    @property
    def sd(self) -> float | None:
        return statistics.stdev(self.tests.values()) if len(self.tests) > 1 else None

    def plain(self, names: Iterable[str]) -> dict[str, Any]:
        """Return these of its values as plain data, under their names in JSON."""
        trial = self.trial
        known = {
            "trial": trial.number,
            "kind": trial.kind.value,
            "state": trial.state.value,
            "value": trial.value,
            "best_epoch": trial.best_epoch,
            "epoch": trial.best_epoch,
            "validation": self.validation,
            "test": self.test,
            "sd": self.sd,
            "seeds": len(self.tests),
            "sampled": list(trial.sampled),
            "params": dict(trial.params),
        }
        return {name: known[name] for name in names}


@dataclass(frozen=True, kw_only=True)
class StudyOutline(Generic[T]):
    """One study with its trials or their outlines, by number, and its recorded facts."""

    record: SweepRecord  # of the sweep
    study: Study
    facts: StudyFacts
    trials: tuple[T, ...]
    num_planned: int = 0  # trials that it is to have, replicates included
    ended_early: str | None = None  # the reason why its search has ended before its trials
    not_begun: str | None = None  # the reason why an arm has no trial: its base has no best one
    has_priors: bool = False  # some of its trials are drawn around priors
    warm_start: tuple[str, ...] = ()  # SWEEP:STUDY, with whose configurations it begins
    goals: Goals = field(default_factory=Goals)
    quantities: Mapping[int, Mapping[str, float]] = field(default_factory=dict)  # by trial

    @cached_property
    def replicates(self) -> Mapping[int, Sequence[T]]:
        """The number of each replicated trial, with its replicates."""
        return replicates_of(self.trials)

    @cached_property
    def best(self) -> T | None:
        found = best(self.trials)
        return None if found is None else found.trial

    @property
    def complete(self) -> tuple[T, ...]:
        """The complete trials that compete to be the best, infeasible ones included."""
        return tuple(
            t for t in self.trials if t.kind in CANDIDATES and t.state is TrialState.COMPLETE
        )

    @property
    def why_no_best(self) -> str:
        """The reason why the study has no best trial, with the one that is nearest to it."""
        infeasible = [t for t in self.complete if not t.is_feasible]
        if not infeasible:
            return self.not_begun or NO_TRIAL

        def distance(trial: T) -> tuple[float, int]:
            return self.goals.violation(self.quantities.get(trial.number, {})), trial.number

        nearest = min(infeasible, key=distance)
        return (
            f"none of {len(infeasible)} complete trials is feasible "
            f"({self.goals.conditions}); the nearest is trial {nearest.number}: {nearest.reason}"
        )

    @property
    def control(self) -> T | None:
        return self._first(TrialKind.CONTROL)

    @property
    def preset(self) -> T | None:
        return self._first(TrialKind.PRESET)

    def is_replicated(self, trial: T) -> bool:
        """Return whether a replicate of a trial is complete."""
        return any(t.state is TrialState.COMPLETE for t in self.replicates.get(trial.number, ()))

    def counts(self) -> dict[TrialState, int]:
        """Return the number of trials in each state, without empty states."""
        counts = Counter(trial.state for trial in self.trials)
        return {state: counts[state] for state in TrialState if counts[state]}

    def _first(self, kind: TrialKind) -> T | None:
        complete = (t for t in self.trials if t.kind is kind and t.state is TrialState.COMPLETE)
        return next((t for t in complete if finite(t.value) is not None), None)


class Scope(StrEnum):
    """The tables that have a column."""

    FILES = "files"  # CSV, Parquet and DataFrames of trials
    PAGES = "pages"  # those, tables of trials on pages, and JSON
    EVERYWHERE = "everywhere"  # those, and tables of best trials: status, comparisons, LaTeX


@dataclass(frozen=True)
class Column:
    """One column of all tables of trials. A new one is one line of `COLUMNS`."""

    name: str
    kind: type
    value: Callable[[Any, TrialRow], object]  # of the study (or its outline) and the trial
    scope: Scope = Scope.EVERYWHERE


COLUMNS = (
    Column("sweep", str, lambda s, _: s.record.name, Scope.FILES),
    Column("study", str, lambda s, _: s.study.name, Scope.FILES),
    Column("method", str, lambda s, _: s.study.method, Scope.FILES),
    Column("task", str, lambda s, _: s.study.task, Scope.FILES),
    Column("trial", int, lambda _, t: t.number, Scope.PAGES),
    Column("kind", str, lambda _, t: t.kind.value, Scope.PAGES),
    Column("origin", int, lambda _, t: t.origin, Scope.FILES),
    Column("state", str, lambda _, t: t.state.value, Scope.PAGES),
    Column("objective", str, lambda s, _: s.study.objective, Scope.FILES),
    Column("value", float, lambda _, t: t.value, Scope.PAGES),
    Column("test", float, lambda s, t: t.test.get(s.study.test_metric), Scope.PAGES),
    Column("floor", float, lambda s, t: s.floor(t), Scope.FILES),
    Column("best_epoch", int, lambda _, t: t.best_epoch, Scope.PAGES),
    Column("attempts", int, lambda _, t: t.attempt, Scope.PAGES),
    Column("halvings", int, lambda _, t: t.halvings, Scope.FILES),
    Column("epochs", int, lambda _, t: t.epochs, Scope.FILES),
    Column("device", str, lambda s, _: s.devices[0], Scope.FILES),
    Column("device_seconds", float, lambda s, t: s.devices[1] * t.seconds, Scope.FILES),
    Column("precision", str, lambda _, t: t.precision, Scope.FILES),
    Column("seed", int, lambda _, t: t.seed, Scope.PAGES),
    Column("content_hash", str, lambda s, t: s.content_hash(t), Scope.FILES),
    Column("failure", str, lambda _, t: t.failure, Scope.PAGES),
    Column("reason", str, lambda _, t: t.reason, Scope.PAGES),
)
SHORT = ("trial", "value", "validation", "test", "seeds", "best_epoch", "params")


def cells_of(study: StudyOutline[Any], trial: TrialRow, *scopes: Scope) -> dict[str, object]:
    """Return the cells of a trial in the columns of these scopes, by their names."""
    return {c.name: c.value(study, trial) for c in COLUMNS if c.scope in scopes}


R = TypeVar("R", bound=StudyOutline[Any])


@dataclass(frozen=True, kw_only=True)
class StudyResult(StudyOutline[TrialRow]):
    """One study of one sweep, with its whole trials in the order of their numbers."""

    label: str = ""  # of the method and the arm; several sweeps have distinct ones

    @property
    def test_metric(self) -> str:
        """The name of the test value of a trial: `test/nrmse`."""
        return self.study.test_metric

    @property
    def searched(self) -> tuple[TrialRow, ...]:
        """The trials of the search, without replicates and reruns."""
        return tuple(t for t in self.trials if t.kind.is_searched)

    @cached_property
    def front(self) -> tuple[TrialRow, ...]:
        """The feasible trials that no other one beats in all objectives, by the first of them.

        The values are those of the trials themselves, not of their replicates.
        """
        names = self.goals.objectives
        points = {
            trial.number: tuple(values[name] for name in names)
            for trial in self.complete
            if trial.is_feasible
            and (values := self.quantities.get(trial.number, {})).keys() >= set(names)
        }
        known = {trial.number: trial for trial in self.complete}
        return tuple(known[number] for number in front(points))

    def ranked_by(self, objective: str) -> list[TrialRow]:
        """Return the complete feasible trials by one objective, the best one first.

        Replicates count for the first objective alone: other ones are those of a single trial.

        Raises:
            UsageError: The study does not have this objective.
        """
        if objective in (VAL, self.study.objective):
            return ranked(self.trials)
        if objective not in self.goals.objectives:
            message = unknown("objective", printable(objective), self.goals.objectives)
            raise UsageError(f"{self.study.name}: {message}")
        feasible = [
            (self.quantities[t.number][objective], t.number, t)
            for t in self.complete
            if t.is_feasible and objective in self.quantities.get(t.number, {})
        ]
        return [trial for *_, trial in sorted(feasible, key=lambda each: each[:2])]

    def test_value(self, trial: Trial | None) -> float | None:
        """Return the test value of a trial, if it has one."""
        return None if trial is None else trial.test.get(self.test_metric)

    def content_hash(self, trial: Trial) -> str | None:
        """Return the hash of the data of a trial, as far as it is known."""
        return (self._draw(trial) or self.facts).content_hash

    def floor(self, trial: Trial) -> float | None:
        """Return the test value of the best predictor without a network on the trial's data."""
        draw = self._draw(trial)
        floor = self.facts.floor_or_lowest if draw is None else draw.floor
        return None if floor is None else floor.value

    def _draw(self, trial: Trial) -> DataDraw | None:
        """Return the facts of the data of a trial, if each seed has its own draw."""
        draws = self.facts.draws
        return draws.get(str(drawn_by(trial, self._numbered))) if draws else None

    def _numbered(self, study: str, number: int) -> Trial:
        return next(trial for trial in self.trials if trial.number == number)

    def reached(self, trial: TrialRow) -> Reached:
        """Return the values of a configuration, which all tables and pages show."""
        return reached(trial, self.replicates.get(trial.number, ()), self.test_metric)

    @property
    def devices(self) -> tuple[str, float]:
        """The kind and number of a trial's devices: GPUs, or CPU cores if it has no GPU."""
        resources = self.record.resolved.get("resources") or {}
        gpu, cpu = float(resources.get("gpu") or 0), float(resources.get("cpu") or 1)
        return ("gpu", gpu) if gpu else ("cpu", cpu)

    @property
    def samples(self) -> int | None:
        """The samples of the task in all splits; None: unknown."""
        return sum(self.facts.samples.values()) or None

    @property
    def arm(self) -> str | None:
        """The name of the arm of an ablation, or None."""
        return self.study.arm

    @property
    def is_contender(self) -> bool:
        """False for the base and for the control of an ablation, with which arms are compared."""
        if self.arm is None:
            return not self.record.resolved.get("compare_by")
        return self.arm != CONTROL_ARM

    @property
    def design(self) -> str:
        """The origin of what an arm does not pin: preset, tuned (its base), files, or per_arm."""
        resolved = self.record.resolved
        if resolved.get("tune") == "per_arm":
            return "per_arm"
        base = resolved.get("base") or "preset"
        return base if isinstance(base, str) else "files"

    @property
    def method_label(self) -> str:
        """The label without the arm."""
        return self.label if self.arm is None else self.label.removesuffix(f" {self.arm}")

    @cached_property
    def pinned(self) -> Params:
        """The settings that the arm pins."""
        if self.arm is None:
            return {}
        arms = arms_of(self.record.resolved.get("compare_by") or {})
        return next((arm.pinned for arm in arms if arm.name == self.arm), {})

    @property
    def candidates(self) -> list[TrialRow]:
        """The trials that compete to be the best: neither control nor replicates."""
        return [t for t in self.trials if t.kind in CANDIDATES]


def reached(trial: TrialRow, replicates: Iterable[TrialRow], test_metric: str) -> Reached:
    """Return the values of a configuration, given its replicates."""
    repeated = tuple(t for t in replicates if t.state is TrialState.COMPLETE)
    trained = repeated or (trial,)
    values = [value for t in trained if (value := finite(t.value)) is not None]
    tests = {t.seed: finite(t.test.get(test_metric)) for t in trained}
    return Reached(
        trial=trial,
        trainings=trained,
        is_replicated=bool(repeated),
        validation=statistics.fmean(values) if values else None,
        tests={seed: value for seed, value in tests.items() if value is not None},
    )


@dataclass(frozen=True, kw_only=True)
class SweepResult(Generic[R]):
    """A sweep, with its studies or their outlines in the order of the file."""

    record: SweepRecord
    studies: tuple[R, ...]


def progress_of(sweep: SweepResult[Any]) -> str:
    """Return how many of a sweep's trials have ended, as its launch counts them."""
    states = [trial.state for study in sweep.studies for trial in study.trials]
    planned = sum(max(study.num_planned, len(study.trials)) for study in sweep.studies)
    if sweep.record.state == "finished":
        planned = len(states)
    return f"{sum(s.is_settled for s in states)} of {counted(planned, 'trial')} ended"


def read_sweep(ledger: Ledger, *, histories: bool = True) -> SweepResult[StudyResult]:
    """Return the results of a sweep.

    Args:
        ledger: The ledger of the sweep.
        histories: Read the histories of trials, too. This doubles the time.

    Raises:
        NotFound: The sweep was never started.
    """
    record, found = _started(ledger), read_histories(ledger) if histories else {}
    studies = [_read_study(ledger, study, record, found) for study in ledger.studies()]
    return SweepResult(record=record, studies=_with_reasons(studies, record.resolved))


def read_outline(ledger: Ledger) -> SweepResult[StudyOutline[TrialOutline]]:
    """Return the outline of a sweep, many times faster than its results.

    Raises:
        NotFound: The sweep was never started.
    """
    record = _started(ledger)
    found = []
    for study in ledger.studies():
        trials = ledger.outlines(study.name)
        facts = _read_facts(ledger, study, trials, record.resolved)
        found.append(StudyOutline[TrialOutline](record=record, study=study, trials=trials, **facts))
    return SweepResult(record=record, studies=_with_reasons(found, record.resolved))


def read_study(ledger: Ledger, study: str) -> StudyResult:
    """Return the results of one study of a sweep, without histories.

    Raises:
        NotFound: The sweep was never started, or has no such study.
    """
    record, known = _started(ledger), {each.name: each for each in ledger.studies()}
    if study not in known:
        raise NotFound(unknown("study", study, known))
    base = known.get(_base_of(known[study], record.resolved) or "")
    read = [_read_study(ledger, each, record, {}) for each in (known[study], base) if each]
    return _with_reasons(read, record.resolved)[0]


def read_studies(ledgers: Sequence[Ledger], *, histories: bool = True) -> list[StudyResult]:
    """Return every study of these sweeps, in their order, with distinct labels on each task.

    Args:
        ledgers: The ledgers of the sweeps.
        histories: As for `read_sweep`.

    Raises:
        NotFound: A sweep was never started.
        UsageError: A sweep is named twice.
    """
    for name, count in Counter(ledger.name for ledger in ledgers).items():
        if count > 1:
            raise UsageError(f"sweep `{name}` is named {count} times; name it once.")
    read = [read_sweep(ledger, histories=histories) for ledger in ledgers]
    return with_distinct_labels([study for sweep in read for study in sweep.studies])


def with_distinct_labels(found: Sequence[StudyResult]) -> list[StudyResult]:
    """Return studies with the name of the sweep before labels that two of them have on a task."""
    on_a_task = Counter((each.label, each.study.task) for each in found)
    twice = {label for (label, _), count in on_a_task.items() if count > 1}
    return [
        replace(each, label=f"{each.record.name}:{each.label}") if each.label in twice else each
        for each in found
    ]


def _started(ledger: Ledger) -> SweepRecord:
    record = ledger.sweep()
    if record is None:
        raise NotFound(f"sweep `{ledger.name}` was never started.")
    return record


def _read_study(
    ledger: Ledger, study: Study, record: SweepRecord, histories: Mapping[tuple[str, int], History]
) -> StudyResult:
    trials = ledger.trials(study.name)
    return StudyResult(
        record=record,
        label=label_of(study.method, study.arm),
        study=study,
        trials=tuple(row_of(t, histories.get((t.study, t.number))) for t in trials),
        **_read_facts(ledger, study, trials, record.resolved),
    )


def _read_facts(
    ledger: Ledger, study: Study, trials: Sequence[TrialOutline], resolved: JsonObject
) -> dict[str, Any]:
    """Return the fields of the results of a study besides itself and its trials."""
    facts = ledger.facts(study.name)
    definition = (resolved.get("task_files") or {}).get(study.task)
    if definition is not None:  # stored as official, that is imported, data
        facts = replace(facts, data_source=OWN, **_origin(definition))
    trials_wanted = (resolved.get("search") or {}).get("trials", 0)
    num_trials = min(trials_wanted, facts.most_trials or trials_wanted)
    reason = _ended_early(ledger, study, trials, resolved, num_trials, facts.num_leading or 0)
    search = {} if _is_fixed(study, resolved) else resolved.get("search") or {}
    goals = Goals.of(resolved, study.objective)
    return {
        "facts": facts,
        "num_planned": _num_planned(study, trials, resolved, 0 if reason else num_trials, facts),
        "ended_early": reason,
        "has_priors": bool(search.get("priors")),
        "warm_start": tuple(sources_of(search.get("warm_start") or {}, study.method, study.task)),
        "goals": goals,
        "quantities": {} if goals.are_plain else ledger.quantities(study.name),
    }


def _is_fixed(study: Study, resolved: JsonObject) -> bool:
    """Return whether a study is an arm without a search of its own."""
    return study.arm is not None and resolved.get("tune") != "per_arm"


def _base_of(study: Study, resolved: JsonObject) -> str | None:
    """Return the study whose best trial gives an arm its settings, or None."""
    is_tuned = study.arm is not None and resolved.get("base") == "tuned"
    return f"{study.method}/{study.task}" if is_tuned else None


def _with_reasons(studies: Sequence[R], resolved: JsonObject) -> tuple[R, ...]:
    """Return studies with the reason why an arm has no trial."""
    known = {each.study.name: each for each in studies}
    bases = (known.get(_base_of(each.study, resolved) or "") for each in studies)
    return tuple(
        replace(each, not_begun=_not_begun(each, base))
        for each, base in zip(studies, bases, strict=True)
    )


def _not_begun(arm: StudyOutline[Any], base: StudyOutline[Any] | None) -> str | None:
    """Return why an arm has no trial, or None if it has one, or may soon."""
    if arm.trials or base is None or base.best is not None:
        return None
    return (
        f"no trial has begun: an arm has the settings of the best trial of `{base.study.name}` "
        f"(`base: tuned`), and {base.why_no_best}"
    )


def _num_planned(
    study: Study,
    trials: Sequence[TrialOutline],
    resolved: JsonObject,
    num_trials: int,
    facts: StudyFacts,
) -> int:
    """Return the number of trials that a study is to have, of which its search has `num_trials`."""
    num_searched = sum(trial.kind.is_searched for trial in trials)
    num_further = len(trials) - num_searched
    wanted = None if resolved.get("compare_by") and study.arm is None else resolved.get("replicate")
    # All replicates are planned at once, and fewer than wanted if fewer trials are complete. The
    # control is replicated, too: it is the second of two leading trials.
    if wanted is not None and not any(trial.kind is TrialKind.REPLICATE for trial in trials):
        num_repeated = wanted["top"] + (facts.num_leading or 1) - 1
        num_further = max(num_further, num_repeated * wanted["seeds"])
    return max(num_trials, num_searched) + num_further


def _ended_early(
    ledger: Ledger,
    study: Study,
    trials: Sequence[TrialOutline],
    resolved: JsonObject,
    num_trials: int,
    num_leading: int,
) -> str | None:
    """Return the reason why the search of a study has ended before all its trials had a turn."""
    budget = StudyBudget.of(resolved)
    if not budget.is_limited:
        return None
    spending = Spending.read(budget, ledger, study.name, trials)
    return ended_early(trials, num_leading, num_trials, spending)


def _origin(definition: JsonObject) -> JsonObject:
    """Return the licence of an own task and the files that its definition names."""
    inputs, splits = (definition.get(key) or {} for key in ("input", "splits"))
    named = [inputs.get("path"), *(splits.get(split) for split in ("train", "val", "test"))]
    files = [name for names in named if isinstance(names, list) for name in names]
    more = f" and {len(files) - FILES} more" * (len(files) > FILES)
    origin = ", ".join(map(str, files[:FILES])) + more
    return {"licence": definition.get("licence", "not stated"), "origin": origin}


def why_none_is_best(studies: Iterable[StudyResult]) -> str:
    """Return the reason why none of some studies has a best trial: of one that came so far."""
    return next((study.why_no_best for study in studies if study.complete), NO_TRIAL)


def rows(study: StudyResult) -> list[dict[str, object]]:
    """Return a flat row for each trial: its cells, further quantities and parameters."""
    further = [name for name in study.goals.quantities if name != study.study.objective]
    names = {"value": study.study.objective, "test": study.test_metric}
    found = []
    for trial in study.trials:
        row: dict[str, object] = {}
        for name, cell in cells_of(study, trial, Scope.PAGES, Scope.EVERYWHERE).items():
            row[names.get(name, name)] = finite(cell) if isinstance(cell, float) else cell
            if name == "test":
                quantities = study.quantities.get(trial.number, {})
                row |= {each: quantities.get(each) for each in further}
        found.append({**row, **trial.params})
    return found


def as_json(table: SweepResult[StudyResult]) -> dict[str, object]:
    """Return the whole table as plain data, with null for numbers that are not finite."""
    return {
        "sweep": table.record.name,
        "experiment": table.record.experiment,
        "state": table.record.state,
        "profile": table.record.profile,
        "config_hash": table.record.config_hash,
        "studies": [study_as_json(study) for study in table.studies],
    }


def study_as_json(table: StudyResult) -> dict[str, object]:
    """Return the table of a study as plain data."""
    led = {"best": table.best, "preset": table.preset, "control": table.control}
    return {
        "study": table.study.name,
        "method": table.study.method,
        "task": table.study.task,
        "objective": table.study.objective,
        "counts": {state.value: count for state, count in table.counts().items()},
        **{k: None if t is None else table.reached(t).plain(SHORT) for k, t in led.items()},
        "baselines": {name: finite(v) for name, v in table.facts.baselines.items()},
        "facts": {name: v for name, v in table.facts.to_json().items() if name != "baselines"},
        "trials": rows(table),
    }


def json_text(content: Any) -> str:
    """Return strict JSON, with null for numbers that are not finite."""
    plain = without_nonfinite(content)
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False, default=str)


def finite(value: float | None) -> float | None:
    """Return a finite number unchanged, and None for any other value."""
    return value if value is not None and math.isfinite(value) else None


PAGE = 10_000  # events in one query


Histories = dict[tuple[str, int], History]  # (study, number) -> history


@dataclass
class _Growing:
    latest: dict[tuple[str, int], Measurement] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)  # attempt -> seconds
    epochs: int = 0
    ended: int | None = None

    def take(self, event: Event) -> None:
        if event.kind is EventKind.MEASURED:
            measurement = Measurement(**event.payload)
            self.latest[measurement.stage, measurement.epoch] = measurement
            self.epochs += 1
            attempt = event.attempt or 0
            self.seconds[attempt] = max(self.seconds.get(attempt, 0.0), measurement.seconds)
        elif event.kind is EventKind.TRIAL_ENDED:
            self.ended = event.seq

    def done(self) -> History:
        return History(
            measurements=tuple(self.latest.values()),
            epochs=self.epochs,
            seconds=sum(self.seconds.values()),
            ended=self.ended,
        )


def read_histories(ledger: Ledger) -> Histories:
    """Return the history of every trial that was measured or has ended."""
    growing: dict[tuple[str, int], _Growing] = {}
    for event in _events(ledger):
        if event.study is not None and event.number is not None:
            growing.setdefault((event.study, event.number), _Growing()).take(event)
    return {key: trial.done() for key, trial in growing.items()}


def _events(ledger: Ledger) -> Iterator[Event]:
    after = 0
    # The other kinds, most of which have the settings of a trial, take as long to read again.
    kinds = (EventKind.MEASURED, EventKind.TRIAL_ENDED)
    while page := ledger.events(after, PAGE, kinds=kinds):
        yield from page
        after = page[-1].seq
