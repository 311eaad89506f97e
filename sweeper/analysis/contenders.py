"""Who competes: each study of each sweep, the configuration that stands for it, and its values.

A configuration is chosen by validation alone: of the replicated ones, the one with the most
complete replicates, then the lowest mean over them; without replicates, the best trial.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from sweeper.analysis.comparison import Budget, Entry, Point
from sweeper.analysis.history import NOTHING, History, read_histories
from sweeper.analysis.statistics import bootstrap_interval, jaggedness
from sweeper.analysis.table import CANDIDATES, StudyTable, SweepTable, read_table
from sweeper.errors import UsageError
from sweeper.ledger import Ledger
from sweeper.study import Trial, TrialKind, TrialState


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
    entry = _entry(contender, next(iter(ranked(contender.study)), None))
    return replace(entry, budget=budget(contender), curve=progress(contender))


def ranked(study: StudyTable) -> list[Trial]:
    """Returns the complete configurations of a study, the one that stands for it first."""
    candidates = [
        t
        for t in study.trials
        if t.kind in CANDIDATES and t.state is TrialState.COMPLETE and math.isfinite(_value(t))
    ]
    return sorted(candidates, key=lambda t: (_standing(study, t), t.number))


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
    """Returns what the search took, replicates left out."""
    device, count = contender.devices
    searched = contender.study.searched
    ended = [t for t in searched if t.state.is_finished]
    spent = [contender.history(t) for t in searched]
    return Budget(
        trials=len(ended),
        epochs=sum(history.epochs for history in spent),
        device_seconds=count * sum(history.seconds for history in spent),
        device=device,
    )


def progress(contender: Contender) -> tuple[Point, ...]:
    """Returns how the best validation value came down, as trials of the search ended."""
    device_count = contender.devices[1]
    points: list[Point] = []
    best: Trial | None = None
    epochs, seconds = 0, 0.0
    ended = [t for t in contender.study.searched if t.state.is_finished]
    for count, trial in enumerate(sorted(ended, key=lambda t: _order(contender, t)), start=1):
        history = contender.history(trial)
        epochs, seconds = epochs + history.epochs, seconds + history.seconds
        is_candidate = trial.kind in CANDIDATES and trial.state is TrialState.COMPLETE
        if is_candidate and (best is None or _value(trial) < _value(best)):
            best = trial
        if best is not None and math.isfinite(_value(best)):
            points.append(
                Point(
                    trials=count,
                    epochs=epochs,
                    device_seconds=device_count * seconds,
                    value=_value(best),
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
    replicates = study.replicates.get(trial.number, ())
    trained = [t for t in replicates or [trial] if t.state is TrialState.COMPLETE]
    tests = {t.seed: study.test_value(t) for t in trained}
    values = {seed: v for seed, v in tests.items() if v is not None and math.isfinite(v)}
    validation = [t.value for t in trained if t.value is not None and math.isfinite(t.value)]
    curves = [[v for v in contender.history(t).objectives if math.isfinite(v)] for t in trained]
    jagged = [j for curve in curves if (j := jaggedness(curve)) is not None]
    numbers = list(values.values())
    return replace(
        named,
        trial=trial.number,
        kind=trial.kind.value,
        validation=fmean(validation) if validation else None,
        is_replicated=bool(replicates),
        values=values,
        without=sum(t.state.is_finished for t in replicates) - len(values) if replicates else 0,
        pending=sum(not t.state.is_finished for t in replicates),
        mean=fmean(numbers) if numbers else None,
        sd=stdev(numbers) if len(numbers) > 1 else None,
        ci=bootstrap_interval(numbers),
        jaggedness=fmean(jagged) if jagged else None,
    )


def _standing(study: StudyTable, trial: Trial) -> tuple[float, float, float]:
    """Orders replicated configurations, the one to stand for the method first."""
    complete = [
        _value(t) for t in study.replicates.get(trial.number, ())
        if t.state is TrialState.COMPLETE and math.isfinite(_value(t))
    ]  # fmt: skip
    return -len(complete), fmean(complete) if complete else math.inf, _value(trial)


def _order(contender: Contender, trial: Trial) -> tuple[float, int]:
    ended = contender.history(trial).ended
    return math.inf if ended is None else ended, trial.number


def _value(trial: Trial) -> float:
    return math.inf if trial.value is None or math.isnan(trial.value) else trial.value
