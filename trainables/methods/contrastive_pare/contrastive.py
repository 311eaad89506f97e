"""Contrastive losses of labelled features, in which some pairs of classes count for more.

    L_Y = -log [ sum_{i != j in Y} s_ij  /  sum_{i in Y, j != i} lambda_ij s_ij ]      exp, affine
    L_Y = -mean_{i != j in Y} log [ s_ij / sum_{l != i} lambda_il s_il ]               supcon_out

with c_ij the cosine of features i and j, s_ij = exp(c_ij / temperature), or (1 + c_ij) / 2 in
`affine`, and lambda_ij = 1 within a class. The loss is the mean of L_Y over classes Y of two
samples or more. It is not negative where no lambda is below 1, and grows in each lambda. The second
form is of Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020 (their L_out), with
weights: it draws each pair of a class together, where the first is content with some.
`align_uniform` is `discriminability` (Wang and Isola, ICML 2020), without temperature and weights.

The ratio is also printed with the cosines themselves in place of s. These have either sign, so the
logarithm has no value for many features. And with i = j: a constant, which only dilutes gradients.

lambda grows as classes are less alike (`class_weights`), which the training data say before
anything is learnt. The prototype of a class is the mean of its samples, in units in which each
channel has mean 0 and variance 1 over the training set: of their inputs where samples have a class,
else of their outputs (fields, or sets of labels), of which `pseudo_labels` makes the classes.
Classes are as alike as their prototypes are correlated (Pearson's coefficient over all numbers of
these).

Shapes: n = samples; d = features, or numbers of a prototype; k = classes; c = channels; "" =
scalar.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Int64
from scipy.optimize import brentq
from torch import Tensor
from torch.nn import functional

from trainables.methods.contrastive_pare.noise import Units
from trainables.tasks.store.split import Rows
from trainables.tasks.task import Task
from trainables.training.discriminability import discriminability
from trainables.training.pseudo_labels import target_labels

__all__ = [
    "Cosines",
    "Form",
    "channel_units",
    "class_correlations",
    "class_means",
    "class_weights",
    "contrastive_loss",
    "correlations",
    "input_units",
    "mean_cosines",
]

Form = Literal["exp", "supcon_out", "align_uniform", "affine"]

SMALLEST_SIMILARITY = 1e-8  # of `affine`, whose logarithm is taken


def contrastive_loss(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    weights: Float[Tensor, "n n"],
    *,
    form: Form = "exp",
    temperature: float = 0.1,
) -> Float[Tensor, ""]:
    """Return the loss of features of any length; 0, with a gradient, if no two share a class.

    Args:
        weights: lambda_ij, positive; 1 where i and j are of one class.

    Raises:
        ValueError: `align_uniform` of fewer than two samples.
    """
    if form == "align_uniform":
        return discriminability(features, labels).loss
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    positive = (labels[:, None] == labels) & ~itself
    anchors = positive.any(1)
    if not anchors.any():
        return 0 * features.sum()
    rows = ... if anchors.all() else anchors
    similarity = _log_similarity(_cosines(features), form, temperature)[rows]
    positive, labels = positive[rows], labels[rows]
    classes = torch.unique(labels)[:, None] == labels  # [k, anchors]
    every = (similarity + weights.log().masked_fill(itself, -torch.inf)[rows]).logsumexp(1)
    if form == "supcon_out":
        terms = every - (positive * similarity).sum(1) / positive.sum(1)
        losses = (classes * terms).sum(1) / classes.sum(1)
    else:
        own = (similarity + _log(positive)).logsumexp(1)
        every, own = (torch.stack([every, own])[:, None] + _log(classes)).logsumexp(2)
        losses = every - own
    loss: Tensor = losses.mean()
    return loss


class Cosines(NamedTuple):
    """Mean cosines of pairs of samples; 0 where there is no such pair."""

    within: Tensor
    between: Tensor


def mean_cosines(features: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Cosines:
    """Return the mean cosine of pairs within classes, and of pairs of different classes."""
    cosines = _cosines(features)
    same = labels[:, None] == labels
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    within, between = (
        (counted * cosines).sum() / counted.sum().clamp_min(1)
        for counted in (same & ~itself, ~same)
    )
    return Cosines(within, between)


def class_weights(
    correlation: Float[Tensor, "k k"], *, mean: float, largest: float, epsilon: float
) -> Float[Tensor, "k k"]:
    """Return lambda of each pair of classes: the larger, the less these are correlated.

        lambda_ij = c / (r_ij + epsilon), cut to [1, largest]        r_ij = (1 + correlation_ij) / 2

    with c such that the mean over pairs of different classes is `mean`; 1 on the diagonal. The
    correlation itself may be 0 or negative, and so would be the weights if they were made of it.

    Raises:
        ValueError: Fewer than two classes, or not 1 <= mean <= largest.
    """
    if len(correlation) < 2 or not 1 <= mean <= largest:
        raise ValueError(
            f"Two classes or more, and 1 <= mean <= largest, must hold, but got "
            f"{len(correlation)=}, {mean=}, {largest=}."
        )
    softened = (1 + correlation.double()) / 2 + epsilon
    apart = ~torch.eye(len(correlation), dtype=torch.bool, device=correlation.device)
    pairs = softened[apart]

    def excess(c: float) -> float:
        return ((c / pairs).clamp(1, largest) - mean).mean().item()

    c = brentq(excess, pairs.min().item(), 2 * largest * pairs.max().item())
    weights = torch.where(apart, (c / softened).clamp(1, largest), 1.0)
    return weights.to(correlation.dtype)


def _cosines(features: Tensor) -> Tensor:
    z = functional.normalize(features, dim=1)
    return z @ z.T


def _log_similarity(cosines: Tensor, form: Form, temperature: float) -> Tensor:
    if form == "affine":
        return ((1 + cosines).clamp_min(0) / 2 + SMALLEST_SIMILARITY).log()
    return cosines / temperature


def _log(counted: Tensor) -> Tensor:
    """Return 0 for what is counted in a sum of exponentials, and -inf for what is not."""
    return torch.where(counted, 0.0, -torch.inf)


CHUNK = 2**22  # numbers read at once
SMALLEST_SPREAD = 1e-6  # as a share of the mean; what is below it is rounding, and counts as 0


_units: dict[tuple[str, int], Units] = {}  # both of this process
_correlations: dict[tuple[str, int, int], Float64[Tensor, "k k"]] = {}


def input_units(task: Task) -> Units:
    """Return the units of the task's inputs; they are read once a process."""
    key = (task.content_hash, len(task.train))
    if key not in _units:
        _units[key] = channel_units(task.train.x)
    return _units[key]


def class_correlations(task: Task, clusters: int) -> Float64[Tensor, "k k"]:
    """Return the correlations of the classes of `target_labels`; found once a process."""
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
    """Return the units of samples [n, c, ...], a number [c, 1, ...] each channel."""
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
    """Return the mean of each class's samples; each of the classes 0, 1, ... has some."""
    of = torch.from_numpy(labels)
    counts = torch.bincount(of)
    sums = torch.zeros(len(counts), *rows.shape[1:], dtype=torch.float64)
    start = 0
    for chunk in _chunks(rows):
        sums.index_add_(0, of[start : start + len(chunk)], chunk)
        start += len(chunk)
    return sums / counts.view(-1, *[1] * (sums.dim() - 1))


def correlations(prototypes: Float64[Tensor, "k d"]) -> Float64[Tensor, "k k"]:
    """Return Pearson's coefficients of rows; 0 where one of the two is constant."""
    centred = prototypes - prototypes.mean(1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True)
    constant = norms <= SMALLEST_SPREAD * prototypes.norm(dim=1, keepdim=True)
    unit = torch.where(constant, 0.0, centred / torch.where(constant, 1.0, norms))
    return (unit @ unit.T).clamp(-1, 1)


def _chunks(rows: Rows) -> Iterator[Tensor]:
    """Read all rows in their order, in double precision."""
    size = max(1, CHUNK // max(1, int(np.prod(rows.shape[1:]))))
    for start in range(0, len(rows), size):
        yield torch.from_numpy(rows[np.arange(start, min(start + size, len(rows)))]).double()
