"""Base classes of metrics: numbers of a whole split, gathered batch by batch. Lower is better.

A split's value does not depend on how it was cut into batches. Sums are float64 and counts whole
numbers, and both stay on the device of the data until `compute`.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from trainables.errors import DataError

__all__ = ["FromFirst", "Gathered", "Metric", "SampleMean"]


class Metric(ABC):
    """One number of a split."""

    name: ClassVar[str]

    @abstractmethod
    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch."""

    @abstractmethod
    def compute(self) -> float:
        """Return the metric of all batches so far.

        Raises:
            DataError: Nothing counts, so that there is no value.
        """


class FromFirst(Metric):
    """A metric that depends on the first target of the published files."""

    @abstractmethod
    def begin(self, first: Tensor) -> None:
        """Take that target, before all batches."""


class SampleMean(Metric):
    """The mean over samples of one number a sample, in constant memory."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._count: Tensor | None = None
        self._seen = 0

    @abstractmethod
    def _values(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return a number for each sample, and whether it counts."""

    @torch.no_grad()
    def update(self, prediction: Tensor, target: Tensor) -> None:
        values, counts = self._values(prediction, target)
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
        """Samples that do not count, since the metric is not defined for their target."""
        return self._seen - int(self._count) if self._count is not None else 0


class Gathered(Metric):
    """A metric that needs all predictions at once: they are kept as float32 in main memory."""

    def __init__(self) -> None:
        self._predictions: list[Tensor] = []
        self._targets: list[Tensor] = []

    @abstractmethod
    def _value(self, prediction: Tensor, target: Tensor) -> float:
        """Return the metric of the split."""

    @torch.no_grad()
    def update(self, prediction: Tensor, target: Tensor) -> None:
        self._predictions.append(prediction.float().cpu())
        self._targets.append(target.cpu())

    def compute(self) -> float:
        if not self._predictions:
            raise DataError(f"`{self.name}` of no samples.")
        return self._value(torch.cat(self._predictions), torch.cat(self._targets))
