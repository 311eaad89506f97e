"""Ranking metrics of scores. Each is of the whole split: none is a mean over batches.

    one_minus_auroc  1 - mean over labels of P(score of a positive > score of a negative)
    one_minus_map    1 - mean over labels of the average precision
    one_minus_pixel_auroc       1 - AUROC over all pixels that are not ignored
    one_minus_pixel_auroc_hard  the official number (Shen et al., ICML 2023): of the decisions
                                logit > 0, (false positive rate + false negative rate) / 2, where
                                ignored pixels count as true negatives

The former is right: a pixel of unknown class carries no information on a model. Official code
multiplies decisions and truth by 0 there, which dilutes the false positives: the more pixels are
ignored, the better the number. It is kept beside ours for comparison with published numbers.

Ties count half. Labels of which the split has no positive (or, for AUROC, no negative) are left
out, and counted.

Pixels come in millions, so that their scores are not kept but counted in the 2^20 bins that share
the leading 20 bits of a float32: a relative width of 2^-11. Only a positive and a negative of one
bin are ranked wrongly, by half a pair: the error is at most sum_b P_b N_b / (2 P N), for P_b
positives and N_b negatives in bin b, and it is 0 for scores computed in bfloat16.

Shapes: n = samples of a batch, k = labels.
"""

from abc import abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trainables.errors import DataError
from trainables.metrics.metric import Gathered, Metric

__all__ = ["AUROC", "HardPixelAUROC", "MeanAveragePrecision", "PixelAUROC"]

BITS = 20


class _LabelMean(Gathered):
    """1 - the mean over labels of a score in [0, 1]; NaN where a prediction or a target is not
    finite."""

    def __init__(self) -> None:
        super().__init__()
        self.num_dropped = 0  # labels that the split says nothing on; known after `compute`

    @abstractmethod
    def _counts(self, target: Tensor) -> Tensor:
        """Return whether each label's score is defined."""

    @abstractmethod
    def _score(self, target: Tensor, prediction: Tensor) -> float:
        """Return the score of one label."""

    def _value(self, prediction: Float[Tensor, "n k"], target: Float[Tensor, "n k"]) -> float:
        if not (prediction.isfinite().all() and target.isfinite().all()):
            return float("nan")
        counts = self._counts(target)
        self.num_dropped = int((~counts).sum())
        labels = counts.nonzero().flatten().tolist()
        if not labels:
            raise DataError(f"`{self.name}`: none of {len(counts)} labels tells samples apart.")
        return 1 - sum(self._score(target[:, i], prediction[:, i]) for i in labels) / len(labels)


class AUROC(_LabelMean):
    """1 - the mean area under the ROC curve."""

    name = "one_minus_auroc"

    def _counts(self, target: Tensor) -> Tensor:
        return (target == 1).any(0) & (target == 0).any(0)

    def _score(self, target: Tensor, prediction: Tensor) -> float:
        from sklearn.metrics import roc_auc_score  # slow to import, and not every trial's metric

        return float(roc_auc_score(target.numpy(), prediction.numpy()))


class MeanAveragePrecision(_LabelMean):
    """1 - the mean average precision."""

    name = "one_minus_map"

    def _counts(self, target: Tensor) -> Tensor:
        return (target == 1).any(0)

    def _score(self, target: Tensor, prediction: Tensor) -> float:
        from sklearn.metrics import average_precision_score

        return float(average_precision_score(target.numpy(), prediction.numpy()))


class PixelAUROC(Metric):
    """1 - the area under the ROC curve of pixels, in constant memory.

    Targets are [n, 2, h, w]: what a pixel is (0 or 1), and whether it is ignored (1) or counts (0).
    """

    name = "one_minus_pixel_auroc"

    def __init__(self) -> None:
        self._bins: Tensor | None = None  # [2, 2^BITS]: negatives, positives
        self._finite = True

    def _counted(
        self, logits: Float[Tensor, "n h w"], truth: Tensor, ignored: Tensor
    ) -> tuple[Float[Tensor, " p"], Bool[Tensor, " p"]]:
        """Return the scores of the pixels that count, and whether each is positive."""
        counts = ignored == 0
        return logits[counts], truth[counts] > 0

    @torch.no_grad()
    def update(
        self, prediction: Float[Tensor, "n 1 h w"], target: Float[Tensor, "n 2 h w"]
    ) -> None:
        truth, ignored = target.unbind(1)
        scores, positive = self._counted(prediction[:, 0].float(), truth, ignored)
        self._finite &= bool(scores.isfinite().all() and target.isfinite().all())
        places = _bins(scores) + positive.long() * 2**BITS
        bins = torch.bincount(places, minlength=2 * 2**BITS).view(2, 2**BITS)
        self._bins = bins if self._bins is None else self._bins + bins

    def compute(self) -> float:
        if not self._finite:
            return float("nan")
        if self._bins is None or not self._bins.any(1).all():
            raise DataError(f"`{self.name}` needs pixels of both kinds that are not ignored.")
        negatives, positives = self._bins.double()
        below = negatives.cumsum(0) - negatives / 2
        return 1 - float((positives * below).sum() / (positives.sum() * negatives.sum()))


class HardPixelAUROC(PixelAUROC):
    """The mean of the false positive and the false negative rate at logit 0, ignored pixels being
    true negatives."""

    name = "one_minus_pixel_auroc_hard"

    def _counted(
        self, logits: Float[Tensor, "n h w"], truth: Tensor, ignored: Tensor
    ) -> tuple[Float[Tensor, " p"], Bool[Tensor, " p"]]:
        counts = ignored == 0
        decisions = torch.where(logits.isfinite(), (logits > 0).float(), logits)
        decided = torch.where(counts, decisions, torch.zeros_like(decisions))
        return decided.flatten(), ((truth > 0) & counts).flatten()


def _bins(scores: Float[Tensor, " n"]) -> Tensor:
    """Return each score's bin, in the order of the scores: a float's bits, read as a whole number,
    rise with a positive float and fall with a negative one."""
    bits = (scores + 0.0).view(torch.int32)  # -0.0 becomes 0.0
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    bins: Tensor = (ordered >> (32 - BITS)).long() + 2 ** (BITS - 1)
    return bins
