"""Own tasks for tests: their definitions, and a benchmark with its arrays."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from trainables.tasks import registry
from trainables.tasks.own.benchmark import OwnBenchmark, own_benchmark
from trainables.tasks.own.definition import TaskDefinition

SIZES = {"train": 26, "val": 4, "test": 8}  # by the shares that a definition has by default


@contextmanager
def registry_restored() -> Iterator[None]:
    """Remove the tasks that the block registers, once it ends."""
    before = dict(registry.REGISTERED)
    try:
        yield
    finally:
        registry.REGISTERED.clear()
        registry.REGISTERED.update(before)


def definition(name: str = "mine/wafer", **changes: object) -> TaskDefinition:
    """Return a small task of two classes on images of 1 x 8 x 6 points."""
    plain = {
        "name": name,
        "kind": "classification",
        "input": {"path": "wafer.npz", "key": "x", "layout": "NCHW"},
        "target": {"key": "y"},
    }
    return TaskDefinition.model_validate({**plain, **changes})


def with_arrays(task: TaskDefinition, home: Path, folder: Path) -> OwnBenchmark:
    """Return the benchmark of a task whose file is in `folder`, and write its arrays there."""
    rng, y = np.random.default_rng(0), np.arange(sum(SIZES.values())) % 2
    x = rng.normal(size=(len(y), 1, 8, 6)) + y[:, None, None, None]  # 0 dark, 1 bright
    np.savez(folder / "wafer.npz", x=x, y=np.array(["bad", "good"])[y])
    file = folder / f"{task.name.replace('/', '_')}.task.yaml"
    return own_benchmark([task], home, {task.name: file})
