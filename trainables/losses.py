"""Losses, by name: what is differentiated. Each is a mean over the samples of a batch.

    nrmse          mean_i |p_i - y_i| / |y_i|
    rmse           mean_i |p_i - y_i| / sqrt(d)
    mse            mean of (p - y)^2
    cross_entropy  mean_i -log softmax(p_i)[y_i]

The gradient of a norm at a perfect prediction is taken as 0.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from trainables.metrics import SMALLEST_NORM, difference, root_mean_square

__all__ = ["LOSSES", "cross_entropy", "mse", "nrmse", "rmse"]


def nrmse(prediction: Float[Tensor, "n ..."], target: Float[Tensor, "n ..."]) -> Float[Tensor, ""]:
    """Returns the mean relative L2 error; a target of norm below 1e-8 counts as of that norm.

    Raises:
        ValueError: The shapes differ.
    """
    scale = root_mean_square(target, torch.zeros_like(target))
    smallest = SMALLEST_NORM / target[0].numel() ** 0.5
    return (root_mean_square(prediction, target) / scale.clamp_min(smallest)).mean()


def rmse(prediction: Float[Tensor, "n ..."], target: Float[Tensor, "n ..."]) -> Float[Tensor, ""]:
    """Returns the mean over samples of each one's root mean square error.

    Raises:
        ValueError: The shapes differ.
    """
    return root_mean_square(prediction, target).mean()


def mse(prediction: Float[Tensor, "n ..."], target: Float[Tensor, "n ..."]) -> Float[Tensor, ""]:
    """Returns the mean squared error over all numbers.

    Raises:
        ValueError: The shapes differ.
    """
    return difference(prediction, target).square().mean()


def cross_entropy(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Returns the mean negative log-likelihood of the labels."""
    return functional.cross_entropy(logits, labels)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "nrmse": nrmse,
    "rmse": rmse,
    "mse": mse,
    "cross_entropy": cross_entropy,
}
