"""The parts of a sweep: studies, trials, attempts, measurements, and the states of a trial.

All data are frozen. `apply` is the only place where a trial changes.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from sweeper.text import JsonObject
from trainables.report import Measurement

INFEASIBLE = "infeasible"  # class of failure of a trial that was pruned because of its settings
CONSTRAINT = "constraint"  # class of failure of a complete trial that breaks a constraint
STOPPED = "stopped"  # class of failure of a trial that was pruned because a user stopped it
SKIPPED = "skipped"  # class of failure of a waiting trial that a user does not want
OF_NO_USE = (INFEASIBLE, SKIPPED)  # of pruned trials that say nothing about a search
Params = Mapping[str, Any]  # "stage.parameter" -> value: one suggestion
CONTROL_ARM = "control"  # name of an ablation's arm that is vanilla fine-tuning
PRESET_ARM = "preset"  # name of an ablation's arm that pins nothing


class TrialState(StrEnum):
    """The states of a trial."""

    WAITING = "waiting"  # planned or to be retried, not running
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # stopped by a signal or a crash; continues when resumed
    PAUSED = "paused"  # at a rung, with its checkpoint; continues when it is promoted

    @property
    def is_finished(self) -> bool:
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)

    @property
    def is_settled(self) -> bool:
        """True if nothing is left to do for the trial, unless it is paused and promoted."""
        return self.is_finished or self is TrialState.PAUSED


class TrialKind(StrEnum):
    """The reasons for which a trial is run."""

    PRESET = "preset"  # the method's published or default settings
    CONTROL = "control"  # vanilla fine-tuning for the same epochs, without what the method adds
    SAMPLED = "sampled"
    REPLICATE = "replicate"  # the configuration of a searched trial, on another seed
    RERUN = "rerun"  # a repeat that a user has requested
    SUGGESTED = "suggested"  # values of a user, outside the search

    @property
    def is_searched(self) -> bool:
        """True if the trial counts towards `search.trials` of the sweep file."""
        return self in (TrialKind.PRESET, TrialKind.CONTROL, TrialKind.SAMPLED)


class Decision(StrEnum):
    """Decision on a trial after its report."""

    CONTINUE = "continue"
    PRUNE = "prune"
    PAUSE = "pause"


def label_of(method: str, arm: str | None) -> str:
    """Return the label of a method or of its arm in tables and figures: `orca align.epochs=0`."""
    return method if arm is None else f"{method} {arm}"


@dataclass(frozen=True, kw_only=True)
class Study:
    """One method, or an arm of it, on one task. `objective` names the metric; lower is better."""

    name: str  # "mona/pdebench/advection_1d", or "mona/pdebench/advection_1d/refine.freeze=body"
    method: str
    task: str
    objective: str  # "val/nrmse"
    seed: int

    @property
    def arm(self) -> str | None:
        """The name of the arm of an ablation, or None."""
        # A task's name has slashes itself, so the arm is what follows the whole prefix.
        start = f"{self.method}/{self.task}/"
        return self.name.removeprefix(start) if self.name.startswith(start) else None

    @property
    def test_metric(self) -> str:
        """The name of the test value of a trial: `test/nrmse`."""
        return self.objective.replace("val/", "test/", 1)


def known_fields(kind: type, record: JsonObject) -> dict[str, Any]:
    """Return what a record has of a dataclass; ignore names of later versions."""
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in record.items() if name in names}


BY_HAND = "by hand"  # in the place of a predictor: a test value that the sweep file gives


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The best predictor without a network on a task: what a method has to beat.

    It is chosen by its validation value among all predictors but those that know the equation.
    """

    name: str  # of the predictor
    value: float  # of the task's metric on the test split; lower is better
    validation: float | None = None  # of the same metric, by which it was chosen; None: by `value`
    seconds: float | None = None  # of a core, to fit, choose and predict


@dataclass(frozen=True, kw_only=True)
class CoarseSolver:
    """The task's own solver on a coarser grid. It knows the equation, and enters no verdict."""

    name: str  # of the predictor
    value: float  # of the task's metric on the first test samples
    seconds: float  # of a core, for each sample
    samples: int  # of the test split that it predicted


@dataclass(frozen=True, kw_only=True)
class DataDraw:
    """The data of one seed of a study's replicates, where each seed has its own.

    Its floor is the predictor that was chosen on the data of the search, fitted to this draw: as
    a configuration, it is chosen once, and trained on each draw.
    """

    seed: int  # of the data
    content_hash: str
    floor: Floor | None = None


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """Facts about a study's task, data and weights, recorded when the study begins."""

    title: str | None = None  # of the task
    method_title: str | None = None  # as printed, also where its plugin is not installed
    dimension: str | None = None
    kind: str | None = None
    metric: str | None = None
    protocol: str | None = None
    data_source: str | None = None
    content_hash: str | None = None  # of the data
    draws: Mapping[str, DataDraw] = field(default_factory=dict)  # by the seed of replicates
    samples: Mapping[str, int] = field(default_factory=dict)  # by split
    baselines: Mapping[str, float] = field(default_factory=dict)  # test values by predictor
    validations: Mapping[str, float] = field(default_factory=dict)  # of those that can be the floor
    refused: Mapping[str, str] = field(default_factory=dict)  # predictor -> why it cannot apply
    floor: Floor | None = None
    solver: CoarseSolver | None = None
    solver_seconds: float | None = None  # core-seconds in which the solver made a sample
    fits_each_sample: bool = False  # a prediction is a training of its own
    published_samples: int | None = None
    published: tuple[JsonObject, ...] = ()  # numbers of other methods on the task
    backbone: str | None = None
    pretrained: str | None = None
    weights_hash: str | None = None
    products: str | None = None  # of float32 matrices on a CPU (`model.products: auto`)
    products_gain: float | None = None  # oneDNN's speed beside torch's, where it was measured
    precision: str | None = None  # bf16, if the sweep chose it on a CPU (`model.precision: auto`)
    precision_gain: float | None = None  # bf16's speed beside fp32's, where it was measured
    proxy: str | None = None  # all sources that the trials may read
    num_leading: int | None = None  # trials that the search begins with
    most_trials: int | None = None  # of the search, if a grid or an arm limits them
    licence: str | None = None  # of an own task; it and `origin` come from the sweep file
    origin: str | None = None  # files of an own task

    @classmethod
    def from_json(cls, record: JsonObject) -> "StudyFacts":
        """Return the facts of a record of `to_json`; ignore names of later versions."""
        known = {k: v for k, v in known_fields(cls, record).items() if v is not None}
        for name, kind in (("floor", Floor), ("solver", CoarseSolver)):
            if name in known:
                known[name] = kind(**known_fields(kind, known[name]))
        known["published"] = tuple(known.get("published", ()))
        known["draws"] = {k: _draw(v) for k, v in known.get("draws", {}).items()}
        return cls(**known)

    @property
    def sizes(self) -> str:
        """The samples of each split: `180 / 20 / 40`; "" if they are unknown."""
        return " / ".join(map(str, self.samples.values()))

    @property
    def floor_or_lowest(self) -> Floor | None:
        """The floor of the task, or the lowest test value if none was chosen by validation."""
        tests = {k: v for k, v in self.baselines.items() if v is not None and math.isfinite(v)}
        if self.floor is not None or not tests:
            return self.floor
        name = min(tests, key=lambda each: tests[each])
        return Floor(name=name, value=tests[name])

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain data; only own tasks have a licence and an origin."""
        plain = asdict(self)
        return {k: v for k, v in plain.items() if v is not None or k not in ("licence", "origin")}


def _draw(record: JsonObject) -> DataDraw:
    floor, known = record.get("floor"), known_fields(DataDraw, record)
    floor = None if floor is None else Floor(**known_fields(Floor, floor))
    return DataDraw(**{**known, "floor": floor})


@dataclass(frozen=True, kw_only=True)
class TrialOutline:
    """A trial by what it is counted and ranked by, without its settings."""

    study: str
    number: int
    kind: TrialKind
    state: TrialState = TrialState.WAITING
    value: float | None = None  # best validation value
    failure: str | None = None  # class: non_finite, crash, config, data, ...
    reason: str | None = None  # explanation of the pruning or failure
    origin: int | None = None  # the trial that a replicate or rerun repeats

    @property
    def name(self) -> str:
        """The name in commands and output: `STUDY/NUMBER`."""
        return trial_name(self.study, self.number)

    @property
    def is_feasible(self) -> bool:
        """True unless the trial is complete and breaks a constraint of its search."""
        return self.failure != CONSTRAINT


@dataclass(frozen=True, kw_only=True)
class Trial(TrialOutline):
    """One suggestion of one study."""

    params: Params  # all of them, sampled or fixed
    seed: int
    sampled: tuple[str, ...] = ()  # the names that the sampler chose
    attempt: int = 0  # number of the latest attempt; 0 before the first
    uncounted: int = 0  # attempts that ended through no fault of the trial, such as a lost node
    forgiven: int = 0  # attempts before a user had it tried again: they count no more
    halvings: int = 0  # number of times that its micro-batches were halved for lack of memory
    best_epoch: int | None = None  # of the stage that reports the objective
    test: Mapping[str, float] = field(default_factory=dict)  # at the best epoch of a complete trial
    checkpoint: str | None = None  # name (`checkpoint_name`) of the latest valid one
    sampler_state: JsonObject = field(default_factory=dict)  # as in `SamplerState`

    @property
    def counted(self) -> int:
        """The number of attempts that count towards the most that a trial may have."""
        return self.attempt - self.forgiven - self.uncounted


@dataclass(frozen=True, kw_only=True)
class SamplerState:
    """The attributes of a trial and of its study in which samplers and pruners keep state, as JSON.

    Each is `{"system": {...}, "user": {...}}` as in Optuna, without what is empty.
    """

    trial: JsonObject
    study: JsonObject | None  # None: unchanged since the last one
    others: Mapping[int, JsonObject] = field(default_factory=dict)  # of further trials, by number


def count_states(trials: Iterable[TrialOutline]) -> dict[str, int]:
    """Return the number of trials in each state, zeros included."""
    counts = Counter(trial.state for trial in trials)
    return {state.value: counts[state] for state in TrialState}


def trial_name(study: str, number: int) -> str:
    """Return the name of the trial `number` of a study: `STUDY/NUMBER`."""
    return f"{study}/{number}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of an attempt. A finished `state` ends the trial too; a paused one may go on."""

    state: TrialState
    failure: str | None = None  # class of the failure
    reason: str | None = None
    log: str | None = None  # last lines of the output
    test: Mapping[str, float] = field(default_factory=dict)
    counts: bool = True  # towards the maximum number of attempts
    halvings: int | None = None  # of the following attempts; None: unchanged
    quantities: Mapping[str, float] = field(default_factory=dict)  # of objectives and constraints


# The death of a driver is no fault of its trials: it uses up none of their attempts.
DRIVER_DIED = Outcome(state=TrialState.INTERRUPTED, reason="its driver died", counts=False)


@dataclass(frozen=True, kw_only=True)
class AttemptStarted:
    """A new attempt at a trial. Reports of earlier attempts are refused from now on."""

    attempt: int


@dataclass(frozen=True, kw_only=True)
class EpochMeasured:
    """An epoch of the latest attempt."""

    measurement: Measurement


@dataclass(frozen=True, kw_only=True)
class CheckpointNamed:
    """A complete checkpoint without a new measurement. The history does not record it."""

    checkpoint: str


@dataclass(frozen=True, kw_only=True)
class AttemptEnded:
    """The end of the latest attempt."""

    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class SamplerStateKept:
    """The state that samplers and pruners keep of a trial. The history does not record it."""

    state: JsonObject


@dataclass(frozen=True)
class TrialReopened:
    """A user's request to retry a trial that had ended."""


@dataclass(frozen=True)
class CheckpointDropped:
    """The deletion of a trial's checkpoint."""


@dataclass(frozen=True)
class TrialQueued:
    """A request to run an interrupted trial again. The ledger does not record it."""


TrialEvent = (
    AttemptStarted
    | EpochMeasured
    | CheckpointNamed
    | AttemptEnded
    | SamplerStateKept
    | TrialReopened
    | CheckpointDropped
    | TrialQueued
)


def apply(trial: Trial, event: TrialEvent) -> Trial:
    """Return the trial after an event."""
    match event:
        case AttemptStarted(attempt=attempt):
            return replace(_without_end(trial), state=TrialState.RUNNING, attempt=attempt)
        case EpochMeasured(measurement=measurement):
            return _measured(trial, measurement)
        case CheckpointNamed(checkpoint=checkpoint):
            return replace(trial, checkpoint=checkpoint)
        case AttemptEnded(outcome=outcome):
            return replace(
                trial,
                state=outcome.state,
                failure=outcome.failure,
                reason=outcome.reason,
                test=outcome.test,
                uncounted=trial.uncounted + (not outcome.counts),
                halvings=trial.halvings if outcome.halvings is None else outcome.halvings,
            )
        case SamplerStateKept(state=state):
            return replace(trial, sampler_state=state)
        case TrialReopened():  # the count of attempts starts again
            fresh = replace(_without_end(trial), forgiven=trial.attempt, uncounted=0)
            return replace(fresh, state=TrialState.WAITING)
        case CheckpointDropped():
            return replace(trial, checkpoint=None)
        case TrialQueued():
            return replace(_without_end(trial), state=TrialState.WAITING)


def _without_end(trial: Trial) -> Trial:
    """Return a trial that goes on, without the failure and the reason of its former end."""
    return replace(trial, failure=None, reason=None)


def _measured(trial: Trial, measurement: Measurement) -> Trial:
    # The runner has refused values that are not finite. Of equal ones the first stays the best.
    value = measurement.objective
    if measurement.checkpoint is not None:
        trial = replace(trial, checkpoint=measurement.checkpoint)
    if value is not None and (trial.value is None or value < trial.value):
        trial = replace(trial, value=value, best_epoch=measurement.epoch)
    return trial
