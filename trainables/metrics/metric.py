"""Base classes of metrics of a whole split, accumulated over batches. Lower is better.

The value of a split does not depend on its division into batches. Sums are float64, counts are
integers, and both stay on the device of the data until `compute`.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from trainables.errors import DataError

__all__ = ["FromFirst", "Gathered", "Metric", "SampleMean"]


class Metric(ABC):
    """Base of metrics: one number for a split."""

    name: ClassVar[str]

    @abstractmethod
    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch."""

    @abstractmethod
    def compute(self) -> float:
        """Return the metric over all batches so far.

        Raises:
            DataError: No sample counts, so that there is no value.
        """


class FromFirst(Metric):
    """Base of metrics that depend on the first target of the published files."""

    @abstractmethod
    def begin(self, first: Tensor) -> None:
        """Set the first target, before all batches."""


class SampleMean(Metric):
    """Base of metrics that are the mean over samples of one value each, in constant memory."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._count: Tensor | None = None
        self._seen = 0

    @abstractmethod
    def _values(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return a value for each sample, and a mask of the samples that count."""

    @torch.no_grad()
    def update(self, prediction: Tensor, target: Tensor) -> None:
        values, counts = self._values(prediction, target)
        # A product with the mask would keep NaN and infinity of samples that do not count.
        total = torch.where(counts, values, torch.zeros_like(values)).double().sum()
        self._sum = total if self._sum is None else self._sum + total
        self._count = counts.sum() if self._count is None else self._count + counts.sum()
        self._seen += len(values)

    def compute(self) -> float:
        counted = self._seen - self.num_dropped
        if self._sum is None or not counted:
            raise DataError(
                f"`{self.name}` of no samples: got {self._seen}, dropped {self.num_dropped}."
            )
        return float(self._sum) / counted

    @property
    def num_dropped(self) -> int:
        """Number of samples that do not count: the metric is undefined for their targets."""
        return self._seen - int(self._count) if self._count is not None else 0


class Gathered(Metric):
    """Base of metrics that need all predictions at once, kept as float32 in main memory."""

    def __init__(self) -> None:
        self._predictions: list[Tensor] = []
        self._targets: list[Tensor] = []

    @abstractmethod
    def _value(self, prediction: Tensor, target: Tensor) -> float:
        """Return the metric of all predictions of the split."""

    @torch.no_grad()
    def update(self, prediction: Tensor, target: Tensor) -> None:
        # The predictions of a whole split could fill the memory of a GPU.
        self._predictions.append(prediction.float().cpu())
        self._targets.append(target.cpu())

    def compute(self) -> float:
        if not self._predictions:
            raise DataError(f"`{self.name}` of no samples.")
        return self._value(torch.cat(self._predictions), torch.cat(self._targets))
