"""Whether a stage that ran out of memory has micro-batches that can be cut; loads no torch."""

from collections.abc import Mapping
from typing import Any

from trainables.methods.registry import METHODS
from trainables.stages.micro_batch import largest_part

__all__ = ["can_halve"]


def can_halve(method: str, stage: str, settings: Mapping[str, Any], *, halvings: int = 0) -> bool:
    """Says whether one more than `halvings` would make the stage compute fewer samples at once.

    Args:
        settings: The stage's, as in `TrialSpec.stages`.
    """
    config = METHODS[method].stages[stage].model_validate(settings)
    return config.micro_batch is not None and largest_part(config.micro_batch, halvings) > 1
