"""Mean and deviation of each channel over the training samples, in one pass and bounded memory.

Missing and padded points are left out. The parts are merged by the formula of Chan, Golub and
LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979:

    mean = mean_a + d n_b / n,    M2 = M2_a + M2_b + d^2 n_a n_b / n,    d = mean_b - mean_a

Shapes: m = samples of a block, c = channels, l = points of a channel.
"""

import numpy as np


class ChannelStatistics:
    """Running statistics of c channels."""

    def __init__(self, channels: int) -> None:
        self._count = np.zeros(channels)
        self._mean = np.zeros(channels)
        self._squares = np.zeros(channels)  # M2: sum of squared distances from the mean

    def add(self, values: np.ndarray, known: np.ndarray | None = None) -> None:
        """Add samples.

        Args:
            values: [m, c, *grid].
            known: False for points to leave out, in a shape that broadcasts to that of `values`.
        """
        if not len(values):
            return
        # Single precision is exact enough within a channel of a sample, but not over samples.
        flat = values.reshape(*values.shape[:2], -1).astype(np.float32, copy=False)
        if known is None:
            count = np.full(flat.shape[1], flat.size / flat.shape[1])
        else:
            known = np.broadcast_to(known, values.shape).reshape(flat.shape)
            count = known.sum(axis=(0, 2), dtype=np.float64)
            flat = np.where(known, flat, 0)
        mean = flat.sum(axis=2).sum(axis=0, dtype=np.float64) / np.maximum(count, 1)
        # Squares of centred values are exact enough in single precision. `rest` corrects the
        # rounded mean.
        centre = mean.astype(np.float32)
        centred = flat - centre[:, None]
        if known is not None:
            centred[~known] = 0
        rest = centred.sum(axis=2).sum(axis=0, dtype=np.float64)  # of the rounded sums
        mean = centre + rest / np.maximum(count, 1)
        squares = np.einsum("mcl,mcl->mc", centred, centred).sum(axis=0, dtype=np.float64)
        squares -= np.square(rest) / np.maximum(count, 1)
        both = np.maximum(self._count + count, 1)
        distance = np.where(count > 0, mean - self._mean, 0)
        self._mean += distance * count / both
        self._squares += squares + np.square(distance) * self._count * count / both
        self._count += count

    @property
    def mean(self) -> np.ndarray:
        """The mean of each channel, float64 [c]."""
        return self._mean.copy()

    @property
    def std(self) -> np.ndarray:
        """The standard deviation of each channel, float64 [c]."""
        # Of tiny values rounding may leave less than 0.
        squares = np.maximum(self._squares, 0)
        deviation: np.ndarray = np.sqrt(squares / np.maximum(self._count, 1))
        return deviation
