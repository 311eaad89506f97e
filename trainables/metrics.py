"""Metrics of a whole split, gathered batch by batch in constant memory. Lower is better in all.

    nrmse           mean_i |p_i - y_i| / |y_i|       relative L2 error, all channels together
    rmse            mean_i |p_i - y_i| / sqrt(d)     d numbers a sample
    zero_one_error  share of samples whose largest logit is not at the label

A split's value does not depend on how it was cut into batches. Sums are float64, and stay on the
device of the data until `compute`.

Shapes: n = samples of a batch, k = classes.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trainables.errors import DataError

__all__ = [
    "METRICS",
    "RMSE",
    "Metric",
    "NormalizedRMSE",
    "ZeroOneError",
    "difference",
    "is_wrong",
    "relative_l2",
    "root_mean_square",
]

SMALLEST_NORM = 1e-8


def difference(
    prediction: Float[Tensor, "..."], target: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """Returns p - y, of equal shapes: broadcasting here is always a mistake.

    Raises:
        ValueError: The shapes differ.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"A prediction must have its target's shape, but got {tuple(prediction.shape)=}, "
            f"{tuple(target.shape)=}."
        )
    return prediction - target


def relative_l2(
    prediction: Float[Tensor, "n ..."], target: Float[Tensor, "n ..."]
) -> Float[Tensor, " n"]:
    """Returns |p - y| / |y| of each sample; infinite or NaN where y is zero.

    Raises:
        ValueError: The shapes differ.
    """
    return _norm(difference(prediction, target)) / _norm(target)


def root_mean_square(
    prediction: Float[Tensor, "n ..."], target: Float[Tensor, "n ..."]
) -> Float[Tensor, " n"]:
    """Returns |p - y| / sqrt(d) of each sample.

    Raises:
        ValueError: The shapes differ.
    """
    return _norm(difference(prediction, target)) / math.sqrt(target[0].numel())


def is_wrong(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Returns whether the largest logit of each sample is not at its label."""
    return logits.argmax(dim=1) != labels


class Metric(ABC):
    """The mean over samples of one number a sample."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._count: Tensor | None = None
        self._seen = 0

    @abstractmethod
    def _values(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Returns a number for each sample, and whether it counts."""

    @torch.no_grad()
    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Adds a batch."""
        values, counts = self._values(prediction, target)
        total = torch.where(counts, values, torch.zeros_like(values)).double().sum()
        self._sum = total if self._sum is None else self._sum + total
        self._count = counts.sum() if self._count is None else self._count + counts.sum()
        self._seen += len(values)

    def compute(self) -> float:
        """Returns the metric of all batches so far.

        Raises:
            DataError: No sample counts, so that there is no mean.
        """
        counted = self._seen - self.num_dropped
        if self._sum is None or not counted:
            raise DataError(
                f"`{self.name}` of no samples: got {self._seen}, dropped {self.num_dropped}."
            )
        return float(self._sum) / counted

    @property
    def num_dropped(self) -> int:
        """Samples that do not count, since their target is zero."""
        return self._seen - int(self._count) if self._count is not None else 0


class NormalizedRMSE(Metric):
    """nRMSE: the mean relative L2 error, without samples whose target has a norm below 1e-8."""

    name = "nrmse"

    def _values(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return relative_l2(prediction, target), _norm(target) >= SMALLEST_NORM


class RMSE(Metric):
    """The mean over samples of each sample's root mean square error."""

    name = "rmse"

    def _values(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        values = root_mean_square(prediction, target)
        return values, torch.ones_like(values, dtype=torch.bool)


class ZeroOneError(Metric):
    """The share of samples that are classified wrongly: 1 - accuracy."""

    name = "zero_one_error"

    def _values(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        wrong = is_wrong(prediction, target)
        return wrong.float(), torch.ones_like(wrong)


METRICS: dict[str, type[Metric]] = {
    metric.name: metric for metric in (NormalizedRMSE, RMSE, ZeroOneError)
}


def _norm(batch: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(batch.flatten(1), dim=1)
    return norm
