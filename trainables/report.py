"""Everything that a worker answers: one `Report` an epoch, and one `StepResult` a step.

The service and the worker share these types; between them, Ray carries plain data.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

__all__ = ["Failed", "Measured", "Report", "StepResult", "Waiting", "from_plain", "to_plain"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """The measurements of one epoch of one stage.

    `metrics` are named as they are recorded: `meta/outer_loss`, `refine/train_loss`, `val/nrmse`,
    `test/nrmse`. `objective` is the validation value, lower is better, and None in a stage whose
    losses do not compare between trials: such a report can never prune.
    """

    stage: str
    epoch: int  # epochs of this stage that are done, from 1; 0 of one that waits
    num_epochs: int  # that this stage will take
    metrics: Mapping[str, float] = field(default_factory=dict)
    objective: float | None = None
    is_final: bool = False  # the trial's last report
    computed_by: str | None = None  # the trial whose result of this stage is taken over
    waits: bool = False  # nothing was measured: another trial computes the stage


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An epoch that was trained, or taken over from another trial."""

    kind: Literal["measured"] = "measured"
    report: Report
    checkpoint: str | None  # complete folder or URL; None inside a stage that is taken over
    seconds: float  # since the attempt began
    peak_memory_bytes: int  # since then, of the GPU, or else of the process
    notes: tuple[str, ...] = ()  # for people: a damaged checkpoint, for example

    @property
    def is_last(self) -> bool:
        """True if the attempt ends with it."""
        return self.report.is_final


@dataclass(frozen=True, kw_only=True)
class Failed:
    """An error that ended the attempt."""

    kind: Literal["failed"] = "failed"
    traceback: str
    reason: str  # in one line
    error: str  # name of the error's class
    infeasible: bool = False  # the trial cannot begin because of its settings
    stage: str | None = None  # of the error; None before the first stage
    epoch: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_last(self) -> bool:
        """True if the attempt ends with it."""
        return True


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A stage that another trial is computing: nothing was measured."""

    kind: Literal["waiting"] = "waiting"
    stage: str
    notes: tuple[str, ...] = ()

    @property
    def is_last(self) -> bool:
        """True if the attempt ends with it."""
        return False


StepResult = Measured | Failed | Waiting
KINDS: Mapping[str, type[Measured] | type[Failed] | type[Waiting]] = {
    "measured": Measured,
    "failed": Failed,
    "waiting": Waiting,
}


def to_plain(result: StepResult) -> dict[str, Any]:
    """Return a result as Ray Tune takes it: plain data, and `done` if the attempt ends."""
    return {**asdict(result), "notes": list(result.notes), "done": result.is_last}


def from_plain(plain: Mapping[str, Any]) -> StepResult:
    """Return the result that `to_plain` wrote; keys that Ray Tune added are left out."""
    kind = KINDS[plain["kind"]]
    values = {each.name: plain[each.name] for each in fields(kind)}
    values["notes"] = tuple(plain["notes"])
    if kind is Measured:
        values["report"] = Report(**plain["report"])
    return kind(**values)
