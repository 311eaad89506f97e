"""Registry of the methods by their names in sweep files, and rules for halving their micro-batches.

The methods are entry points of the group `sweeper.methods` (`trainables/plugins.py`). This module
does not import torch.
"""

from collections.abc import Mapping
from typing import Any

from trainables.methods.method import Method
from trainables.plugins import Registry
from trainables.spec import TrialSpec
from trainables.stages.stage import StageConfig
from trainables.training.micro_batches import largest_part, share_of

METHODS: Registry[Method] = Registry(
    "sweeper.methods",
    (
        "orca",
        "pare",
        "mona",
        "contrastive_pare",
        "recraft",
        "l2g",
        "nft",
        "fpt",
        "lora",
        "mixup",
        "cutmix",
        "fno",
        "unet",
        "perceiver_io",
        "dash",
        "scratch",
        "pinn",
    ),
    lambda value: isinstance(value, Method),
    lambda method: (
        (f"`implementation` of its stage `{stage}`", getattr(config, "implementation", ""))
        for stage, config in method.stages.items()
    ),
)


def can_halve(
    method: str, stage: str, settings: Mapping[str, Any], *, halvings: int = 0, processes: int = 1
) -> bool:
    """Return whether one more halving would reduce the samples that the stage computes at once.

    Args:
        method: Name of a method in `METHODS`.
        stage: Name of one of its stages.
        settings: The stage's settings, as in `TrialSpec.stages`.
        halvings: Halvings of the micro-batch so far.
        processes: Processes of the trial, which divide the micro-batches of some stages.
    """
    config = METHODS[method].stages[stage].model_validate(settings)
    if config.micro_batch is None:
        return False
    # The first process has the largest share, which decides whether a part can become smaller.
    share = share_of(config.micro_batch, 0, processes if config.divides_batches else 1)
    return largest_part(share.stop, halvings) > 1


def broken_by_halving(spec: TrialSpec, configs: Mapping[str, StageConfig]) -> list[str]:
    """Return how a trial differs from the same one without halvings, in sentences; [] if equal.

    Args:
        spec: The trial.
        configs: The configs of its stages.
    """
    rate, found = spec.model.drop_path, []
    if not spec.halvings:
        return []
    parts = f"micro-batches are computed in {1 << spec.halvings} parts, and"
    if rate:
        found.append(
            f"{parts} model.drop_path is {rate:g}: other samples skip attention than in one part, "
            "so that the trial is as likely as without halvings, but not the same"
        )
    found += [
        f"{parts} {stage}.norm is batch: it has the statistics of the parts, so that the trial "
        "differs from one without halvings"
        for stage, config in configs.items()
        if config.reads_batches
    ]
    return found
