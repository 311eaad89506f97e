"""Helpers for tests of one stage: weights before and after, and a run that is interrupted."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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


def check_resumption(
    make_stage: Callable[[], Stage[Any]],
    make_state: Callable[[], TrainState],
    domains: Domains,
    *,
    stop: int,
    folder: Path,
) -> tuple[TrainState, TrainState]:
    """Check that a stage which is stopped and goes on equals one that is not, bit for bit.

    Args:
        make_stage: Makes the stage anew for each run: it may keep nothing itself.
        make_state: Makes the same state each time. The weights of the one that goes on are zeroed
            first, so that only the checkpoint can bring them back.
        stop: The epochs before the stop.
        folder: Where the checkpoint is saved.

    Returns:
        The states after the whole run, and after the one that was stopped.
    """
    whole, stopped, resumed = make_state(), make_state(), make_state()
    expected = list(make_stage().run(whole, domains))
    reports = make_stage().run(stopped, domains)
    first = [next(reports) for _ in range(stop)]
    checkpoints.save(stopped, folder / "checkpoint")
    with torch.no_grad():
        for parameter in resumed.model.parameters():
            parameter.zero_()
    checkpoints.load(resumed, folder / "checkpoint")
    assert first + list(make_stage().run(resumed, domains)) == expected
    assert changed(weights(resumed), weights(whole)) == set()
    return whole, resumed
