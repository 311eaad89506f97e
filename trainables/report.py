"""All that ever leaves a stage: one `Report` an epoch."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one epoch of one stage measured.

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
