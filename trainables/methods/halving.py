"""Halving of micro-batches after memory ran out: where it is possible, and what it breaks.

Loads no torch.
"""

from collections.abc import Mapping
from typing import Any

from trainables.methods.registry import METHODS
from trainables.spec import TrialSpec
from trainables.stages.micro_batch import largest_part

__all__ = ["broken_by_halving", "can_halve"]


def can_halve(method: str, stage: str, settings: Mapping[str, Any], *, halvings: int = 0) -> bool:
    """Says whether one more than `halvings` would make the stage compute fewer samples at once.

    Args:
        settings: The stage's, as in `TrialSpec.stages`.
    """
    config = METHODS[method].stages[stage].model_validate(settings)
    return config.micro_batch is not None and largest_part(config.micro_batch, halvings) > 1


def broken_by_halving(spec: TrialSpec) -> list[str]:
    """Returns what is not as it would be had the trial's micro-batches not been halved."""
    rate = spec.model.drop_path
    if not spec.halvings or not rate:
        return []
    return [
        f"micro-batches are computed in {1 << spec.halvings} parts, and model.drop_path is "
        f"{rate:g}: other samples skip attention than in one part, so that the trial is as likely "
        "as without halvings, but not the same"
    ]
