"""Labelled samples as classes that follow one another, those too small for statistics left out.

Shapes: n = samples given; m = samples kept; d = features.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from trainables.errors import DataError

__all__ = ["Classes", "by_class"]

SMALLEST = 2  # samples of a class


@dataclass(frozen=True, kw_only=True, eq=False)
class Classes:
    """Samples in the order of their classes, which have `counts` samples each."""

    features: Float64[Tensor, "m d"]
    counts: tuple[int, ...]


def by_class(features: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Classes:
    """Returns the samples of classes of two samples or more, with their graph.

    Raises:
        DataError: There is no such class.
    """
    _, labels, counts = torch.unique(
        labels.to(features.device), return_inverse=True, return_counts=True
    )
    order = labels.argsort(stable=True)
    order = order[(counts >= SMALLEST)[labels[order]]]
    if not len(order):
        raise DataError(
            f"None of {len(labels)} samples shares its class with another, but a distance needs "
            "two of a class: draw more samples, or of fewer classes."
        )
    return Classes(
        features=features.double()[order],
        counts=tuple(counts[counts >= SMALLEST].tolist()),
    )
