"""Metrics of decisions between k classes.

    zero_one_error      share of samples whose largest logit is not that of the label
    one_minus_macro_f1  1 - mean_c 2 TP_c / (2 TP_c + FP_c + FN_c), over classes that occur among
                        the labels or the decisions. F1 is not a mean over samples or batches.

Both metrics are NaN if a logit is not finite, because such logits make no decision.

Shapes: n = samples of a batch, k = classes.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trainables.errors import DataError
from trainables.metrics.metric import Metric, SampleMean

__all__ = ["MacroF1", "ZeroOneError", "is_wrong"]


def is_wrong(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Return, for each sample, whether its largest logit is not that of its label."""
    return logits.argmax(dim=1) != labels


class ZeroOneError(SampleMean):
    """Share of misclassified samples: 1 - accuracy."""

    name = "zero_one_error"

    def _values(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        wrong = is_wrong(prediction, target)
        decided = prediction.isfinite().all(dim=1)
        return wrong.float().masked_fill(~decided, torch.nan), torch.ones_like(wrong)


class MacroF1(Metric):
    """1 - macro F1, computed from the confusion matrix."""

    name = "one_minus_macro_f1"

    def __init__(self) -> None:
        self._table: Tensor | None = None  # [k, k]: label, decision
        self._finite = True

    @torch.no_grad()
    def update(self, prediction: Float[Tensor, "n k"], target: Int[Tensor, " n"]) -> None:
        self._finite &= bool(prediction.isfinite().all())
        classes = prediction.shape[1]
        # One count over numbered pairs makes the table without a loop over samples.
        pairs = target * classes + prediction.argmax(dim=1)
        table = torch.bincount(pairs, minlength=classes**2).view(classes, classes)
        self._table = table if self._table is None else self._table + table

    def compute(self) -> float:
        if self._table is None or not self._table.any():
            raise DataError(f"`{self.name}` of no samples.")
        if not self._finite:
            return float("nan")
        # The sum of row and column counts TP twice: it is 2 TP + FP + FN.
        occurrences = (self._table.sum(0) + self._table.sum(1)).double()
        scores = 2 * self._table.diagonal() / occurrences
        return 1 - float(scores[occurrences > 0].mean())
