"""Helpers for tests of one stage: weights before and after, and a run that is interrupted."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainables.report import Report
from trainables.runtime import checkpoints
from trainables.sources.source import Domains
from trainables.stages.stage import Stage
from trainables.training.state import TrainState


def weights(state: TrainState) -> dict[str, Tensor]:
    """Return a copy of the weights by name."""
    return {name: w.detach().clone() for name, w in state.model.state_dict().items()}


def changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    """Return the parts of the model with a weight that is not bitwise the same."""
    return {n.partition(".")[0] for n, w in before.items() if not torch.equal(w, after[n])}


def run_interrupted(
    make_stage: Callable[[], Stage[Any]],
    domains: Domains,
    stopped: TrainState,
    resumed: TrainState,
    *,
    stop: int,
    folder: Path,
) -> list[Report]:
    """Run a stage for `stop` epochs on one state, and the rest on another that loads it.

    Args:
        make_stage: Makes the stage anew for each of the two runs: it may keep nothing itself.
        resumed: The state that goes on. Its weights are zeroed first, so that only the checkpoint
            can bring them back.
        folder: Where the checkpoint is saved.

    Returns:
        The reports of all epochs.
    """
    reports = make_stage().run(stopped, domains)
    first = [next(reports) for _ in range(stop)]
    checkpoints.save(stopped, folder / "checkpoint")
    with torch.no_grad():
        for parameter in resumed.model.parameters():
            parameter.zero_()
    checkpoints.load(resumed, folder / "checkpoint")
    return first + list(make_stage().run(resumed, domains))
