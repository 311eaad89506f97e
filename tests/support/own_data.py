"""Task files of users in miniature, and what reading their data gives."""

from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from trainables.tasks.benchmark import ImportedSplits
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.own.reading import OwnReader
from trainables.tasks.store.split import SPLITS


def define(kind: str = "classification", **sections: Any) -> TaskDefinition:
    """Return the definition of a task; by default with `x` [n, l] and `y` of data.npz."""
    content: dict[str, Any] = {
        "name": "mine/task",
        "kind": kind,
        "input": {"path": "data.npz", "key": "x"},
        "target": {"key": "y"},
    }
    content |= sections
    content["input"] = {"layout": "NL"} | content["input"]
    return TaskDefinition.model_validate(content)


def read(folder: Path, definition: TaskDefinition) -> ImportedSplits:
    """Return what reading the data in `folder` gives; scratch files lie beside them."""
    scratch = mkdtemp(prefix=".scratch-", dir=folder)
    return OwnReader(definition).read([folder], Path(scratch))


def in_order(imported: ImportedSplits, column: str) -> np.ndarray:
    """Return `x` or `y` of all splits in the order of the files."""
    rows = np.concatenate([imported.splits[split].sample_id for split in SPLITS])
    values = np.concatenate([getattr(imported.splits[split], column) for split in SPLITS])
    ordered: np.ndarray = values[np.argsort(rows)]
    return ordered


def labels(count: int, classes: int = 3) -> np.ndarray:
    return np.arange(count) % classes
