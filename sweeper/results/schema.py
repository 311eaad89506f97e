"""The results of a sweep: each study with its trials, its best trial and its references.

The best trial has the best validation value, over replicates if it has some. It is compared with
the control, which is vanilla fine-tuning without tuning for the same number of epochs. The control
itself is never the best, nor is a trial that breaks a constraint. Test values never influence the
choice.
"""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sweeper.core.ranking import CANDIDATES, T, best, ranked, replicates_of
from sweeper.core.replication import drawn_by
from sweeper.errors import UsageError, unknown
from sweeper.ledger import SweepRecord
from sweeper.model import (
    CONTROL_ARM,
    DataDraw,
    Params,
    Study,
    StudyFacts,
    Trial,
    TrialKind,
    TrialState,
)
from sweeper.spec.arms import arms_of
from sweeper.spec.goals import VAL, Goals
from sweeper.text import counted, printable
from trainables.report import Measurement

if TYPE_CHECKING:
    from sweeper.results.comparison import TuningCost

OWN = "own"  # data source of the tasks of users
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
        from sweeper.results.statistics import roughness  # NumPy, which loads slowly

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
    def is_program(self) -> bool:
        """True if a program of a user takes the place of a method: it has no control."""
        return bool(self.record.resolved.get("program"))

    @property
    def why_no_best(self) -> str:
        """The reason why the study has no best trial, with the one that is nearest to it.

        If it has one, that lacks a test value, without which it is not compared.
        """
        if self.best is not None:
            return f"trial {self.best.number}, the best, has no {self.study.test_metric}"
        infeasible = [t for t in self.complete if not t.is_feasible]
        if not infeasible:
            return self.not_begun or NO_TRIAL

        def distance(trial: T) -> tuple[float, int]:
            return self.goals.violation(self.quantities.get(trial.number, {})), trial.number

        nearest = min(infeasible, key=distance)
        return (
            f"none of {counted(len(infeasible), 'complete trial')} is feasible "
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
    """One column of all tables of trials. A new one is one line of `COLUMNS`.

    Of the scope EVERYWHERE it reads the trial alone, since `status` reads no histories.
    """

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
    left_out: int = 0  # suggestions of users, which other studies that it is compared with lack
    tuning: "TuningCost | None" = None  # of its search, where evidence has it without its trials

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
        from sweeper.core.pareto import front  # NumPy, which loads slowly

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
    # The value in the search is the lowest of many, and may be luck: replicates replace it.
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
    # A finished sweep gets no more trials, also where a search ended before the planned ones.
    if sweep.record.state == "finished":
        planned = len(states)
    return f"{sum(s.is_settled for s in states)} of {counted(planned, 'trial')} ended"


def with_distinct_labels(found: Sequence[StudyResult]) -> list[StudyResult]:
    """Return studies with the name of the sweep before labels that two of them have on a task."""
    on_a_task = Counter((each.label, each.study.task) for each in found)
    twice = {label for (label, _), count in on_a_task.items() if count > 1}
    return [
        replace(each, label=f"{each.record.name}:{each.label}") if each.label in twice else each
        for each in found
    ]


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


def finite(value: float | None) -> float | None:
    """Return a finite number unchanged, and None for any other value."""
    return value if value is not None and math.isfinite(value) else None
