"""Own tasks for tests: their files, and benchmarks whose reader makes arrays of its own."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from trainables.tasks import registry
from trainables.tasks.benchmark import ImportedSplits
from trainables.tasks.own.benchmark import OwnBenchmark, own_benchmark
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.store.split import SplitData

SIZES = {"train": 24, "val": 6, "test": 8}


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


class ArrayReader:
    """Reader that makes a class's images from its number: 0 dark, 1 bright."""

    def __init__(self, classes: Sequence[str] = ("bad", "good"), seed: int = 0) -> None:
        self.classes, self.seed = classes, seed

    def find(self, files: Sequence[Path], *, seed: int = 0) -> Mapping[str, Path]:
        return {"wafer.npz": files[0] / "wafer.npz"}

    def read(self, files: Sequence[Path], scratch: Path, *, seed: int = 0) -> ImportedSplits:
        rng, start, splits = np.random.default_rng(self.seed), 0, {}
        for split, size in SIZES.items():
            y = rng.integers(0, len(self.classes), size)
            y[:2] = (0, 1)
            x = rng.normal(size=(size, 1, 8, 6)) + y[:, None, None, None]
            splits[split] = SplitData(
                sample_id=np.arange(start, start + size), x=x.astype(np.float32), y=y
            )
            start += size
        return ImportedSplits(splits=splits, description={"classes": list(self.classes)})


def with_arrays(
    task: TaskDefinition, home: Path, folder: Path, reader: ArrayReader | None = None
) -> OwnBenchmark:
    """Return the benchmark of a task whose file is in `folder`, with a reader of arrays."""
    file = folder / f"{task.name.replace('/', '_')}.task.yaml"
    made = reader or ArrayReader()
    return own_benchmark([task], home, {task.name: file}, make_reader=lambda definition: made)
