"""Official values of metrics that ORCA's code averages over chunks of about 1000 samples.

Shen et al., ICML 2023:

    one_minus_macro_f1_by_1000   chunks of 1000 samples: 250 batches of 4, ORCA's for ECG
    one_minus_auroc_by_1000      chunks of 1008 samples: 63 batches of 16, ORCA's for DeepSEA

A chunk ends with the batch that reaches 1000 samples, so that it consists of whole batches. (PaRe
has batches of 64 on ECG, and therefore chunks of 1024.) F1 and AUROC are not additive. These values
therefore differ from the values of the whole split and depend on the order of the samples. The
values of the whole split are the correct ones. The official code uses a random order, and the order
of the splits here is random too. The values by chunks are reported as well, for comparison with
published numbers. A chunk is left out if none of its labels has both kinds of samples. A label is
left out of a chunk if it has only one kind there.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from trainables.errors import DataError
from trainables.metrics.classes import MacroF1
from trainables.metrics.metric import Metric
from trainables.metrics.ranking import AUROC

MIN_CHUNK = 1000  # smallest number of samples of a full chunk


class _ByThousands(Metric):
    """Mean of a metric over chunks of `size` samples; the last chunk may be shorter."""

    of_a_stretch: ClassVar[type[Metric]]
    batch: ClassVar[int]  # batch size of the official configuration

    @classmethod
    def size(cls) -> int:
        """Return the samples of a chunk: the fewest whole batches with MIN_CHUNK samples."""
        return math.ceil(MIN_CHUNK / cls.batch) * cls.batch

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
        size = self.size()
        if self._waiting >= size:
            predictions, targets = torch.cat(self._predictions), torch.cat(self._targets)
            # A batch of an evaluation may be larger than a chunk.
            while len(targets) >= size:
                self._add(predictions[:size], targets[:size])
                predictions, targets = predictions[size:], targets[size:]
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
            return  # the chunk is left out


class MacroF1ByThousands(_ByThousands):
    """1 - macro F1, averaged over chunks."""

    name = "one_minus_macro_f1_by_1000"
    of_a_stretch = MacroF1
    batch = 4


class AUROCByThousands(_ByThousands):
    """1 - the mean area under the ROC curve, averaged over chunks."""

    name = "one_minus_auroc_by_1000"
    of_a_stretch = AUROC
    batch = 16
