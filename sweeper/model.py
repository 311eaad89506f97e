"""The parts of a sweep: studies, trials, attempts, measurements, and the states of a trial.

All data are frozen. `apply` is the only place where a trial changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

Params = Mapping[str, Any]  # "stage.parameter" -> value: one suggestion


class TrialState(StrEnum):
    WAITING = "waiting"  # planned or to be retried, not running
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # stopped by a signal or a crash; goes on when resumed

    @property
    def is_finished(self) -> bool:
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)


class TrialKind(StrEnum):
    PRESET = "preset"  # the method's published or default settings
    CONTROL = "control"  # vanilla fine-tuning for the same epochs, without what the method adds
    SAMPLED = "sampled"
    REPLICATE = "replicate"  # the configuration of a searched trial, on another seed
    RERUN = "rerun"  # one that a user asked to see again

    @property
    def is_searched(self) -> bool:
        """True if the trial counts among those that a sweep file asks for."""
        return self not in (TrialKind.REPLICATE, TrialKind.RERUN)


class Decision(StrEnum):
    CONTINUE = "continue"
    PRUNE = "prune"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The report of one epoch of one stage."""

    stage: str
    epoch: int
    num_epochs: int
    metrics: Mapping[str, float]
    objective: float | None = None
    is_final: bool = False
    checkpoint: str | None = None  # name (`checkpoint_name`) of the state after this epoch
    seconds: float = 0.0  # since the attempt began
    peak_memory_bytes: int | None = None  # since then, of the GPU, or else of the process
    computed_by: str | None = None  # "SWEEP/STUDY/NUMBER", where a stage was taken over from it


@dataclass(frozen=True, kw_only=True)
class Study:
    """One method on one task. `objective` names the metric; lower is better."""

    name: str  # "mona/pdebench/advection_1d"
    method: str
    task: str
    objective: str  # "val/nrmse"
    seed: int


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """Facts about a study's task, data and weights, recorded when the study begins.

    A fact that an older version did not record is None, or empty.
    """

    title: str | None = None  # of the task
    dimension: str | None = None
    kind: str | None = None
    metric: str | None = None
    protocol: str | None = None
    earlier_protocol: str | None = None  # that an older version followed on this task
    data_source: str | None = None
    content_hash: str | None = None  # of the data
    samples: Mapping[str, int] = field(default_factory=dict)  # by split
    baselines: Mapping[str, float] = field(default_factory=dict)  # by predictor
    published_samples: int | None = None
    published: Sequence[Mapping[str, Any]] = ()  # numbers of other methods on the task
    backbone: str | None = None
    pretrained: str | None = None
    weights_hash: str | None = None
    proxy: str | None = None  # all sources that trials may read

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "StudyFacts":
        """Return the facts that `to_json` gave; names of a later version are left out."""
        names = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in record.items() if name in names})

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain data, as the ledger keeps them."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One suggestion of one study."""

    study: str
    number: int
    kind: TrialKind
    params: Params  # all of them, sampled or fixed
    seed: int
    sampled: tuple[str, ...] = ()  # the names that the sampler chose
    state: TrialState = TrialState.WAITING
    attempt: int = 0  # the latest; 0 before the first
    uncounted: int = 0  # attempts that ended by no fault of the trial: stopped, lost with a node
    halvings: int = 0  # how often its micro-batches were halved, after memory ran out
    value: float | None = None  # best validation value
    best_epoch: int | None = None  # of the stage that reports the objective
    test: Mapping[str, float] = field(default_factory=dict)  # at the best epoch, complete ones only
    checkpoint: str | None = None  # the latest good one, by its name (`checkpoint_name`)
    failure: str | None = None  # class: non_finite, crash, config, data, ...
    reason: str | None = None  # why it was pruned or failed, in words
    origin: int | None = None  # the trial that a replicate or rerun repeats

    @property
    def name(self) -> str:
        """Name that commands print and accept: `STUDY/NUMBER`."""
        return trial_name(self.study, self.number)


def trial_name(study: str, number: int) -> str:
    """Return the name of the trial `number` of a study: `STUDY/NUMBER`."""
    return f"{study}/{number}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of an attempt. A finished `state` ends the trial too."""

    state: TrialState
    failure: str | None = None  # its class, where it failed
    reason: str | None = None
    log: str | None = None  # the last lines
    test: Mapping[str, float] = field(default_factory=dict)
    counts: bool = True  # among the attempts that a trial is allowed
    halvings: int | None = None  # of the attempts that follow; None: as before


@dataclass(frozen=True, kw_only=True)
class AttemptStarted:
    """A new attempt at a trial, which fences off the attempts before it."""

    attempt: int


@dataclass(frozen=True, kw_only=True)
class EpochMeasured:
    """An epoch of the latest attempt."""

    measurement: Measurement


@dataclass(frozen=True, kw_only=True)
class AttemptEnded:
    """The end of the latest attempt."""

    outcome: Outcome


@dataclass(frozen=True)
class TrialReopened:
    """A user's wish to try a trial again that had ended."""


@dataclass(frozen=True)
class CheckpointDropped:
    """The deletion of a trial's checkpoint."""


@dataclass(frozen=True)
class TrialQueued:
    """The wish to run an interrupted trial again. Only the runner has it: no event is recorded."""


TrialEvent = (
    AttemptStarted | EpochMeasured | AttemptEnded | TrialReopened | CheckpointDropped | TrialQueued
)


def apply(trial: Trial, event: TrialEvent) -> Trial:
    """Return the trial after an event."""
    match event:
        case AttemptStarted(attempt=attempt):
            return replace(trial, state=TrialState.RUNNING, attempt=attempt)
        case EpochMeasured(measurement=measurement):
            return _measured(trial, measurement)
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
        case TrialReopened():  # with all its attempts allowed anew
            return replace(trial, state=TrialState.WAITING, uncounted=trial.attempt)
        case CheckpointDropped():
            return replace(trial, checkpoint=None)
        case TrialQueued():
            return replace(trial, state=TrialState.WAITING)


def _measured(trial: Trial, measurement: Measurement) -> Trial:
    value = measurement.objective
    if measurement.checkpoint is not None:
        trial = replace(trial, checkpoint=measurement.checkpoint)
    if value is not None and (trial.value is None or value < trial.value):
        trial = replace(trial, value=value, best_epoch=measurement.epoch)
    return trial
