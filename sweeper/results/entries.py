"""The entries of a comparison: each tuned study, its chosen configuration, values and cost.

The values are those of complete replicates or, if there are none, the value of the searched trial.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, median

from sweeper.model import CONTROL_ARM, TrialKind, TrialState, label_of
from sweeper.results.comparison import Entry, EpochValues, Incumbent, TuningCost
from sweeper.results.floors import floors_at
from sweeper.results.schema import Scope, StudyResult, TrialRow, cells_of, finite
from sweeper.results.statistics import mean_interval, roughness, upward_rms
from sweeper.spec.catalog import model_settings


def fairly(tuned_studies: Sequence[StudyResult]) -> list[StudyResult]:
    """Return studies without those suggestions of users that not all studies on a task have.

    A suggestion is known by its values, whatever the stages are called: `lr` of each method.
    """

    def values(study: StudyResult, trial: TrialRow) -> str:
        given = ([name.rpartition(".")[2], trial.params.get(name)] for name in trial.sampled)
        return json.dumps([study.study.task, *sorted(given, key=str)], default=str)

    def suggestions(study: StudyResult) -> list[TrialRow]:
        return [trial for trial in study.trials if trial.kind is TrialKind.SUGGESTED]

    on_task = Counter(study.study.task for study in tuned_studies)
    # Sets count a study once, although a user may suggest one configuration twice.
    having = Counter(
        key
        for study in tuned_studies
        for key in {values(study, trial) for trial in suggestions(study)}
    )
    found = []
    for study in tuned_studies:
        unfair = [
            trial.number
            for trial in suggestions(study)
            if having[values(study, trial)] < on_task[study.study.task]
        ]
        kept = tuple(trial for trial in study.trials if trial.number not in unfair)
        left_out = study.left_out + len(unfair)
        found.append(replace(study, trials=kept, left_out=left_out) if unfair else study)
    return found


def entry_of(tuned: StudyResult) -> Entry:
    """Return a method's entry: its chosen configuration, budget and progress."""
    entry = _entry(tuned, tuned.best)
    return replace(entry, budget=budget(tuned), curve=progress(tuned))


def control_of(tuned: StudyResult, beside: Sequence[StudyResult] = ()) -> Entry:
    """Return the entry of a method's control.

    `beside` are other studies. The control of an arm is an arm among them.
    """
    if (arm := _control_arm_of(tuned, beside)) is not None:
        return replace(entry_of(arm), label=arm.method_label)
    return _entry(tuned, control_trial_of(tuned))


def control_test_of(tuned: StudyResult, beside: Sequence[StudyResult]) -> float | None:
    """Return the test value of a method's control, the mean of a replicated one.

    `beside` are as in `control_of`, which also has intervals, and takes longer.
    """
    arm = _control_arm_of(tuned, beside)
    of, trial = (tuned, control_trial_of(tuned)) if arm is None else (arm, arm.best)
    return None if trial is None else of.reached(trial).test


def _control_arm_of(tuned: StudyResult, beside: Sequence[StudyResult]) -> StudyResult | None:
    if tuned.arm is None:
        return None
    mine = (tuned.record.name, tuned.study.method, tuned.study.task)
    for other in beside:
        theirs = (other.record.name, other.study.method, other.study.task)
        if other.arm == CONTROL_ARM and theirs == mine:
            return other
    return None


def control_trial_of(tuned: StudyResult) -> TrialRow | None:
    """Return the control of a study without arms, a replicated one if there is one."""
    controls = [t for t in tuned.trials if t.kind is TrialKind.CONTROL]
    replicated = [t for t in controls if tuned.replicates.get(t.number)]
    return replicated[0] if replicated else tuned.control


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One configuration of a study, with a training for each seed."""

    name: str  # of the study; that of a control which is no arm of an ablation ends in /control
    arm: str | None  # of an ablation, or the control; None: the tuned method
    of: StudyResult
    trainings: tuple[TrialRow, ...]

    @property
    def label(self) -> str:
        """The method and the arm."""
        return label_of(self.of.study.method, self.arm)

    def device_seconds(self, training: TrialRow) -> float:
        """Return the device-seconds of a training: its seconds times its devices."""
        return self.of.devices[1] * training.seconds

    @property
    def search(self) -> TuningCost | None:
        """The cost of the search that chose its settings; None for a control, and a lone preset."""
        if self.arm == CONTROL_ARM or self.of.best is None:
            return None
        cost = budget(self.of)
        return cost if cost.trials > 1 else None


def arms_of(tuned: StudyResult) -> Iterator[Arm]:
    """Yield a study's best configuration, and the control of a study that is no arm."""
    name = tuned.study.name
    if tuned.best is not None:
        trainings = tuned.reached(tuned.best).trainings
        yield Arm(name=name, arm=tuned.arm, of=tuned, trainings=trainings)
    if tuned.arm is None and (control := control_trial_of(tuned)) is not None:
        trainings = tuned.reached(control).trainings
        yield Arm(name=f"{name}/{CONTROL_ARM}", arm=CONTROL_ARM, of=tuned, trainings=trainings)


def budget(tuned: StudyResult) -> TuningCost:
    """Return the cost of the candidates, without control and replicates."""
    if tuned.tuning is not None:
        return tuned.tuning
    device, count = tuned.devices
    spent = tuned.candidates
    return TuningCost(
        trials=sum(t.state.is_settled for t in spent),
        epochs=sum(t.epochs for t in spent),
        device_seconds=count * sum(t.seconds for t in spent),
        device=device,
    )


def progress(tuned: StudyResult) -> tuple[Incumbent, ...]:
    """Return the lowest validation value after the end of each candidate."""
    device_count = tuned.devices[1]
    points: list[Incumbent] = []
    best: TrialRow | None = None
    epochs, seconds = 0, 0.0
    # Trials count in the order of their ends: the curve shows what had been found at each cost.
    ended = [t for t in tuned.candidates if t.state.is_settled]
    for count, trial in enumerate(sorted(ended, key=_order), start=1):
        epochs, seconds = epochs + trial.epochs, seconds + trial.seconds
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
                    test=tuned.test_value(best),
                )
            )
    return tuple(points)


def _entry(tuned: StudyResult, trial: TrialRow | None) -> Entry:
    named = Entry(
        label=tuned.label,
        method=tuned.study.method,
        sweep=tuned.record.name,
        study=tuned.study.name,
        values={},
    )
    if trial is None:
        return named
    replicates, reached = tuned.replicates.get(trial.number, ()), tuned.reached(trial)
    curves = [[v for v in t.objectives if math.isfinite(v)] for t in reached.trainings]
    numbers = list(reached.tests.values())
    told = len(numbers) if reached.is_replicated else 0  # values from replicates
    settings = {} if tuned.is_program else tuned.record.resolved.get("model") or {}
    return replace(
        named,
        trial=trial.number,
        kind=trial.kind.value,
        preset=tuned.test_value(tuned.preset),
        control=tuned.test_value(tuned.control),
        embedder_init=(settings | model_settings(trial.params)).get("embedder_init"),
        validation=reached.validation,
        is_replicated=reached.is_replicated,
        values=reached.tests,
        data={trial.seed: tuned.content_hash(trial) for trial in reached.trainings},
        samples=tuned.samples,
        floors=floors_at(tuned.facts, reached.tests),
        without=sum(t.state.is_finished for t in replicates) - told,
        pending=sum(not t.state.is_finished for t in replicates),
        mean=reached.test,
        sd=reached.sd,
        ci=mean_interval(numbers),
        training_seconds=_training_seconds(tuned, reached.trainings),
        sample_seconds=_sample_seconds(tuned, reached.trainings),
        roughness=_mean_of(roughness, curves),
        upward_rms=_mean_of(upward_rms, curves),
        epochs=_epochs(tuned, reached.trainings),
        cells=cells_of(tuned, trial, Scope.EVERYWHERE),
    )


def _epochs(tuned: StudyResult, trainings: Sequence[TrialRow]) -> tuple[EpochValues, ...]:
    values: dict[tuple[str, int], list[float]] = {}
    for trial in trainings:
        for each in trial.measurements:
            if (value := finite(each.objective)) is not None:
                values.setdefault((each.stage, each.epoch), []).append(value)
    return tuple(
        EpochValues(stage=stage, epoch=epoch, values=tuple(found))
        for (stage, epoch), found in values.items()
    )


def _training_seconds(tuned: StudyResult, trainings: Sequence[TrialRow]) -> float | None:
    """Return the mean device-seconds of trainings; None if their histories were not read.

    Trainings that an equal trial has trained took no time, and are left out.
    """
    spent = [trial.seconds for trial in trainings if trial.epochs and trial.seconds]
    return tuned.devices[1] * fmean(spent) if spent else None


def _sample_seconds(tuned: StudyResult, trainings: Sequence[TrialRow]) -> float | None:
    """Return the device-seconds of an epoch for each of its training and validation samples.

    The epochs are those that report the objective. The result is None without two in a row.
    """
    samples = sum(tuned.facts.samples.get(split, 0) for split in ("train", "val"))
    # Seconds count from the begin of an attempt, so that neighbours differ by one epoch.
    paces = [
        later.seconds - earlier.seconds
        for trial in trainings
        for earlier, later in pairwise(trial.measurements)
        if earlier.stage == later.stage and later.objective is not None
    ]
    known = [pace for pace in paces if pace > 0]  # a new attempt counts from 0
    return tuned.devices[1] * median(known) / samples if known and samples else None


def _mean_of(
    measure: Callable[[Sequence[float]], float | None], curves: Sequence[Sequence[float]]
) -> float | None:
    found = [value for curve in curves if (value := measure(curve)) is not None]
    return fmean(found) if found else None


def _order(trial: TrialRow) -> tuple[float, int]:
    # Trials of evidence have no event of their end, so that their numbers decide.
    return math.inf if trial.ended is None else trial.ended, trial.number


def _by_value(trial: TrialRow) -> tuple[float, int]:
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


def cost_of(tuned: StudyResult) -> Cost:
    """Return the cost of a study, according to the reports of its trials."""
    device, count = tuned.devices
    trials = tuned.trials
    paces = [t.seconds / t.epochs for t in trials if t.epochs and t.seconds]
    peaks = [
        m.peak_memory_bytes
        for trial in trials
        for m in trial.measurements
        if m.peak_memory_bytes is not None
    ]

    def seconds(chosen: Sequence[TrialRow]) -> float:
        return sum(count * trial.seconds for trial in chosen)

    return Cost(
        study=tuned.study.name,
        device=device,
        trials=sum(trial.attempt > 0 for trial in trials),
        epochs=sum(trial.epochs for trial in trials),
        searched=seconds([t for t in trials if t.kind.is_searched]),
        repeated=seconds([t for t in trials if not t.kind.is_searched]),
        pruned=seconds([t for t in trials if t.state in (TrialState.PRUNED, TrialState.PAUSED)]),
        failed=seconds([t for t in trials if t.state is TrialState.FAILED]),
        epoch_seconds=median(paces) if paces else None,
        peak_memory_bytes=max(peaks) if peaks else None,
    )
