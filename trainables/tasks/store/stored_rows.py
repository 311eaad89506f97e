"""Inputs that are stored smaller than a network takes them, and converted when they are read.

    x = (stored - mean) / std        with one mean and one std a channel

Only the rows that are asked for are converted: a split of images stays bytes on disk and in the
page cache.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainables.tasks.store.pair_features import PairFeatures
from trainables.tasks.task import Rows

__all__ = ["StoredRows", "present"]


class StoredRows:
    """Rows [n, c, *grid] of float32, of a mapped array of uint8, float16 or float32."""

    dtype = np.dtype(np.float32)

    def __init__(
        self, array: np.ndarray, scaling: Mapping[str, Sequence[float]] | None = None
    ) -> None:
        """Args:
        scaling: `mean` and `std`, a number a channel each; None leaves values as they are.
        """
        self.array = array
        self.shape = array.shape
        scaling = scaling or {}
        self.scaling = {name: _by_channel(v, array) for name, v in scaling.items()}

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, indices: Any) -> np.ndarray:
        rows = np.asarray(self.array[indices], dtype=np.float32)
        if self.scaling:
            rows = (rows - self.scaling["mean"]) / self.scaling["std"]
        return rows


def present(array: np.ndarray, description: Mapping[str, Any]) -> Rows:
    """Returns stored inputs as a network takes them: themselves, if they are float32 as they are.

    `description["pair_features"]` makes them `PairFeatures` of these arguments, and
    `description["input_scaling"]` the rows of that scaling.
    """
    if pairs := description.get("pair_features"):
        return PairFeatures(array, **pairs)
    scaling = description.get("input_scaling")
    if array.dtype == np.float32 and not scaling:
        return array
    return StoredRows(array, scaling)


def _by_channel(numbers: Sequence[float], array: np.ndarray) -> np.ndarray:
    return np.array(numbers, dtype=np.float32).reshape(-1, *(1,) * (array.ndim - 2))
