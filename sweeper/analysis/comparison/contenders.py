"""Who competes: each study of each sweep, the configuration that stands for it, and its values.

Its values are those of its complete replicates; as long as none is complete, that of the searched
trial itself.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from sweeper.analysis.comparison.comparison import Budget, Entry, Point
from sweeper.analysis.history import NOTHING, History, read_histories
from sweeper.analysis.statistics import bootstrap_interval, jaggedness, rises
from sweeper.analysis.table import StudyTable, SweepTable, finite, read_table
from sweeper.config.catalog import model_settings
from sweeper.core.ranking import CANDIDATES
from sweeper.errors import UsageError
from sweeper.ledger import Ledger
from sweeper.model import Trial, TrialKind, TrialState


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One study of one sweep."""

    label: str
    sweep: SweepTable
    study: StudyTable
    histories: Mapping[int, History]  # by trial number; none where they were not asked for

    @property
    def devices(self) -> tuple[str, float]:
        """What a trial occupies: GPUs, or CPU cores where it has no GPU."""
        resources = self.sweep.record.resolved.get("resources") or {}
        gpu, cpu = float(resources.get("gpu") or 0), float(resources.get("cpu") or 1)
        return ("gpu", gpu) if gpu else ("cpu", cpu)

    def history(self, trial: Trial) -> History:
        """Returns what a trial did; one that has not begun did nothing."""
        return self.histories.get(trial.number, NOTHING)

    @property
    def candidates(self) -> list[Trial]:
        """The trials that were to find the best configuration: neither control nor replicates."""
        return [t for t in self.study.trials if t.kind in CANDIDATES]


def read_contenders(ledgers: Sequence[Ledger], *, histories: bool = True) -> list[Contender]:
    """Returns every study of these sweeps, in their order.

    Args:
        histories: Whether to read what each trial did, which takes as long as all else.

    Raises:
        NotFound: A sweep was never started.
        UsageError: One is named twice.
    """
    names = Counter(ledger.name for ledger in ledgers)
    for name, count in names.items():
        if count > 1:
            raise UsageError(f"sweep `{name}` is named {count} times; name it once.")
    found = [each for ledger in ledgers for each in _of(ledger, histories=histories)]
    on_a_task = Counter((c.study.study.method, c.study.study.task) for c in found)
    twice = {method for (method, _), count in on_a_task.items() if count > 1}
    return [
        replace(c, label=f"{c.sweep.record.name}:{c.label}") if c.label in twice else c
        for c in found
    ]


def _of(ledger: Ledger, *, histories: bool) -> list[Contender]:
    sweep, found = read_table(ledger), read_histories(ledger) if histories else {}
    return [
        Contender(
            label=study.study.method,
            sweep=sweep,
            study=study,
            histories={n: h for (name, n), h in found.items() if name == study.study.name},
        )
        for study in sweep.studies
    ]


def entry_of(contender: Contender) -> Entry:
    """Returns a method's entry: its chosen configuration, budget and progress."""
    entry = _entry(contender, contender.study.best)
    return replace(entry, budget=budget(contender), curve=progress(contender))


def configuration(contender: Contender, trial: Trial) -> dict[str, Any]:
    """Returns what one configuration comes to, as plain data."""
    entry = _entry(contender, trial)
    return {
        "trial": trial.number,
        "kind": trial.kind.value,
        "value": trial.value,
        "best_epoch": trial.best_epoch,
        "validation": entry.validation,
        "test": entry.mean,
        "sd": entry.sd,
        "seeds": len(entry.values),
        "sampled": list(trial.sampled),
    }


def control_of(contender: Contender) -> Entry:
    """Returns the entry of a method's control."""
    controls = [t for t in contender.study.trials if t.kind is TrialKind.CONTROL]
    replicated = [t for t in controls if contender.study.replicates.get(t.number)]
    return _entry(contender, replicated[0] if replicated else contender.study.control)


def budget(contender: Contender) -> Budget:
    """Returns what tuning took: its candidates, control and replicates left out."""
    device, count = contender.devices
    spent = [contender.history(t) for t in contender.candidates]
    return Budget(
        trials=sum(t.state.is_finished for t in contender.candidates),
        epochs=sum(history.epochs for history in spent),
        device_seconds=count * sum(history.seconds for history in spent),
        device=device,
    )


def progress(contender: Contender) -> tuple[Point, ...]:
    """Returns how the best validation value came down, as candidates ended."""
    device_count = contender.devices[1]
    points: list[Point] = []
    best: Trial | None = None
    epochs, seconds = 0, 0.0
    ended = [t for t in contender.candidates if t.state.is_finished]
    for count, trial in enumerate(sorted(ended, key=lambda t: _order(contender, t)), start=1):
        history = contender.history(trial)
        epochs, seconds = epochs + history.epochs, seconds + history.seconds
        if trial.state is TrialState.COMPLETE and finite(trial.value) is not None:
            best = trial if best is None else min(best, trial, key=_by_value)
        if best is not None:
            points.append(
                Point(
                    trials=count,
                    epochs=epochs,
                    device_seconds=device_count * seconds,
                    value=_by_value(best)[0],
                    test=contender.study.test_value(best),
                )
            )
    return tuple(points)


def _entry(contender: Contender, trial: Trial | None) -> Entry:
    study = contender.study
    named = Entry(
        label=contender.label,
        method=study.study.method,
        sweep=contender.sweep.record.name,
        study=study.study.name,
        values={},
    )
    if trial is None:
        return named
    replicates, reached = study.replicates.get(trial.number, ()), study.reached(trial)
    curves = [
        [v for v in contender.history(t).objectives if math.isfinite(v)] for t in reached.trainings
    ]
    numbers = list(reached.tests.values())
    told = len(numbers) if reached.is_replicated else 0  # by replicates
    settings = contender.sweep.record.resolved.get("model") or {}
    return replace(
        named,
        trial=trial.number,
        kind=trial.kind.value,
        embedder_init=(settings | model_settings(trial.params)).get("embedder_init"),
        validation=reached.validation,
        is_replicated=reached.is_replicated,
        values=reached.tests,
        without=sum(t.state.is_finished for t in replicates) - told,
        pending=sum(not t.state.is_finished for t in replicates),
        mean=reached.test,
        sd=stdev(numbers) if len(numbers) > 1 else None,
        ci=bootstrap_interval(numbers),
        jaggedness=_mean_of(jaggedness, curves),
        rises=_mean_of(rises, curves),
    )


def _mean_of(
    measure: Callable[[Sequence[float]], float | None], curves: Sequence[Sequence[float]]
) -> float | None:
    found = [value for curve in curves if (value := measure(curve)) is not None]
    return fmean(found) if found else None


def _order(contender: Contender, trial: Trial) -> tuple[float, int]:
    ended = contender.history(trial).ended
    return math.inf if ended is None else ended, trial.number


def _by_value(trial: Trial) -> tuple[float, int]:
    assert trial.value is not None
    return trial.value, trial.number
