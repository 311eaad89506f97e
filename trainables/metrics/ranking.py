"""Ranking metrics of scores, over the whole split. None of them is a mean over batches.

    one_minus_auroc  1 - mean over labels of P(score of a positive > score of a negative)
    one_minus_map    1 - mean over labels of the average precision
    one_minus_pixel_auroc       1 - AUROC over all pixels that are not ignored
    one_minus_pixel_auroc_hard  the official value (Shen et al., ICML 2023), for the decisions
                                logit > 0: (false positive rate + false negative rate) / 2, where
                                ignored pixels count as true negatives

one_minus_pixel_auroc is correct: a pixel of unknown class carries no information on a model. The
official code multiplies decisions and truth by 0 at ignored pixels. This reduces the false positive
rate, so that more ignored pixels give a better value. The official value is reported as well, for
comparison with published numbers.

Ties count half. Labels without a positive (or, for AUROC, without a negative) in the split are left
out, and their number is recorded.

Splits have millions of pixels, so that their scores are not stored. They are counted in 2^20 bins,
which are the leading 20 bits of a float32 and have a relative width of 2^-11. Only pairs of a
positive and a negative in one bin are ranked wrongly, by half a pair. The error is at most sum_b
P_b N_b / (2 P N), for P_b positives and N_b negatives in bin b. It is 0 for scores computed in
bfloat16.

Shapes: n = samples of a batch, k = labels, h, w = rows and columns, p = pixels that count.
"""

from abc import abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trainables.errors import DataError
from trainables.metrics.metric import Gathered, Metric

BITS = 20  # leading bits of a float32 that identify a bin


class _LabelMean(Gathered):
    """1 - the mean over labels of a score in [0, 1]; NaN if a number is not finite."""

    def __init__(self) -> None:
        super().__init__()
        self.num_dropped = 0  # labels without a defined score; set by `compute`

    @abstractmethod
    def _counts(self, target: Tensor) -> Tensor:
        """Return a mask of the labels whose score is defined."""

    @abstractmethod
    def _score(self, target: Tensor, prediction: Tensor) -> float:
        """Return the score of one label."""

    def _value(self, prediction: Float[Tensor, "n k"], target: Float[Tensor, "n k"]) -> float:
        # scikit-learn raises an error for such numbers, of which a diverged model is the cause.
        if not (prediction.isfinite().all() and target.isfinite().all()):
            return float("nan")
        counts = self._counts(target)
        self.num_dropped = int((~counts).sum())
        labels = counts.nonzero().flatten().tolist()
        if not labels:
            raise DataError(
                f"`{self.name}`: none of {len(counts)} labels has the positive and negative "
                "samples that it needs."
            )
        return 1 - sum(self._score(target[:, i], prediction[:, i]) for i in labels) / len(labels)


class AUROC(_LabelMean):
    """1 - the mean area under the ROC curve."""

    name = "one_minus_auroc"

    def _counts(self, target: Tensor) -> Tensor:
        return (target == 1).any(0) & (target == 0).any(0)

    def _score(self, target: Tensor, prediction: Tensor) -> float:
        from sklearn.metrics import roc_auc_score  # a slow import that few trials need

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

    Targets are [n, 2, h, w]: classes of pixels (0 or 1), and masks of ignored (1) and counted (0)
    pixels.
    """

    name = "one_minus_pixel_auroc"

    def __init__(self) -> None:
        self._bins: Tensor | None = None  # [2, 2^BITS]: counts of negatives and of positives
        self._finite = True

    def _counted(
        self, logits: Float[Tensor, "n h w"], truth: Tensor, ignored: Tensor
    ) -> tuple[Float[Tensor, " p"], Bool[Tensor, " p"]]:
        """Return the scores of the pixels that count, and a mask of the positives among them."""
        counts = ignored == 0
        return logits[counts], truth[counts] > 0

    @torch.no_grad()
    def update(
        self, prediction: Float[Tensor, "n 1 h w"], target: Float[Tensor, "n 2 h w"]
    ) -> None:
        truth, ignored = target.unbind(1)
        # The bins are made of the bits of float32.
        scores, positive = self._counted(prediction[:, 0].float(), truth, ignored)
        self._finite &= bool(scores.isfinite().all() and target.isfinite().all())
        places = bins_of(scores) + positive.long() * 2**BITS
        bins = torch.bincount(places, minlength=2 * 2**BITS).view(2, 2**BITS)
        self._bins = bins if self._bins is None else self._bins + bins

    def compute(self) -> float:
        if not self._finite:
            return float("nan")
        if self._bins is None or not self._bins.any(1).all():
            raise DataError(f"`{self.name}` needs pixels of both kinds that are not ignored.")
        negatives, positives = self._bins.double()
        # A positive outranks all negatives in lower bins, and half of those in its own bin.
        below = negatives.cumsum(0) - negatives / 2
        return 1 - float((positives * below).sum() / (positives.sum() * negatives.sum()))


class HardPixelAUROC(PixelAUROC):
    """Mean of false positive and negative rates at logit 0; ignored pixels are true negatives."""

    name = "one_minus_pixel_auroc_hard"

    def _counted(
        self, logits: Float[Tensor, "n h w"], truth: Tensor, ignored: Tensor
    ) -> tuple[Float[Tensor, " p"], Bool[Tensor, " p"]]:
        counts = ignored == 0
        # A logit that is not finite stays so, and makes the value NaN.
        decisions = torch.where(logits.isfinite(), (logits > 0).float(), logits)
        decided = torch.where(counts, decisions, torch.zeros_like(decisions))
        return decided.flatten(), ((truth > 0) & counts).flatten()


def bins_of(scores: Float[Tensor, " n"]) -> Tensor:
    """Return the bin of each score, in the order of the scores.

    The bits of a float, read as an integer, increase with a positive float and decrease with a
    negative one. The bits of negative floats are therefore flipped.
    """
    bits = (scores + 0.0).view(torch.int32)  # the sum turns -0.0 into 0.0
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    bins: Tensor = (ordered >> (32 - BITS)).long() + 2 ** (BITS - 1)
    return bins
