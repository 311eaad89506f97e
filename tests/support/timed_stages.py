"""Stages that benchmarks time beside each other, on random data of a task and of a source."""

import time
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from tests.support.shapes import with_splits
from trainables.models.backbone import Backbone
from trainables.sources.source import Source
from trainables.tasks.registry import TASKS
from trainables.tasks.store.split import Split
from trainables.tasks.task import Task


def random_task(name: str, x: np.ndarray, y: np.ndarray) -> Task:
    """Return a task with these training samples, of which the first also validates and tests."""
    one = Split(x=x[:1], y=y[:1])
    return with_splits(TASKS[name], train=Split(x=x, y=y), val=one, test=one)


def noise_task(name: str, samples: int, shape: tuple[int, ...]) -> Task:
    """Return a task whose inputs and targets are noise of a shape, apart from each other."""
    x, y = np.random.default_rng(0).standard_normal((2, samples, *shape)).astype(np.float32)
    return random_task(name, x, y)


def random_source(backbone: Backbone, inputs: Tensor) -> Source:
    """Return a source of ten classes with these inputs."""
    return Source(
        inputs=inputs, labels=torch.arange(len(inputs)) % 10,
        features=backbone.embed_source(inputs).mean(1), num_classes=10, content_hash="1" * 64,
        embed=backbone.embed_source,
    )  # fmt: skip


def shortest_turns(contestants: Mapping[str, Iterator[object]], rounds: int) -> dict[str, float]:
    """Return the shortest processor time of each in seconds, over rounds in which they take turns.

    One more round comes first, which warms up.
    """
    seconds = dict.fromkeys(contestants, float("inf"))
    for turn in range(rounds + 1):
        for name, steps in contestants.items():
            began = time.process_time()
            next(steps)
            if turn:
                seconds[name] = min(seconds[name], time.process_time() - began)
    return seconds
