"""Metrics as ORCA's code takes them (Shen et al., ICML 2023): of a thousand samples at a time, and
then the mean of these values.

    one_minus_macro_f1_by_1000
    one_minus_auroc_by_1000

Neither F1 nor AUROC is additive, so that these are other numbers than those of the whole split.
They depend on the order of the samples, and stand beside the split's value to be compared with
published ones. A thousand in which no label tells samples apart is left out, as is every label of
which it has one kind.
"""

from typing import ClassVar

import torch
from torch import Tensor

from trainables.errors import DataError
from trainables.metrics.classes import MacroF1
from trainables.metrics.metric import Metric
from trainables.metrics.ranking import AUROC

__all__ = ["AUROCByThousands", "MacroF1ByThousands"]

SIZE = 1000


class _ByThousands(Metric):
    """The mean of a metric over stretches of SIZE samples; the last may be shorter."""

    of_a_stretch: ClassVar[type[Metric]]

    def __init__(self) -> None:
        self._predictions: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._values: list[float] = []
        self._waiting = 0

    @torch.no_grad()
    def update(self, prediction: Tensor, target: Tensor) -> None:
        self._predictions.append(prediction)
        self._targets.append(target)
        self._waiting += len(target)
        if self._waiting >= SIZE:
            predictions, targets = torch.cat(self._predictions), torch.cat(self._targets)
            while len(targets) >= SIZE:
                self._add(predictions[:SIZE], targets[:SIZE])
                predictions, targets = predictions[SIZE:], targets[SIZE:]
            self._predictions, self._targets = [predictions], [targets]
            self._waiting = len(targets)

    def compute(self) -> float:
        if self._waiting:
            self._add(torch.cat(self._predictions), torch.cat(self._targets))
            self._predictions, self._targets, self._waiting = [], [], 0
        if not self._values:
            raise DataError(f"`{self.name}` of no samples that tell labels apart.")
        return sum(self._values) / len(self._values)

    def _add(self, prediction: Tensor, target: Tensor) -> None:
        stretch = self.of_a_stretch()
        stretch.update(prediction, target)
        try:
            self._values.append(stretch.compute())
        except DataError:
            return  # left out


class MacroF1ByThousands(_ByThousands):
    """1 - macro F1, averaged over stretches."""

    name = "one_minus_macro_f1_by_1000"
    of_a_stretch = MacroF1


class AUROCByThousands(_ByThousands):
    """1 - the mean area under the ROC curve, averaged over stretches."""

    name = "one_minus_auroc_by_1000"
    of_a_stretch = AUROC
