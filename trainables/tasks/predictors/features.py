"""Inputs and outputs as numbers, for predictors that learn.

x are the inputs, in each direction at every k-th point, so that there are not too many numbers; y
are all outputs. Each channel is scaled to one deviation. Classes and labels are learned as numbers
0 and 1, and unknown points of an output as the mean of the known ones. At most `MAX_SAMPLES`
training samples are used: the first ones, which are a random subset.

Shapes: n = samples, d = numbers of an input, m = numbers of an output.
"""

from collections.abc import Callable

import numpy as np

from trainables.tasks.predictors.predictor import CannotApply
from trainables.tasks.store.split import Rows, Split
from trainables.tasks.task import TaskInfo

MAX_SAMPLES = 2000  # of the training split
MAX_WEIGHTS = 2**26  # half a GiB in double precision
CHUNK = 256  # samples to read at once


class Features:
    """Numbers [n, d] of inputs: some of their points, centred and scaled by training inputs.

    Args:
        rows: Training inputs [n, c, *grid].
        most: Maximal d, as far as one point in each direction allows.
    """

    def __init__(self, rows: Rows, most: int) -> None:
        channels, *grid = rows.shape[1:]
        self.stride = 1
        while channels * np.prod([-(-side // self.stride) for side in grid]) > most and (
            self.stride < max(grid)
        ):
            self.stride += 1
        # `read` scales what it reads: by 0 and 1 until the statistics are known.
        self.mean, self.scale = np.zeros(1, np.float32), np.ones(1, np.float32)
        x = self.read(rows, min(len(rows), MAX_SAMPLES))
        self.mean = x.mean(axis=0)  # type: ignore[assignment, unused-ignore]  # by NumPy 2.5
        by_channel = (x - self.mean).reshape(len(x), channels, -1).std(axis=(0, 2))
        points = x.shape[1] // channels
        self.scale = np.repeat(np.where(by_channel > 0, by_channel, 1.0), points)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the features [n, d] of inputs [n, c, *grid]."""
        every = slice(None, None, self.stride)
        cut = (slice(None), slice(None), *(every for _ in x.shape[2:]))
        points = np.asarray(x, np.float32)[cut].reshape(len(x), -1)
        scaled: np.ndarray = (points - self.mean) / self.scale
        return scaled

    def read(self, rows: Rows, samples: int) -> np.ndarray:
        """Return the features [n, d] of the first samples, which are read in blocks."""
        blocks = np.split(np.arange(samples), range(CHUNK, samples, CHUNK))
        return np.concatenate([self(rows[block]) for block in blocks])


def numbers_of(
    train: Split, info: TaskInfo, most: int, *, is_dual: bool
) -> tuple[Features, np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Return the features, x [n, d], y [n, m] and the function from predicted y to predictions.

    Args:
        train: The training split.
        info: The facts about the task.
        most: Maximal d.
        is_dual: The predictor has n x m weights; otherwise min(n, d) x m.

    Raises:
        CannotApply: The weights do not fit in memory.
    """
    samples = min(len(train), MAX_SAMPLES)
    features = Features(train.x, most)
    y, finish = targets(info, train.y[:samples])
    rank = samples if is_dual else min(samples, len(features.scale))
    if rank * y.shape[1] > MAX_WEIGHTS:
        raise CannotApply(
            f"its {rank} x {y.shape[1]} weights would take {rank * y.shape[1] / 2**27:.1f} GiB of "
            f"memory, above {MAX_WEIGHTS / 2**27:g}. A lower `data.resolution` or `data.samples` "
            "helps."
        )
    return features, features.read(train.x, samples), y, finish


def targets(info: TaskInfo, y: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Return outputs as numbers [n, m], and the function from predicted ones to predictions."""
    if info.kind == "classification":
        labels = np.eye(info.channels[1], dtype=np.float32)[y]
        return labels, lambda values: values
    if info.kind == "multilabel":
        return np.asarray(y, np.float32), lambda values: values - 0.5  # a logit of 0 is one half
    y = np.asarray(y, np.float32)
    if info.mask is not None:
        y, known = y[:, :-1], (y[:, -1:] > 0) == (info.mask == "known")
        mean = (y * known).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        y = np.where(known, y, mean)
    # Predicted 0 and 1 become logits around 0.
    shape, lift = y.shape[1:], 0.5 if info.loss == "masked_bce" else 0.0
    return y.reshape(len(y), -1), lambda values: values.reshape(len(values), *shape) - lift
