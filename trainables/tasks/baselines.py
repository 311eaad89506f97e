"""Scores of trivial predictors, which learn nothing from the input. A method should beat them.

mean      the mean of the training outputs at each point (for binary points, its log-odds)
median    the median of each training output of a regression, if the metric is the absolute error
identity  the input, if it has the shape of the output
majority  the most frequent class
prior     the frequency of each label
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from trainables.metrics import METRICS, mean_of_groups
from trainables.tasks.store.arrays import release
from trainables.tasks.store.split import Rows, Split
from trainables.tasks.store.statistics import mean_of
from trainables.tasks.task import TaskInfo

__all__ = ["Predictor", "score", "trivial_baselines"]

BATCH, BATCH_BYTES = 256, 2**26  # maximal size of a block of outputs

Predictor = Callable[[Rows, np.ndarray], np.ndarray]  # of the inputs in these rows


def trivial_baselines(info: TaskInfo, train_y: np.ndarray, test: Split) -> dict[str, float]:
    """Return the test metric of each trivial predictor of a task, by its name.

    Args:
        train_y: Training outputs [n, ...], with a mask channel if the task has one.
        test: Test split, with inputs in the form that a network takes.
    """
    predictors = {
        "dense": _fields,
        "classification": _majority,
        "multilabel": _prior,
        "regression": _vectors,
    }[info.kind]
    return {
        name: score(info.metric, predict, test)
        for name, predict in predictors(info, train_y, test).items()
    }


def score(metric: str, predict: Predictor, test: Split) -> float:
    """Return a metric of a predictor on a split, whose outputs are read in blocks."""
    total = METRICS[metric]()
    parts: list[tuple[Tensor, Tensor]] = []
    for rows in _batches(test.y):
        parts.append((torch.tensor(predict(test.x, rows)), torch.tensor(test.y[rows])))
        if isinstance(test.x, np.ndarray):
            release(test.x)
        if test.groups is None:
            total.update(*parts.pop())
    if test.groups is not None:
        groups = torch.tensor(test.groups)
        total.update(*(mean_of_groups(torch.cat(p), groups) for p in zip(*parts, strict=True)))
    return total.compute()


def _fields(info: TaskInfo, train_y: np.ndarray, test: Split) -> dict[str, Predictor]:
    shape = (info.channels[1], *test.y.shape[2:])
    predictors = {"mean": _constant(_mean_field(info, train_y).astype(test.y.dtype))}
    if test.x.shape[1:] == shape:
        predictors["identity"] = lambda x, rows: x[rows]
    return predictors


def _mean_field(info: TaskInfo, y: np.ndarray) -> np.ndarray:
    """Return the mean over the samples at each point. If y has a mask, masked values are ignored.

    For binary outputs it is the log-odds of the mean, since predictions are logits.
    """
    if info.mask is None:
        unmasked: np.ndarray = mean_of(y)
        return unmasked
    total, counts = np.zeros((2, info.channels[1], *y.shape[2:]))
    for rows in _batches(y):
        values, weight = y[rows, :-1], (y[rows, -1:] > 0) == (info.mask == "known")
        total += (values * weight).sum(axis=0, dtype=np.float64)
        counts += weight.sum(axis=0)
    mean: np.ndarray
    if info.loss == "masked_bce":
        rate = (total + 0.5) / (counts + 1)  # never 0 or 1
        mean = np.log(rate / (1 - rate))
    else:
        mean = total / np.maximum(counts, 1)
    return mean


def _majority(info: TaskInfo, train_y: np.ndarray, test: Split) -> dict[str, Predictor]:
    del test
    counts = np.bincount(train_y, minlength=info.channels[1])
    return {"majority": _constant(counts.astype(np.float32))}


def _prior(info: TaskInfo, train_y: np.ndarray, test: Split) -> dict[str, Predictor]:
    del info, test
    return {"prior": _constant(train_y.mean(axis=0, dtype=np.float64).astype(np.float32))}


def _vectors(info: TaskInfo, train_y: np.ndarray, test: Split) -> dict[str, Predictor]:
    del test
    mean = train_y.mean(axis=0, dtype=np.float64)
    predictors = {"mean": _constant(mean.astype(np.float32))}
    if info.metric == "mae":  # which the median minimises
        predictors["median"] = _constant(np.median(train_y, axis=0).astype(np.float32))
    return predictors


def _constant(prediction: np.ndarray) -> Predictor:
    return lambda x, rows: np.broadcast_to(prediction, (len(rows), *prediction.shape))


def _batches(y: np.ndarray) -> Iterator[np.ndarray]:
    step = min(BATCH, max(1, BATCH_BYTES // y[:1].nbytes))
    for start in range(0, len(y), step):
        yield np.arange(start, min(start + step, len(y)))
        release(y)
