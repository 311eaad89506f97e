"""Results of a worker: one `Report` per epoch and one `StepResult` per step.

The service and the worker share these types. Ray carries them as plain data, and the ledger keeps
every `Measurement`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class Report:
    """The measurements of one epoch of one stage.

    `metrics` have the names under which MLflow records them: `meta/outer_loss`,
    `refine/train_loss`, `val/nrmse`, `test/nrmse`.

    `objective` is the validation value; lower is better. It is None in a stage whose losses are
    not comparable between trials. A report without an objective never prunes a trial.
    """

    stage: str
    epoch: int  # completed epochs of this stage, from 1
    num_epochs: int  # total epochs of this stage
    metrics: Mapping[str, float] = field(default_factory=dict)
    objective: float | None = None
    is_final: bool = False  # the trial's last report
    computed_by: str | None = None  # "SWEEP/STUDY/NUMBER" of the trial whose result is reused


@dataclass(frozen=True, kw_only=True)
class Measurement(Report):
    """A report, and what the worker measured beside it."""

    checkpoint: str | None = None  # newest complete one, in the ledger by name; None: named before
    seconds: float = 0.0  # since the attempt began
    peak_memory_bytes: int | None = None  # since then; of the GPU, or of the process without one
    precision: str | None = None  # in which the trial computes: fp32, tf32 or bf16
    parameters: int | None = None  # numbers of the model, frozen ones included


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An epoch that was trained, or reused from another trial."""

    measurement: Measurement  # its checkpoint is a folder or URL
    notes: tuple[str, ...] = ()  # remarks for the user, such as a damaged checkpoint

    @property
    def is_last(self) -> bool:
        """True if the attempt ends with this result."""
        return self.measurement.is_final


@dataclass(frozen=True, kw_only=True)
class Failed:
    """An error that ended the attempt."""

    is_last: ClassVar[bool] = True
    traceback: str
    reason: str  # in one line
    error: str  # name of the error's class
    infeasible: bool = False  # True if the settings of the trial are impossible
    stage: str | None = None  # the stage that failed; None before the first stage
    epoch: int | None = None
    checkpoint: str | None = None  # folder or URL, as of `Measured`
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """No measurement, because another trial is computing the stage."""

    is_last: ClassVar[bool] = False
    stage: str
    notes: tuple[str, ...] = ()


StepResult = Measured | Failed | Waiting
KINDS: Mapping[str, type[StepResult]] = {
    each.__name__.lower(): each for each in (Measured, Failed, Waiting)
}


def to_plain(result: StepResult) -> dict[str, Any]:
    """Return a result as plain data for Ray Tune, with `done` set if the attempt ends."""
    kind = type(result).__name__.lower()
    notes = list(result.notes)
    return {"kind": kind, **asdict(result), "notes": notes, "done": result.is_last}


def from_plain(plain: Mapping[str, Any]) -> StepResult:
    """Return the result that `to_plain` wrote, without the keys that Ray Tune added."""
    kind = KINDS[plain["kind"]]
    values = {each.name: plain[each.name] for each in fields(kind)}
    values["notes"] = tuple(plain["notes"])
    if kind is Measured:
        values["measurement"] = Measurement(**plain["measurement"])
    return kind(**values)
