"""Helpers for tests of one stage: other data, weights before and after, interrupted runs."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.report import Report
from trainables.runtime import checkpoints
from trainables.sources.source import Domains
from trainables.stages.stage import Stage, StageConfig
from trainables.tasks.store.split import Split
from trainables.training.state import TrainState


def weights(state: TrainState) -> dict[str, Tensor]:
    """Return a copy of the weights by name."""
    return {name: w.detach().clone() for name, w in state.model.state_dict().items()}


def changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    """Return the parts of the model with a weight that is not bitwise the same."""
    return {n.partition(".")[0] for n, w in before.items() if not torch.equal(w, after[n])}


def of_stage(
    config: type[StageConfig], name: str, **small: Any
) -> tuple[Callable[..., Stage[Any]], Callable[..., list[Report]]]:
    """Return a function that makes a stage, and one that runs it on a state and domains.

    Each takes settings of the stage besides; `small` are those that a test does not change.
    """

    def stage(**settings: Any) -> Stage[Any]:
        return config.model_validate({**small, **settings}).build(name)

    def train(state: TrainState, domains: Domains, **settings: Any) -> list[Report]:
        return list(stage(**settings).run(state, domains))

    return stage, train


def trained_on(
    domains: Domains, *, x: np.ndarray | None = None, y: np.ndarray | None = None, **facts: Any
) -> Domains:
    """Return domains with other training samples of the target: as many inputs as outputs.

    `facts` are fields of its `TaskInfo` that change.
    """
    task = domains.target
    y = task.train.y if y is None else np.asarray(y)
    x = task.train.x[: len(y)] if x is None else x
    content = str(hash((x.tobytes(), y.tobytes(), *facts.values())))
    split, info = Split(x=x, y=y), replace(task.info, **facts)
    return replace(domains, target=replace(task, info=info, train=split, content_hash=content))


def classified(domains: Domains, labels: Any, *, x: np.ndarray | None = None) -> Domains:
    """Return domains whose target is a classification with these labels."""
    return trained_on(domains, x=x, y=labels, kind="classification", loss="cross_entropy")


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
