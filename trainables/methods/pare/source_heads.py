"""Heads that predict the source's label or mask from a mixture's features. Cai et al., ICML 2024.

    label   mean over the features -> Linear(E, classes), by cross entropy
    mask    1 x 1 convolution on the features' grid -> bilinear to the mask, by binary cross entropy

The mask head is for dense targets with a dense source. It has its own weights. The official code
instead predicts the mask with the target's dense head, in the unit of the target.

Shapes: M = features, E = their width; H, W = pixels of a mask.
"""

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional

from trainables.models.predictors import ClassPredictor, GridLinear
from trainables.sources.proxy import FOREGROUND, IGNORED

__all__ = ["LabelHead", "MaskHead"]


class LabelHead(nn.Module):
    """Head that predicts the logits of the source's classes."""

    def __init__(self, width: int, num_classes: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.predictor = ClassPredictor(width, num_classes, generator=generator)

    def forward(self, features: Float[Tensor, "b m e"]) -> Float[Tensor, "b classes"]:
        logits: Tensor = self.predictor(features)
        return logits

    def loss(
        self,
        logits: Float[Tensor, "b classes"],
        labels: Int64[Tensor, " b"],
        whole: Int64[Tensor, " n"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the mean cross entropy. `whole` is ignored; `MaskHead.loss` uses it."""
        return functional.cross_entropy(logits, labels)


class MaskHead(nn.Module):
    """Head that predicts the logit of the foreground for each pixel of the source's mask."""

    def __init__(
        self,
        width: int,
        grid: tuple[int, int],
        size: tuple[int, int],
        *,
        generator: torch.Generator,
    ) -> None:
        """Initialise the convolution.

        Args:
            width: Width E of the features.
            grid: Rows and columns of the features.
            size: Rows and columns of the mask.
            generator: Generator of the initial weights, on the CPU.
        """
        super().__init__()
        self.size = size
        self.predictor = GridLinear(width, grid, (1, *grid), generator=generator)

    def forward(self, features: Float[Tensor, "b m e"]) -> Float[Tensor, "b h w"]:
        image: Tensor = self.predictor(features)
        return functional.interpolate(
            image, self.size, mode="bilinear", align_corners=False
        ).squeeze(1)

    def loss(
        self,
        logits: Float[Tensor, "b h w"],
        masks: UInt8[Tensor, "b h w"],
        whole: UInt8[Tensor, "n h w"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the mean binary cross entropy over the known pixels; 0 if there are none.

        Args:
            logits: Logits of the foreground.
            masks: Masks, with the values `FOREGROUND`, background and `IGNORED`.
            whole: All masks of the micro-batch of which `masks` is a part. The number of known
                pixels is then the mean over `whole`. The losses of the parts, weighted by their
                samples, therefore add up to the loss of the whole micro-batch.
        """
        known = masks != IGNORED
        whole = masks if whole is None else whole
        count = (whole != IGNORED).sum() * (len(masks) / len(whole))
        losses = functional.binary_cross_entropy_with_logits(
            logits, (masks == FOREGROUND).to(logits.dtype), reduction="none"
        )
        # `count` is a multiple of 1 / len(whole), so that the bound acts only if no pixel is known.
        return (losses * known).sum() / count.clamp_min(1 / len(whole))
