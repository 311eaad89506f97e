"""Losses, by name: what is differentiated. Each is a mean over the samples of a batch.

    nrmse          mean_i |p_i - y_i| / |y_i|
    relative_l2    the same, under NAS-Bench-360's name
    rmse           mean_i |p_i - y_i| / sqrt(d)
    masked_mse     mean_i mean over known points of (p - y)^2
    cross_entropy  mean_i -log softmax(p_i)[y_i]
    bce_w          mean over labels of -w y log s(p) - (1 - y) log(1 - s(p)), with the logistic s:
                   a label that holds weighs w (4, 10) times one that does not
    masked_bce     mean_i mean over pixels that are not ignored of bce_1

The gradient of a norm at a perfect prediction is taken as 0.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from trainables.metrics.fields import SMALLEST_NORM, difference

__all__ = ["LOSSES", "bce", "cross_entropy", "masked_bce", "masked_mse", "nrmse", "rmse"]


def nrmse(prediction: Float[Tensor, "n ..."], target: Float[Tensor, "n ..."]) -> Float[Tensor, ""]:
    """Return the mean relative L2 error; a target of norm below 1e-8 counts as of that norm.

    Raises:
        ValueError: The shapes differ.
    """
    scale = _root_mean_square(target, torch.zeros_like(target))
    smallest = SMALLEST_NORM / target[0].numel() ** 0.5
    return (_root_mean_square(prediction, target) / scale.clamp_min(smallest)).mean()


def rmse(prediction: Float[Tensor, "n ..."], target: Float[Tensor, "n ..."]) -> Float[Tensor, ""]:
    """Return the mean over samples of each one's root mean square error.

    Raises:
        ValueError: The shapes differ.
    """
    return _root_mean_square(prediction, target).mean()


def masked_mse(
    prediction: Float[Tensor, "n 1 h w"], target: Float[Tensor, "n 2 h w"]
) -> Float[Tensor, ""]:
    """Return the mean over samples of each one's mean squared error over known points.

    Targets hold a value, and whether it is known (1) or not (0); a sample without any counts 0.
    """
    value, known = target[:, :1], target[:, 1:]
    return _mean_where(known > 0, difference(prediction, value).square())


def cross_entropy(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Return the mean negative log-likelihood of the labels."""
    return functional.cross_entropy(logits, labels)


def bce(
    logits: Float[Tensor, "n k"], target: Float[Tensor, "n k"], *, positives: float
) -> Float[Tensor, ""]:
    """Return the mean binary cross entropy, in which a label that holds weighs `positives`."""
    weight = logits.new_tensor(positives)
    return functional.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)


def masked_bce(
    logits: Float[Tensor, "n 1 h w"], target: Float[Tensor, "n 2 h w"]
) -> Float[Tensor, ""]:
    """Return the mean over samples of each one's mean binary cross entropy over its pixels.

    Targets hold what a pixel is, and whether it is ignored (1) or counts (0).
    """
    truth, ignored = target[:, :1], target[:, 1:]
    losses = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return _mean_where(ignored == 0, losses)


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "nrmse": nrmse,
        "relative_l2": nrmse,
        "rmse": rmse,
        "masked_mse": masked_mse,
        "cross_entropy": cross_entropy,
        "bce_4": partial(bce, positives=4.0),
        "bce_10": partial(bce, positives=10.0),
        "masked_bce": masked_bce,
    }
)


def _root_mean_square(prediction: Tensor, target: Tensor) -> Tensor:
    """Return |p - y| / sqrt(d) of each sample."""
    norm: Tensor = torch.linalg.vector_norm(difference(prediction, target).flatten(1), dim=1)
    return norm / math.sqrt(target[0].numel())


def _mean_where(counts: Tensor, losses: Tensor) -> Tensor:
    """Return the mean over samples of each one's mean over the points that count."""
    kept = torch.where(counts, losses, torch.zeros_like(losses)).flatten(1)
    return (kept.sum(1) / counts.flatten(1).sum(1).clamp_min(1)).mean()
