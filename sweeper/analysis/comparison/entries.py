"""The entries of a comparison: each tuned study, its chosen configuration, values and cost.

The values are those of complete replicates or, if there are none, the value of the searched trial.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from statistics import fmean, median, stdev

from sweeper.analysis.comparison.comparison import Entry, EpochValues, Incumbent, TuningCost
from sweeper.analysis.floors import floors_at
from sweeper.analysis.prose import read_title
from sweeper.analysis.statistics import mean_interval, roughness, upward_rms
from sweeper.analysis.table import (
    NOTHING,
    History,
    StudyTable,
    SweepTable,
    finite,
    read_histories,
    read_table,
)
from sweeper.config.arms import arms_of
from sweeper.config.catalog import model_settings
from sweeper.core.ranking import CANDIDATES
from sweeper.errors import UsageError
from sweeper.ledger import Ledger
from sweeper.model import CONTROL_ARM, Params, Trial, TrialKind, TrialState, label_of

ROUGHNESS = "curve/roughness"  # of a trial's validation values by epoch, among its metrics


@dataclass(frozen=True, kw_only=True)
class TunedStudy:
    """One study of one sweep, with the histories of its trials."""

    label: str
    sweep: SweepTable
    study: StudyTable
    histories: Mapping[int, History]  # trial number -> history; empty if not requested

    @property
    def devices(self) -> tuple[str, float]:
        """The kind and number of a trial's devices: GPUs, or CPU cores if it has no GPU."""
        resources = self.sweep.record.resolved.get("resources") or {}
        gpu, cpu = float(resources.get("gpu") or 0), float(resources.get("cpu") or 1)
        return ("gpu", gpu) if gpu else ("cpu", cpu)

    def history(self, trial: Trial) -> History:
        """Return the history of a trial, which is empty before its start."""
        return self.histories.get(trial.number, NOTHING)

    def recorded(self, trial: Trial) -> dict[str, float]:
        """Return the last value of each metric of a trial, and the roughness of its curve."""
        history = self.history(trial)
        rough = roughness([value for value in history.objectives if math.isfinite(value)])
        found = {**history.metrics, **trial.test}
        return found if rough is None else {**found, ROUGHNESS: rough}

    def draw_of(self, trial: Trial) -> str | None:
        """Return the hash of the data that a trial was trained on; None: unknown."""
        return self.study.content_hash(trial)

    @property
    def samples(self) -> int | None:
        """The samples of the task in all splits; None: unknown."""
        return sum(self.study.facts.samples.values()) or None

    @property
    def arm(self) -> str | None:
        """The name of the arm of an ablation, or None."""
        return self.study.study.arm

    @property
    def is_contender(self) -> bool:
        """False for the base and for the control of an ablation, with which arms are compared."""
        if self.arm is None:
            return not self.sweep.record.resolved.get("compare_by")
        return self.arm != CONTROL_ARM

    @property
    def design(self) -> str:
        """The origin of what an arm does not pin: preset, tuned (its base), files, or per_arm."""
        resolved = self.sweep.record.resolved
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
        arms = arms_of(self.sweep.record.resolved.get("compare_by") or {})
        return next((arm.pinned for arm in arms if arm.name == self.arm), {})

    @property
    def candidates(self) -> list[Trial]:
        """The trials that compete to be the best: neither control nor replicates."""
        return [t for t in self.study.trials if t.kind in CANDIDATES]


def read_tuned_studies(ledgers: Sequence[Ledger], *, histories: bool = True) -> list[TunedStudy]:
    """Return every study of these sweeps, in their order.

    Args:
        ledgers: The ledgers of the sweeps.
        histories: Read the histories of trials, too. This doubles the time.

    Raises:
        NotFound: A sweep was never started.
        UsageError: A sweep is named twice.
    """
    names = Counter(ledger.name for ledger in ledgers)
    for name, count in names.items():
        if count > 1:
            raise UsageError(f"sweep `{name}` is named {count} times; name it once.")
    return with_distinct_labels(
        [each for ledger in ledgers for each in _of(ledger, histories=histories)]
    )


def with_distinct_labels(found: Sequence[TunedStudy]) -> list[TunedStudy]:
    """Return studies with the name of the sweep before labels that two of them have on a task."""
    on_a_task = Counter((c.label, c.study.study.task) for c in found)
    twice = {label for (label, _), count in on_a_task.items() if count > 1}
    return [
        replace(c, label=f"{c.sweep.record.name}:{c.label}") if c.label in twice else c
        for c in found
    ]


def _of(ledger: Ledger, *, histories: bool) -> list[TunedStudy]:
    sweep, found = read_table(ledger), read_histories(ledger) if histories else {}
    by_study: dict[str, dict[int, History]] = {}
    for (name, number), history in found.items():
        by_study.setdefault(name, {})[number] = history
    for study in sweep.studies:
        read_title(study.study.method, study.facts)
    return [
        TunedStudy(
            label=label_of(study.study.method, study.study.arm),
            sweep=sweep,
            study=study,
            histories=by_study.get(study.study.name, {}),
        )
        for study in sweep.studies
    ]


def entry_of(tuned: TunedStudy) -> Entry:
    """Return a method's entry: its chosen configuration, budget and progress."""
    entry = _entry(tuned, tuned.study.best)
    return replace(entry, budget=budget(tuned), curve=progress(tuned))


def configuration(tuned: TunedStudy, trial: Trial) -> dict[str, object]:
    """Return the values of one configuration as plain data."""
    entry = _entry(tuned, trial)
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


def control_of(tuned: TunedStudy, beside: Sequence[TunedStudy] = ()) -> Entry:
    """Return the entry of a method's control.

    Args:
        beside: The other studies on the task. The control of an arm is an arm among them.
    """
    if tuned.arm is not None:
        mine = (tuned.sweep.record.name, tuned.study.study.method)
        for other in beside:
            theirs = (other.sweep.record.name, other.study.study.method)
            if other.arm == CONTROL_ARM and theirs == mine:
                return replace(entry_of(other), label=other.method_label)
    return _entry(tuned, control_trial_of(tuned))


def control_trial_of(tuned: TunedStudy) -> Trial | None:
    """Return the control of a study without arms, a replicated one if there is one."""
    controls = [t for t in tuned.study.trials if t.kind is TrialKind.CONTROL]
    replicated = [t for t in controls if tuned.study.replicates.get(t.number)]
    return replicated[0] if replicated else tuned.study.control


def budget(tuned: TunedStudy) -> TuningCost:
    """Return the cost of the candidates, without control and replicates."""
    device, count = tuned.devices
    spent = [tuned.history(t) for t in tuned.candidates]
    return TuningCost(
        trials=sum(t.state.is_settled for t in tuned.candidates),
        epochs=sum(history.epochs for history in spent),
        device_seconds=count * sum(history.seconds for history in spent),
        device=device,
    )


def progress(tuned: TunedStudy) -> tuple[Incumbent, ...]:
    """Return the lowest validation value after the end of each candidate."""
    device_count = tuned.devices[1]
    points: list[Incumbent] = []
    best: Trial | None = None
    epochs, seconds = 0, 0.0
    ended = [t for t in tuned.candidates if t.state.is_settled]
    for count, trial in enumerate(sorted(ended, key=lambda t: _order(tuned, t)), start=1):
        history = tuned.history(trial)
        epochs, seconds = epochs + history.epochs, seconds + history.seconds
        is_complete = trial.state is TrialState.COMPLETE and trial.is_feasible
        if is_complete and finite(trial.value) is not None:
            best = trial if best is None else min(best, trial, key=_by_value)
        if best is not None:
            points.append(
                Incumbent(
                    trials=count,
                    epochs=epochs,
                    device_seconds=device_count * seconds,
                    value=_by_value(best)[0],
                    test=tuned.study.test_value(best),
                )
            )
    return tuple(points)


def _entry(tuned: TunedStudy, trial: Trial | None) -> Entry:
    study = tuned.study
    named = Entry(
        label=tuned.label,
        method=study.study.method,
        sweep=tuned.sweep.record.name,
        study=study.study.name,
        values={},
    )
    if trial is None:
        return named
    replicates, reached = study.replicates.get(trial.number, ()), study.reached(trial)
    curves = [
        [v for v in tuned.history(t).objectives if math.isfinite(v)] for t in reached.trainings
    ]
    numbers = list(reached.tests.values())
    told = len(numbers) if reached.is_replicated else 0  # values from replicates
    settings = tuned.sweep.record.resolved.get("model") or {}
    return replace(
        named,
        trial=trial.number,
        kind=trial.kind.value,
        preset=study.test_value(study.preset),
        control=study.test_value(study.control),
        embedder_init=(settings | model_settings(trial.params)).get("embedder_init"),
        validation=reached.validation,
        is_replicated=reached.is_replicated,
        values=reached.tests,
        data={trial.seed: tuned.draw_of(trial) for trial in reached.trainings},
        samples=tuned.samples,
        floors=floors_at(study.facts, reached.tests),
        without=sum(t.state.is_finished for t in replicates) - told,
        pending=sum(not t.state.is_finished for t in replicates),
        mean=reached.test,
        sd=stdev(numbers) if len(numbers) > 1 else None,
        ci=mean_interval(numbers),
        training_seconds=_training_seconds(tuned, reached.trainings),
        sample_seconds=_sample_seconds(tuned, reached.trainings),
        roughness=_mean_of(roughness, curves),
        upward_rms=_mean_of(upward_rms, curves),
        epochs=_epochs(tuned, reached.trainings),
    )


def _epochs(tuned: TunedStudy, trainings: Sequence[Trial]) -> tuple[EpochValues, ...]:
    values: dict[tuple[str, int], list[float]] = {}
    for trial in trainings:
        for each in tuned.history(trial).measurements:
            if (value := finite(each.objective)) is not None:
                values.setdefault((each.stage, each.epoch), []).append(value)
    return tuple(
        EpochValues(stage=stage, epoch=epoch, values=tuple(found))
        for (stage, epoch), found in values.items()
    )


def _training_seconds(tuned: TunedStudy, trainings: Sequence[Trial]) -> float | None:
    """Return the mean device-seconds of trainings; None if their histories were not read."""
    spent = [tuned.history(trial).seconds for trial in trainings if tuned.history(trial).epochs]
    return tuned.devices[1] * fmean(spent) if spent else None


def _sample_seconds(tuned: TunedStudy, trainings: Sequence[Trial]) -> float | None:
    """Return the device-seconds of an epoch for each of its training and validation samples.

    The epochs are those that report the objective. The result is None without two in a row.
    """
    samples = sum(tuned.study.facts.samples.get(split, 0) for split in ("train", "val"))
    paces = [
        later.seconds - earlier.seconds
        for trial in trainings
        for earlier, later in pairwise(tuned.history(trial).measurements)
        if earlier.stage == later.stage and later.objective is not None
    ]
    known = [pace for pace in paces if pace > 0]  # a new attempt counts from 0
    return tuned.devices[1] * median(known) / samples if known and samples else None


def _mean_of(
    measure: Callable[[Sequence[float]], float | None], curves: Sequence[Sequence[float]]
) -> float | None:
    found = [value for curve in curves if (value := measure(curve)) is not None]
    return fmean(found) if found else None


def _order(tuned: TunedStudy, trial: Trial) -> tuple[float, int]:
    ended = tuned.history(trial).ended
    return math.inf if ended is None else ended, trial.number


def _by_value(trial: Trial) -> tuple[float, int]:
    assert trial.value is not None
    return trial.value, trial.number


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of one study, in GPU-seconds, or in CPU-core-seconds if trials have no GPU."""

    study: str
    device: str
    trials: int  # started trials
    epochs: int  # trained epochs, including repeated ones
    searched: float  # s
    repeated: float  # s of replicates and reruns
    pruned: float  # s of pruned and paused trials; also part of `searched` or `repeated`
    failed: float
    epoch_seconds: float | None  # wall time, median over trials
    peak_memory_bytes: int | None  # maximum over trials

    @property
    def total(self) -> float:
        """The sum of all device-seconds."""
        return self.searched + self.repeated


def cost_of(tuned: TunedStudy) -> Cost:
    """Return the cost of a study, according to the reports of its trials."""
    device, count = tuned.devices
    trials = tuned.study.trials
    histories = [tuned.history(trial) for trial in trials]
    spent = {t.number: count * h.seconds for t, h in zip(trials, histories, strict=True)}
    paces = [h.seconds / h.epochs for h in histories if h.epochs]
    peaks = [
        m.peak_memory_bytes
        for history in histories
        for m in history.measurements
        if m.peak_memory_bytes is not None
    ]

    def seconds(chosen: Sequence[Trial]) -> float:
        return sum(spent[trial.number] for trial in chosen)

    return Cost(
        study=tuned.study.study.name,
        device=device,
        trials=sum(trial.attempt > 0 for trial in trials),
        epochs=sum(history.epochs for history in histories),
        searched=seconds([t for t in trials if t.kind.is_searched]),
        repeated=seconds([t for t in trials if not t.kind.is_searched]),
        pruned=seconds([t for t in trials if t.state in (TrialState.PRUNED, TrialState.PAUSED)]),
        failed=seconds([t for t in trials if t.state is TrialState.FAILED]),
        epoch_seconds=median(paces) if paces else None,
        peak_memory_bytes=max(peaks) if peaks else None,
    )
