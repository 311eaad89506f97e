"""What training data say of a target before anything is learnt: its units, and which of its
classes are alike.

The prototype of a class is the mean of its samples, in units in which each channel has mean 0 and
variance 1 over the training set: of their inputs where samples have a class, else of their outputs
(fields, or sets of labels), of which `pseudo_labels` makes the classes. Classes are as alike as
their prototypes are correlated (Pearson's coefficient over all numbers of these).

Shapes: n = samples; k = classes; c = channels; d = numbers of a prototype.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from trainables.methods.contrastive_pare.noise import Units
from trainables.tasks.store.split import Rows
from trainables.tasks.task import Task
from trainables.training.pseudo_labels import target_labels

__all__ = [
    "channel_units",
    "class_correlations",
    "class_means",
    "correlations",
    "input_units",
]

CHUNK = 2**22  # numbers read at once
SMALLEST_SPREAD = 1e-6  # as a share of the mean; what is below it is rounding, and counts as 0


_units: dict[tuple[str, int], Units] = {}  # both of this process
_correlations: dict[tuple[str, int, int], Float64[Tensor, "k k"]] = {}


def input_units(task: Task) -> Units:
    """Returns the units of the task's inputs; they are read once a process."""
    key = (task.content_hash, len(task.train))
    if key not in _units:
        _units[key] = channel_units(task.train.x)
    return _units[key]


def class_correlations(task: Task, clusters: int) -> Float64[Tensor, "k k"]:
    """Returns the correlations of the classes of `target_labels`; found once a process."""
    key = (task.content_hash, len(task.train), clusters)
    if key not in _correlations:
        labels = target_labels(task, clusters)
        if task.info.kind == "classification":
            rows, units = task.train.x, input_units(task)
        else:
            rows, units = task.train.y, channel_units(task.train.y)
        spread = torch.where(units.std > 0, units.std, 1.0)
        prototypes = (class_means(rows, labels) - units.mean) / spread
        _correlations[key] = correlations(prototypes.flatten(1))
    return _correlations[key]


def channel_units(rows: Rows) -> Units:
    """Returns the units of samples [n, c, ...], a number [c, 1, ...] each channel."""
    axes = [axis for axis in range(len(rows.shape)) if axis != 1]
    sums = squares = torch.zeros(())
    for chunk in _chunks(rows):
        sums = sums + chunk.sum(axes)
        squares = squares + chunk.square().sum(axes)
    count = int(np.prod([rows.shape[axis] for axis in axes]))
    mean = sums / count
    std = (squares / count - mean.square()).clamp_min(0).sqrt()
    std = torch.where(std > SMALLEST_SPREAD * mean.abs(), std, 0.0)
    shape = (-1, *[1] * (len(rows.shape) - 2))
    return Units(mean.view(shape), std.view(shape))


def class_means(rows: Rows, labels: Int64[np.ndarray, " n"]) -> Float64[Tensor, "k ..."]:
    """Returns the mean of each class's samples; each of the classes 0, 1, ... has some."""
    of = torch.from_numpy(labels)
    counts = torch.bincount(of)
    sums = torch.zeros(len(counts), *rows.shape[1:], dtype=torch.float64)
    start = 0
    for chunk in _chunks(rows):
        sums.index_add_(0, of[start : start + len(chunk)], chunk)
        start += len(chunk)
    return sums / counts.view(-1, *[1] * (sums.dim() - 1))


def correlations(prototypes: Float64[Tensor, "k d"]) -> Float64[Tensor, "k k"]:
    """Returns Pearson's coefficients of rows; 0 where one of the two is constant."""
    centred = prototypes - prototypes.mean(1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True)
    constant = norms <= SMALLEST_SPREAD * prototypes.norm(dim=1, keepdim=True)
    unit = torch.where(constant, 0.0, centred / torch.where(constant, 1.0, norms))
    return (unit @ unit.T).clamp(-1, 1)


def _chunks(rows: Rows) -> Iterator[Tensor]:
    """Reads all rows in their order, in double precision."""
    size = max(1, CHUNK // max(1, int(np.prod(rows.shape[1:]))))
    for start in range(0, len(rows), size):
        yield torch.from_numpy(rows[np.arange(start, min(start + size, len(rows)))]).double()
