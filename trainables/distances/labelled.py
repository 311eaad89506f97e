"""Labelled samples as classes that follow one another, those too small for statistics left out.

Shapes: n = samples given; m = samples kept; d = features.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from trainables.errors import DataError

__all__ = ["Classes", "by_class"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Classes:
    """Samples in the order of their classes, which have `counts` samples each."""

    features: Float64[Tensor, "m d"]
    counts: tuple[int, ...]
    dropped: int  # samples whose class was too small


def by_class(features: Float[Tensor, "n d"], labels: Int[Tensor, " n"], smallest: int) -> Classes:
    """Returns the samples of classes of `smallest` samples or more, with their graph.

    Raises:
        DataError: Fewer than two samples are left.
    """
    _, labels, counts = torch.unique(
        labels.to(features.device), return_inverse=True, return_counts=True
    )
    order = labels.argsort(stable=True)
    order = order[(counts >= smallest)[labels[order]]]
    if len(order) < 2:
        raise DataError(
            f"{len(order)} of {len(labels)} samples are in classes of {smallest} or more, but a "
            "distance needs two: draw more samples, or of fewer classes."
        )
    return Classes(
        features=features.double()[order],
        counts=tuple(counts[counts >= smallest].tolist()),
        dropped=len(labels) - len(order),
    )
