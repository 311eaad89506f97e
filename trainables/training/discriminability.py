"""Separation of labelled classes by features: the outer loss of MoNA's first stage.

    align   = mean over pairs i < j with y_i = y_j of |z_i - z_j|^2          in [0, 4]
    uniform = log mean over all pairs i < j of exp(-2 |z_i - z_j|^2)         in [-8, 0]

z are the features, scaled to length 1. Both terms decrease if classes contract and move apart, so
their sum is minimised. Wang and Isola, "Understanding Contrastive Representation Learning through
Alignment and Uniformity on the Hypersphere", ICML 2020.

Both signs are plus. MoNA's formula is sometimes printed with two minus signs. Minimising that
version spreads the samples of each class and separates nothing. The scaling is part of the
definition: without it, `uniform` underflows to -inf for features of a thousand dimensions.

Shapes: n = samples; d = features; "" = scalar.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

__all__ = ["Discriminability", "alignment", "discriminability", "uniformity"]

SHARPNESS = 2.0  # factor in the exponent of the Gaussian potential


class Discriminability(NamedTuple):
    """Alignment and uniformity; `loss` is their sum, which is minimised."""

    alignment: Tensor
    uniformity: Tensor

    @property
    def loss(self) -> Tensor:
        return self.alignment + self.uniformity


def discriminability(features: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Discriminability:
    """Return alignment and uniformity of features. The norm of the features has no effect.

    Raises:
        ValueError: There are fewer than two samples, so that there is no pair.
    """
    return Discriminability(alignment(features, labels), uniformity(features))


def alignment(features: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Return the mean squared distance within classes; 0, with a gradient, if no samples share one.

    Raises:
        ValueError: There are fewer than two samples, so that there is no pair.
    """
    first, second = _pairs(features)
    same = (labels[first] == labels[second]).to(features.dtype)
    return (same * _squared_distances(features)).sum() / same.sum().clamp_min(1)


def uniformity(features: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Return the log of the mean Gaussian potential between samples.

    Raises:
        ValueError: There are fewer than two samples, so that there is no pair.
    """
    exponents = -SHARPNESS * _squared_distances(features)
    return torch.logsumexp(exponents, dim=0) - math.log(len(exponents))


def _squared_distances(features: Tensor) -> Tensor:
    """Return |z_i - z_j|^2 = 2 - 2 z_i . z_j of all pairs i < j."""
    z = functional.normalize(features, dim=1)
    first, second = _pairs(features)
    return 2 - 2 * (z @ z.T)[first, second]


def _pairs(features: Tensor) -> tuple[Tensor, Tensor]:
    n = len(features)
    if n < 2:
        raise ValueError(f"Two samples or more form a pair, but got {n}. Use a larger batch.")
    first, second = torch.triu_indices(n, n, offset=1, device=features.device)
    return first, second
