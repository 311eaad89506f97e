"""Squared Euclidean distances between all points of two samples, by one matrix product.

    |x - y|^2 = |x|^2 + |y|^2 - 2 x . y

taken about the mean of x, where the terms that cancel are smallest. Unlike a distance, it has a
gradient where two points coincide: zero.

Shapes: n, m = points; d = features.
"""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["squared_distances"]


def squared_distances(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Returns |x_i - y_j|^2, never below zero."""
    centre = x.detach().mean(0)
    x, y = x - centre, y - centre
    norms = x.square().sum(1)[:, None] + y.square().sum(1)
    return torch.addmm(norms, x, y.T, alpha=-2).clamp_min(0)
