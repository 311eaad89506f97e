"""Tables of a sweep: each study with its trials, its best trial and what that has to beat.

Best is the configuration that validation chose, over replicates where it has some; the control,
untuned vanilla fine-tuning for as many epochs, is what it is compared with and no candidate. Test
values are read, never chosen by.
"""

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sweeper.core.ranking import ranked, replicates_of
from sweeper.errors import NotFound
from sweeper.ledger import Event, EventKind, Ledger, SweepRecord
from sweeper.ledger.records import JsonObject
from sweeper.model import Measurement, Study, Trial, TrialKind, TrialState
from sweeper.text import without_nonfinite


@dataclass(frozen=True, kw_only=True)
class Reached:
    """The values of one configuration: means over its complete replicates, else the trial's own."""

    trainings: tuple[Trial, ...]  # that they are of
    is_replicated: bool
    validation: float | None
    tests: Mapping[int, float]  # by seed

    @property
    def test(self) -> float | None:
        return statistics.fmean(self.tests.values()) if self.tests else None


@dataclass(frozen=True, kw_only=True)
class StudyTable:
    """One study with its trials by number, and what was recorded of its data."""

    study: Study
    facts: JsonObject
    trials: tuple[Trial, ...]

    @property
    def test_metric(self) -> str:
        """The name under which a trial holds its test value: `test/nrmse`."""
        return self.study.objective.replace("val/", "test/", 1)

    @property
    def baselines(self) -> dict[str, float]:
        """Test values of predictors that learn nothing."""
        return dict(self.facts.get("baselines") or {})

    @property
    def searched(self) -> tuple[Trial, ...]:
        """The trials of the search, without those that repeat one of them."""
        return tuple(t for t in self.trials if t.kind.is_searched)

    @cached_property
    def replicates(self) -> Mapping[int, Sequence[Trial]]:
        """The replicates of each trial that has some, by its number."""
        return replicates_of(self.trials)

    @cached_property
    def best(self) -> Trial | None:
        return next(iter(ranked(self.trials)), None)

    @property
    def control(self) -> Trial | None:
        return self._first(TrialKind.CONTROL)

    @property
    def preset(self) -> Trial | None:
        return self._first(TrialKind.PRESET)

    def counts(self) -> dict[TrialState, int]:
        """Return how many trials are in each state, empty ones left out."""
        counts = Counter(trial.state for trial in self.trials)
        return {state: counts[state] for state in TrialState if counts[state]}

    def test_value(self, trial: Trial | None) -> float | None:
        """Return a complete trial's test value."""
        return None if trial is None else trial.test.get(self.test_metric)

    def reached(self, trial: Trial) -> Reached:
        """Return the values of a configuration: the numbers that stand for a study everywhere."""
        replicates = self.replicates.get(trial.number, ())
        repeated = tuple(t for t in replicates if t.state is TrialState.COMPLETE)
        trained = repeated or (trial,)
        values = [value for t in trained if (value := finite(t.value)) is not None]
        tests = {t.seed: finite(self.test_value(t)) for t in trained}
        return Reached(
            trainings=trained,
            is_replicated=bool(repeated),
            validation=statistics.fmean(values) if values else None,
            tests={seed: value for seed, value in tests.items() if value is not None},
        )

    def _first(self, kind: TrialKind) -> Trial | None:
        complete = (t for t in self.trials if t.kind is kind and t.state is TrialState.COMPLETE)
        return next((t for t in complete if finite(t.value) is not None), None)


@dataclass(frozen=True, kw_only=True)
class SweepTable:
    """A sweep with its studies in the order of the file."""

    record: SweepRecord
    studies: tuple[StudyTable, ...]

    def by_task(self) -> dict[str, list[StudyTable]]:
        """Group the studies that compete: those on one task."""
        tasks: dict[str, list[StudyTable]] = {}
        for study in self.studies:
            tasks.setdefault(study.study.task, []).append(study)
        return tasks


def read_table(ledger: Ledger) -> SweepTable:
    """Read a sweep's table.

    Raises:
        NotFound: The sweep was never started.
    """
    record = ledger.sweep()
    if record is None:
        raise NotFound(f"sweep `{ledger.name}` was never started.")
    studies = tuple(_read(ledger, study) for study in ledger.studies())
    return SweepTable(record=record, studies=studies)


def _read(ledger: Ledger, study: Study) -> StudyTable:
    facts, trials = ledger.facts(study.name), ledger.trials(study.name)
    return StudyTable(study=study, facts=facts, trials=trials)


def rows(table: StudyTable) -> list[dict[str, object]]:
    """Return one flat row a trial: its names, its outcome, then its parameters."""
    return [
        {
            "trial": t.number,
            "kind": t.kind.value,
            "state": t.state.value,
            table.study.objective: finite(t.value),
            table.test_metric: finite(t.test.get(table.test_metric)),
            "best_epoch": t.best_epoch,
            "attempts": t.attempt,
            "seed": t.seed,
            "failure": t.failure,
            "reason": t.reason,
            **t.params,
        }
        for t in table.trials
    ]


def as_json(table: SweepTable) -> dict[str, object]:
    """Return the whole table for machines; what is not finite is null."""
    return {
        "sweep": table.record.name,
        "experiment": table.record.experiment,
        "state": table.record.state,
        "profile": table.record.profile,
        "config_hash": table.record.config_hash,
        "studies": [study_as_json(study) for study in table.studies],
    }


def study_as_json(table: StudyTable) -> dict[str, object]:
    """Return one study's table for machines."""
    led = {"best": table.best, "preset": table.preset, "control": table.control}
    return {
        "study": table.study.name,
        "method": table.study.method,
        "task": table.study.task,
        "objective": table.study.objective,
        "counts": {state.value: count for state, count in table.counts().items()},
        **{name: None if t is None else _short(table, t) for name, t in led.items()},
        "baselines": {name: finite(value) for name, value in table.baselines.items()},
        "facts": {name: value for name, value in table.facts.items() if name != "baselines"},
        "trials": rows(table),
    }


def json_text(content: Any) -> str:
    """Write JSON that every parser takes: a number that is not finite is null."""
    plain = without_nonfinite(content)
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False, default=str)


def finite(value: float | None) -> float | None:
    """Return a number, or None for one that is not finite."""
    return value if value is not None and math.isfinite(value) else None


def _short(table: StudyTable, trial: Trial) -> dict[str, object]:
    reached = table.reached(trial)
    return {
        "trial": trial.number,
        "value": trial.value,
        "validation": reached.validation,
        "test": reached.test,
        "seeds": len(reached.tests),
        "best_epoch": trial.best_epoch,
        "params": dict(trial.params),
    }


PAGE = 10_000  # events at a time


@dataclass(frozen=True, kw_only=True)
class History:
    """The measurements, epochs and seconds of one trial."""

    measurements: tuple[Measurement, ...]  # oldest first; epochs that were run again, once
    epochs: int  # trained, those run again included
    seconds: float  # measured in all attempts
    ended: int | None  # grows with the time at which trials ended; None: it has not

    @property
    def objectives(self) -> tuple[float, ...]:
        """The objective after each epoch that reports it."""
        return tuple(m.objective for m in self.measurements if m.objective is not None)

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric."""
        return {name: value for m in self.measurements for name, value in m.metrics.items()}


NOTHING = History(measurements=(), epochs=0, seconds=0.0, ended=None)
Histories = dict[tuple[str, int], History]  # by study and number


@dataclass
class _Growing:
    latest: dict[tuple[str, int], Measurement] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)  # by attempt
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
    """Return the history of every trial that has begun."""
    growing: dict[tuple[str, int], _Growing] = {}
    for event in _events(ledger):
        if event.study is not None and event.number is not None:
            growing.setdefault((event.study, event.number), _Growing()).take(event)
    return {key: trial.done() for key, trial in growing.items()}


def _events(ledger: Ledger) -> Iterator[Event]:
    after = 0
    while page := ledger.events(after, PAGE):
        yield from page
        after = page[-1].seq
