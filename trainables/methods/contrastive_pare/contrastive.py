"""Contrastive losses of labelled features with weights for pairs of classes.

    L_Y = -log [ sum_{i != j in Y} s_ij  /  sum_{i in Y, j != i} lambda_ij s_ij ]      exp, affine
    L_Y = -mean_{i != j in Y} log [ s_ij / sum_{l != i} lambda_il s_il ]               supcon_out

c_ij is the cosine of features i and j. s_ij is exp(c_ij / temperature), or (1 + c_ij) / 2 in
`affine`. lambda_ij is 1 within a class. The loss is the mean of L_Y over the classes Y with at
least two samples. It is not negative if no lambda is below 1, and it increases with each lambda.

The second form is L_out of Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, with
weights. It attracts each pair of a class, while in the first form a few close pairs are sufficient.
`align_uniform` is `discriminability` (Wang and Isola, ICML 2020), without temperature and weights.

The first ratio is also printed with cosines in place of s. Cosines can be negative, so that the
logarithm is undefined for many features. It is also printed with pairs i = j, which are constants
and only dilute the gradients.

lambda is larger for less similar classes (`class_weights`). The similarity is computed from the
training data before any training. The prototype of a class is the mean of its samples. Their
channels are standardised to mean 0 and variance 1 over the training set. The prototypes are means
of inputs if samples have a class, else of outputs (fields, or sets of labels), which
`pseudo_labels` groups into classes. Outputs of a regression are also grouped, but their prototypes
are means of inputs: the correlation of one or two numbers is 0, or 1 and -1. The similarity of two
classes is Pearson's correlation of their prototypes over all values.

Shapes: n = samples; d = features, or values of a prototype; k = classes; c = channels; "" = scalar.
"""

from collections.abc import Iterator
from types import EllipsisType
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Int64
from scipy.optimize import brentq
from torch import Tensor
from torch.nn import functional

from trainables.methods.contrastive_pare.noise import Units
from trainables.tasks.kinds import KINDS
from trainables.tasks.store.device_rows import moved
from trainables.tasks.store.split import Rows
from trainables.tasks.task import Task
from trainables.training.discriminability import discriminability
from trainables.training.pseudo_labels import target_labels

__all__ = [
    "Cosines",
    "Form",
    "channel_units",
    "chunks_of",
    "class_correlations",
    "class_means",
    "class_weights",
    "contrastive_loss",
    "correlations",
    "input_units",
    "mean_cosines",
]

Form = Literal["exp", "supcon_out", "align_uniform", "affine"]

MIN_SIMILARITY = 1e-8  # added to s of `affine`, so that its logarithm is finite


def contrastive_loss(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    weights: Float[Tensor, "n n"],
    *,
    form: Form = "exp",
    temperature: float = 0.1,
) -> Float[Tensor, ""]:
    """Return the contrastive loss. It is 0, with a gradient, if no two samples share a class.

    Args:
        features: Features; their norm has no effect.
        labels: Class of each sample, on the CPU: a step does not wait for the device to count them.
        weights: lambda_ij, positive; 1 if i and j are of one class.
        form: Form of the loss, see the module's formulas.
        temperature: Temperature of `exp` and `supcon_out`.

    Raises:
        ValueError: `form` is `align_uniform` and there are fewer than two samples.
    """
    device = features.device
    if form == "align_uniform":
        return discriminability(features, labels.to(device)).loss
    _, place, sizes = torch.unique(labels, return_inverse=True, return_counts=True)
    anchors = sizes[place] > 1
    if not anchors.any():
        return 0 * features.sum()
    # All sums run in log space, because exp(c / temperature) of small temperatures overflows.
    # Samples without a positive pair are no anchors, but remain in the denominators of others.
    rows: Tensor | EllipsisType
    if anchors.all():
        rows, shared = ..., torch.arange(len(sizes), device=device)
    else:
        rows, shared = (moved(m.nonzero().flatten(), device) for m in (anchors, sizes > 1))
    place = moved(place, device)
    itself = torch.eye(len(place), dtype=torch.bool, device=device)
    positive = ((place[:, None] == place) & ~itself)[rows]
    similarity = _log_similarity(_cosines(features), form, temperature)[rows]
    classes = shared[:, None] == place[rows]  # [k, anchors]
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
    """Mean cosines of pairs of samples; 0 if there is no such pair."""

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
    """Return lambda of each pair of classes. It is larger if their correlation is lower.

        lambda_ij = c / (r_ij + epsilon), clipped to [1, largest]    r_ij = (1 + correlation_ij) / 2

    The factor c makes the mean over pairs of different classes equal to `mean`. The diagonal is 1.
    The formula uses r because the correlation can be 0 or negative, and a weight must be positive.

    Args:
        correlation: Correlations of the classes, in [-1, 1].
        mean: Mean weight of pairs of different classes.
        largest: Largest weight of a pair.
        epsilon: Constant that bounds the weights of negatively correlated classes.

    Raises:
        ValueError: There are fewer than two classes, or 1 <= mean <= largest does not hold.
    """
    if len(correlation) < 2 or not 1 <= mean <= largest:
        raise ValueError(
            f"Two classes or more, and 1 <= mean <= largest, must hold, but got "
            f"{len(correlation)=}, {mean=}, {largest=}."
        )
    # The mean of the clipped weights increases with c, from 1 to `largest` over the bracket of
    # `brentq`. The bracket therefore contains the c whose mean is `mean`.
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
        return ((1 + cosines).clamp_min(0) / 2 + MIN_SIMILARITY).log()
    return cosines / temperature


def _log(counted: Tensor) -> Tensor:
    """Return 0 for terms that a sum of exponentials includes, and -inf for the others."""
    return torch.where(counted, 0.0, -torch.inf)


CHUNK = 2**22  # numbers read at once
MIN_SPREAD = 1e-6  # relative to the mean; a smaller spread is rounding and counts as 0


_units: dict[tuple[str, int], Units] = {}  # caches of this process
_correlations: dict[tuple[str, int, int], Float64[Tensor, "k k"]] = {}


def input_units(task: Task) -> Units:
    """Return the units of the task's inputs, cached for the process."""
    key = (task.content_hash, len(task.train))
    if key not in _units:
        _units[key] = channel_units(task.train.x)
    return _units[key]


def class_correlations(task: Task, clusters: int) -> Float64[Tensor, "k k"]:
    """Return the correlations of the classes of `target_labels`, cached for the process."""
    key = (task.content_hash, len(task.train), clusters)
    if key not in _correlations:
        labels = target_labels(task, clusters)
        if KINDS[task.info.kind].outputs in ("labels", "vectors"):
            rows, units = task.train.x, input_units(task)
        else:
            rows, units = task.train.y, channel_units(task.train.y)
        # A constant channel is 0 once its mean is subtracted, whatever divides it.
        spread = torch.where(units.std > 0, units.std, 1.0)
        prototypes = (class_means(rows, labels) - units.mean) / spread
        _correlations[key] = correlations(prototypes.flatten(1))
    return _correlations[key]


def channel_units(rows: Rows) -> Units:
    """Return the mean and standard deviation [c, 1, ...] of the channels of samples [n, c, ...]."""
    # One pass over chunks, because the training set may not fit into memory. Sums are in double
    # precision, and a variance below rounding counts as 0.
    axes = [axis for axis in range(len(rows.shape)) if axis != 1]
    sums = squares = torch.zeros(())
    for chunk in chunks_of(rows):
        sums = sums + chunk.sum(axes)
        squares = squares + chunk.square().sum(axes)
    count = int(np.prod([rows.shape[axis] for axis in axes]))
    mean = sums / count
    std = (squares / count - mean.square()).clamp_min(0).sqrt()
    std = torch.where(std > MIN_SPREAD * mean.abs(), std, 0.0)
    shape = (-1, *[1] * (len(rows.shape) - 2))
    return Units(mean.view(shape), std.view(shape))


def class_means(rows: Rows, labels: Int64[np.ndarray, " n"]) -> Float64[Tensor, "k ..."]:
    """Return the mean of each class's samples. Each of the classes 0, 1, ... must have a sample."""
    of = torch.from_numpy(labels)
    counts = torch.bincount(of)
    sums = torch.zeros(len(counts), *rows.shape[1:], dtype=torch.float64)
    start = 0
    for chunk in chunks_of(rows):
        sums.index_add_(0, of[start : start + len(chunk)], chunk)
        start += len(chunk)
    return sums / counts.view(-1, *[1] * (sums.dim() - 1))


def correlations(prototypes: Float64[Tensor, "k d"]) -> Float64[Tensor, "k k"]:
    """Return Pearson's correlations of the rows; 0 if one of the two rows is constant."""
    centred = prototypes - prototypes.mean(1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True)
    # The centred values of a constant row are rounding, which a division would blow up to a unit
    # vector.
    constant = norms <= MIN_SPREAD * prototypes.norm(dim=1, keepdim=True)
    unit = torch.where(constant, 0.0, centred / torch.where(constant, 1.0, norms))
    return (unit @ unit.T).clamp(-1, 1)


def chunks_of(rows: Rows) -> Iterator[Tensor]:
    """Read all rows in order, in double precision."""
    size = max(1, CHUNK // max(1, int(np.prod(rows.shape[1:]))))
    for start in range(0, len(rows), size):
        yield torch.from_numpy(rows[np.arange(start, min(start + size, len(rows)))]).double()
