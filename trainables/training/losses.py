"""Losses for training, by name. Each is a mean over the samples of a batch.

    nrmse          mean_i |p_i - y_i| / |y_i|
    relative_l2    the same, under NAS-Bench-360's name
    rmse           mean_i |p_i - y_i| / sqrt(d)
    mse            mean_i mean_j (p_ij - y_ij)^2
    mae            mean_i mean_j |p_ij - y_ij|
    masked_mse     mean_i mean over known points of (p - y)^2
    cross_entropy  mean_i -log softmax(p_i)[y_i]
    bce            mean over labels of -y log s(p) - (1 - y) log(1 - s(p)), with the logistic s
    bce_w          mean over labels of -w y log s(p) - (1 - y) log(1 - s(p)): a positive label has
                   w (4, 10) times the weight of a negative one
    masked_bce     mean_i mean over pixels that are not ignored of bce_1

mse and mae of a regression are in units of the standard deviation of each training output
(`loss_of`), so that one learning rate, and one weight beside other losses, fits targets of any
scale. No output dominates because its unit is small.

The gradient of a norm at a perfect prediction is defined as 0.

Shapes: n = samples of a batch; k = classes, labels or outputs; h, w = rows and columns of a field;
"" = scalar.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from trainables.metrics.fields import MIN_NORM, difference
from trainables.tasks.task import Task

__all__ = [
    "LOSSES",
    "Loss",
    "bce",
    "cross_entropy",
    "loss_of",
    "mae",
    "masked_bce",
    "masked_mse",
    "mse",
    "nrmse",
    "rmse",
]

Loss = Callable[[Tensor, Tensor], Tensor]  # of predictions and targets of a batch


def nrmse(prediction: Float[Tensor, "n ..."], target: Float[Tensor, "n ..."]) -> Float[Tensor, ""]:
    """Return the mean relative L2 error. The norm of a target is at least 1e-8 in the denominator.

    Raises:
        ValueError: The shapes differ.
    """
    scale = _root_mean_square(target, torch.zeros_like(target))
    # `scale` is the norm divided by sqrt(d), and so is its lower bound.
    smallest = MIN_NORM / target[0].numel() ** 0.5
    return (_root_mean_square(prediction, target) / scale.clamp_min(smallest)).mean()


def rmse(prediction: Float[Tensor, "n ..."], target: Float[Tensor, "n ..."]) -> Float[Tensor, ""]:
    """Return the mean over samples of the root mean square error, in the target's unit.

    Raises:
        ValueError: The shapes differ.
    """
    return _root_mean_square(prediction, target).mean()


def mse(prediction: Float[Tensor, "n ..."], target: Float[Tensor, "n ..."]) -> Float[Tensor, ""]:
    """Return the mean squared error over all outputs of all samples.

    Raises:
        ValueError: The shapes differ.
    """
    return difference(prediction, target).square().mean()


def mae(prediction: Float[Tensor, "n ..."], target: Float[Tensor, "n ..."]) -> Float[Tensor, ""]:
    """Return the mean absolute error over all outputs of all samples.

    Raises:
        ValueError: The shapes differ.
    """
    return difference(prediction, target).abs().mean()


def masked_mse(
    prediction: Float[Tensor, "n 1 h w"], target: Float[Tensor, "n 2 h w"]
) -> Float[Tensor, ""]:
    """Return the mean over samples of the mean squared error over known points.

    A sample without known points has an error of 0.

    Args:
        prediction: Predicted values.
        target: Values, and masks of known (1) and unknown (0) points.

    Raises:
        ValueError: The shapes of predicted and true values differ.
    """
    value, known = target[:, :1], target[:, 1:]
    return _mean_where(known > 0, difference(prediction, value).square())


def cross_entropy(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Return the mean negative log-likelihood of the labels."""
    return functional.cross_entropy(logits, labels)


def bce(
    logits: Float[Tensor, "n k"], target: Float[Tensor, "n k"], *, positives: float
) -> Float[Tensor, ""]:
    """Return the mean binary cross entropy over all labels of all samples.

    Args:
        logits: Logit of each label.
        target: 1 for a positive label, else 0.
        positives: Weight of a positive label; that of a negative one is 1.
    """
    weight = logits.new_full((), positives)
    return functional.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)


def masked_bce(
    logits: Float[Tensor, "n 1 h w"], target: Float[Tensor, "n 2 h w"]
) -> Float[Tensor, ""]:
    """Return the mean over samples of the mean binary cross entropy over the pixels that count.

    Args:
        logits: Logit of each pixel.
        target: Class of each pixel (0 or 1), and masks of ignored (1) and counted (0) pixels.
    """
    truth, ignored = target[:, :1], target[:, 1:]
    losses = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return _mean_where(ignored == 0, losses)


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "nrmse": nrmse,
        "relative_l2": nrmse,
        "rmse": rmse,
        "mse": mse,
        "mae": mae,
        "masked_mse": masked_mse,
        "cross_entropy": cross_entropy,
        "bce": partial(bce, positives=1.0),
        "bce_4": partial(bce, positives=4.0),
        "bce_10": partial(bce, positives=10.0),
        "masked_bce": masked_bce,
    }
)
STANDARDISED = ("mse", "mae")  # losses with the unit of the targets


def loss_of(task: Task) -> Loss:
    """Return the task's loss; of a regression, in the units that `Task.output_units` has."""
    info = task.info
    loss = LOSSES[info.loss]
    if info.kind != "regression" or info.loss not in STANDARDISED:
        return loss
    unit = torch.from_numpy(task.output_units.scale)

    def standardised(prediction: Tensor, target: Tensor) -> Tensor:
        nonlocal unit
        unit = unit.to(prediction.device)  # moved once, and not at every step
        return loss(prediction / unit, target / unit)

    return standardised


def _root_mean_square(prediction: Tensor, target: Tensor) -> Tensor:
    """Return |p - y| / sqrt(d) of each sample."""
    norm: Tensor = torch.linalg.vector_norm(difference(prediction, target).flatten(1), dim=1)
    return norm / math.sqrt(target[0].numel())


def _mean_where(counts: Tensor, losses: Tensor) -> Tensor:
    """Return the mean over samples of the mean over the points that count."""
    # A product with the mask would keep NaN and infinity of points that do not count.
    kept = torch.where(counts, losses, torch.zeros_like(losses)).flatten(1)
    return (kept.sum(1) / counts.flatten(1).sum(1).clamp_min(1)).mean()
