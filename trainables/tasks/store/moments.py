"""Means and standard deviations over the samples of a split, in one pass each and bounded memory.

Sums are of float64 and taken sample by sample, so that no bit depends on how rows are blocked.

Shapes: n = samples, c = channels.
"""

from collections.abc import Callable

import numpy as np

from trainables.tasks.store.row_blocks import row_blocks

__all__ = ["channel_statistics", "mean_and_std", "mean_of"]


def mean_of(
    rows: np.ndarray, of: Callable[[np.ndarray], np.ndarray] = lambda row: row
) -> np.ndarray:
    """Returns the mean over samples of `of(sample)`, for samples [n, ...] that may be mapped."""
    total = np.zeros_like(of(rows[0]), dtype=np.float64)
    for block in row_blocks(rows):
        for row in block:
            total += of(row)
    mean: np.ndarray = total / len(rows)
    return mean


def mean_and_std(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns both for each point of a sample [n, ...]."""
    mean = mean_of(rows)
    return mean, np.sqrt(mean_of(rows, lambda row: np.square(row - mean)))


def channel_statistics(rows: np.ndarray) -> dict[str, list[float]]:
    """Returns mean, standard deviation and bounds of each channel of samples [n, c, *grid]."""

    def average(values: np.ndarray) -> np.ndarray:
        mean: np.ndarray = values.reshape(len(values), -1).mean(axis=1, dtype=np.float64)
        return mean

    mean = mean_of(rows, average)
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
