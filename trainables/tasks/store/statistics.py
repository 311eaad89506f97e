"""Means and standard deviations over the samples of a split, and standardisation by them.

Each statistic takes one pass in bounded memory. Sums are in float64 and sample by sample, so that
no bit depends on the size of the blocks. Standardisation uses the statistics of the training
samples at each point:

    (value - shift) / scale,    shift = mean,    scale = std + 1e-5

Shapes: n = samples, c = channels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainables.tasks.store.arrays import row_blocks

__all__ = ["BOTH", "Standardiser", "channel_statistics", "mean_and_std", "mean_of"]


def mean_of(
    rows: np.ndarray, of: Callable[[np.ndarray], np.ndarray] = lambda row: row
) -> np.ndarray:
    """Return the mean of `of(sample)` over samples [n, ...], which may be mapped."""
    total = np.zeros_like(of(rows[0]), dtype=np.float64)
    for block in row_blocks(rows):
        for row in block:
            total += of(row)
    mean: np.ndarray = total / len(rows)
    return mean


def mean_and_std(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean [...] and standard deviation [...] at each point of samples [n, ...]."""
    # Two passes: in one, the difference of two large sums would lose the digits of a small
    # deviation.
    mean = mean_of(rows)
    return mean, np.sqrt(mean_of(rows, lambda row: np.square(row - mean)))


def channel_statistics(rows: np.ndarray) -> dict[str, list[float]]:
    """Return mean, standard deviation and bounds of each channel of samples [n, c, *grid]."""

    def average(values: np.ndarray) -> np.ndarray:
        mean: np.ndarray = values.reshape(len(values), -1).mean(axis=1, dtype=np.float64)
        return mean

    mean = mean_of(rows, average)
    # [c, 1, ...] broadcasts over a sample [c, *grid].
    centre = mean.reshape(-1, *(1,) * (rows.ndim - 2))
    variance = mean_of(rows, lambda row: average(np.square(row - centre)))
    axes = (0, *range(2, rows.ndim))
    bounds = [(block.min(axis=axes), block.max(axis=axes)) for block in row_blocks(rows)]
    low, high = (np.stack(side) for side in zip(*bounds, strict=True))
    return {
        "mean": mean.tolist(),
        "std": np.sqrt(variance).tolist(),
        "min": low.min(axis=0).tolist(),
        "max": high.max(axis=0).tolist(),
    }


STD_OFFSET = 1e-5  # keeps constant points finite
BOTH = "(value - mean) / scale at each point, by the training inputs, of x and of y"


@dataclass(frozen=True, eq=False)
class Standardiser:
    """A shift and a scale of equal shape, for a sample or for some of its channels."""

    shift: np.ndarray  # float32
    scale: np.ndarray  # float32

    @classmethod
    def of(cls, mean: np.ndarray, std: np.ndarray) -> "Standardiser":
        """Return the standardiser of statistics in float64."""
        return cls(mean.astype(np.float32), (std + STD_OFFSET).astype(np.float32))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return standardised float32 rows [n, ...]."""
        standardised: np.ndarray = (rows - self.shift) / self.scale
        return standardised

    def undo(self, rows: np.ndarray) -> np.ndarray:
        """Return rows [n, ...] in their own unit from standardised ones."""
        values: np.ndarray = rows * self.scale + self.shift
        return values

    @property
    def rule(self) -> dict[str, Any]:
        """The entry of a manifest for equal standardisation of inputs and outputs."""
        return {
            "kind": BOTH,
            "mean": self.shift.tolist(),
            "scale": self.scale.tolist(),
        }
