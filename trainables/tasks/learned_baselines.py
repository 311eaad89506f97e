"""Scores of the simplest predictors that learn: a linear one, and nearest neighbours.

    ridge  y = B x + b with the least |Y - X B|^2 + s |B|^2
    knn    the mean output of the k nearest training samples

A method that does not beat them has learned nothing that needs a network. x are the inputs, in each
direction at every n-th point, so that there are at most `MOST_FEATURES` numbers; y are all outputs.
Each channel is scaled to one deviation. Classes and labels are learned as numbers 0 and 1, and
unknown points of an output as the mean of the known ones. A linear map of more than `MOST_WEIGHTS`
weights, such as that of whole protein maps, is left out. At most `MOST_SAMPLES` training samples
are used: the first ones, which are a random subset. Strength s and k have the lowest value of the
task's metric on the validation split.

    X^T X = Q L Q^T,    B = Q (L + s)^-1 Q^T X^T (Y - b)

is computed for all s from one decomposition. Nothing is random.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from trainables.errors import DataError
from trainables.storage.tensors import DiskCache
from trainables.tasks.baselines import Predictor, score
from trainables.tasks.store.split import Rows, Split
from trainables.tasks.task import Task, TaskInfo

__all__ = ["learned_baselines"]

NAMES = ("ridge", "knn")
FORMAT = 1  # of what is computed; part of the name of a cached result
MOST_SAMPLES, MOST_FEATURES, MOST_JUDGED = 2000, 1024, 1000  # training, numbers, validation
MOST_WEIGHTS = 2**27  # of a linear map: half a GiB in single precision
CHUNK = 256  # samples that are read at once
STRENGTHS = tuple(10.0**power for power in range(-6, 3))  # by the mean of the eigenvalues
NEIGHBOURS = (1, 2, 4, 8, 16, 32, 64)


def learned_baselines(task: Task, home: Path) -> dict[str, float]:
    """Return the test metric of `ridge` and `knn` on a task, from the cache in `home` if possible.

    A task with fewer than two training samples, or none to choose by, has none. So has a task whose
    metric is not defined on a split, such as an area under a curve without both classes.
    """
    if len(task.train) < 2 or not len(task.val):
        return {}
    folder = home / "cache" / "baselines" / task.content_hash
    found = DiskCache(folder)(
        f"{task.info.metric}-{FORMAT}",
        lambda: {
            name: torch.tensor(value, dtype=torch.float64) for name, value in _scores(task).items()
        },
    )
    return {name: found[name].item() for name in NAMES if name in found}


def _scores(task: Task) -> dict[str, float]:
    info = task.info
    features = _Features(task.train.x)
    x = features(task.train.x, np.arange(min(len(task.train), MOST_SAMPLES)))
    y, finish = _targets(info, task.train.y[: len(x)])
    judged = _head(task.val, MOST_JUDGED)
    found = {}
    for name, candidates in zip(NAMES, (_ridge, _neighbours), strict=True):
        chosen: tuple[float, Predictor] | None = None
        with suppress(DataError):  # of a metric that is not defined on these samples
            for predict in candidates(x, y, features, finish):
                value = score(info.metric, predict, judged)
                if chosen is None or value < chosen[0]:
                    chosen = value, predict
            if chosen is not None:
                found[name] = score(info.metric, chosen[1], task.test)
    return found


def _head(split: Split, samples: int) -> Split:
    """Return the first samples of a split; the whole split if its samples are scored in groups."""
    if split.groups is not None or len(split) <= samples:
        return split
    return Split(x=_Head(split.x, samples), y=split.y[:samples])


class _Head:
    """The first rows of others."""

    def __init__(self, rows: Rows, samples: int) -> None:
        self._rows, self._samples = rows, samples
        self.shape, self.dtype = (samples, *rows.shape[1:]), rows.dtype

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._rows[indices]
        return found


class _Features:
    """Numbers [n, d] of inputs: some of their points, centred and scaled by training inputs."""

    def __init__(self, rows: Rows) -> None:
        channels, *grid = rows.shape[1:]
        self.stride = 1
        while channels * np.prod([-(-side // self.stride) for side in grid]) > MOST_FEATURES and (
            self.stride < max(grid)
        ):
            self.stride += 1
        self.mean, self.scale = np.zeros(1, np.float32), np.ones(1, np.float32)
        x = self._read(rows, np.arange(min(len(rows), MOST_SAMPLES)))
        self.mean = x.mean(axis=0)
        by_channel = (x - self.mean).reshape(len(x), channels, -1).std(axis=(0, 2))
        points = x.shape[1] // channels
        self.scale = np.repeat(np.where(by_channel > 0, by_channel, 1.0), points)

    def __call__(self, rows: Rows, indices: np.ndarray) -> np.ndarray:
        """Return the features [n, d] of these rows."""
        scaled: np.ndarray = (self._read(rows, indices) - self.mean) / self.scale
        return scaled

    def _read(self, rows: Rows, indices: np.ndarray) -> np.ndarray:
        every = slice(None, None, self.stride)
        cut = (slice(None), slice(None), *(every for _ in rows.shape[2:]))
        parts = [
            np.asarray(rows[indices[start : start + CHUNK]], np.float32)[cut]
            for start in range(0, len(indices), CHUNK)
        ]
        return np.concatenate(parts).reshape(len(indices), -1)


def _targets(
    info: TaskInfo, y: np.ndarray
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
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
    shape, lift = y.shape[1:], 0.5 if info.loss == "masked_bce" else 0.0
    return y.reshape(len(y), -1), lambda values: values.reshape(len(values), *shape) - lift


def _ridge(
    x: np.ndarray,
    y: np.ndarray,
    features: _Features,
    finish: Callable[[np.ndarray], np.ndarray],
) -> Iterable[Predictor]:
    """Yield a linear predictor for each strength; none of a map too large for memory."""
    if x.shape[1] * y.shape[1] > MOST_WEIGHTS:
        return
    mean = y.mean(axis=0)
    wide = x.astype(np.float64)
    values, vectors = np.linalg.eigh(wide.T @ wide)
    values = values.clip(min=0)
    turned = vectors.T @ (wide.T @ (y - mean))
    for strength in STRENGTHS:
        weights = 1 / (values + strength * max(values.mean(), 1e-12))
        linear = (vectors @ (weights[:, None] * turned)).astype(np.float32)

        def predict(rows: Rows, at: np.ndarray, linear: np.ndarray = linear) -> np.ndarray:
            return finish(features(rows, at) @ linear + mean).astype(np.float32)

        yield predict


def _neighbours(
    x: np.ndarray,
    y: np.ndarray,
    features: _Features,
    finish: Callable[[np.ndarray], np.ndarray],
) -> Iterable[Predictor]:
    """Yield a predictor for each number of neighbours."""
    squares = (x**2).sum(axis=1)
    for count in NEIGHBOURS:
        if count > len(x):
            return

        def predict(rows: Rows, at: np.ndarray, count: int = count) -> np.ndarray:
            distances = squares - 2 * features(rows, at) @ x.T  # but for a constant of each row
            nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
            total = np.zeros((len(at), y.shape[1]), np.float32)
            for column in nearest.T:
                total += y[column]
            return finish(total / count)

        yield predict
