"""Squared Wasserstein distance between classes that are approximated by Gaussians.

    W_2^2 = |m - m'|^2 + tr S + tr S' - 2 tr (S^1/2 S' S^1/2)^1/2

Dowson and Landau, J. Multivariate Analysis 12 (1982). S is the covariance of a class, divided by
the number of its samples. The distance is therefore at most that of the samples themselves
(Gelbrich, Math. Nachrichten 147 (1990)). A shrinkage r moves S towards the multiple of the identity
with the same trace:

    S <- (1 - r) S + r (tr S / d) 1

Shapes: n = samples; d = features; c = classes; r = samples of the largest class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64
from torch import Tensor

from trainables.distances.bures import Covariances, Spectra, cross_terms
from trainables.distances.euclidean import squared_distances

__all__ = ["Gaussians", "fit_gaussians", "gaussian_distances", "gaussian_distances_within"]


@dataclass(frozen=True, eq=False)
class Gaussians:
    """One Gaussian for each class, with a graph if the samples have one."""

    means: Float64[Tensor, "c d"]
    traces: Float64[Tensor, " c"]
    covariances: Covariances

    @cached_property
    def spectra(self) -> Spectra:
        """The covariances by eigenvalues, without a graph; computed at the first use."""
        factors, ridges = self.covariances.factors.detach(), self.covariances.ridges.detach()
        _, sizes, basis = torch.linalg.svd(factors, full_matrices=False)
        return Spectra(sizes.square(), basis, ridges)


def fit_gaussians(
    features: Float64[Tensor, "n d"], counts: Sequence[int], shrinkage: float
) -> Gaussians:
    """Fit one Gaussian to each class.

    Args:
        features: Samples, sorted by class.
        counts: Number of samples of each class.
        shrinkage: r, in [0, 1].
    """
    sizes, points = torch.tensor(counts)[:, None], torch.arange(max(counts))
    exists = points < sizes
    # Classes are padded to the largest one, [c, r, d]. The first sample stands in for missing ones,
    # with the weight 0.
    places = (sizes.cumsum(0) - sizes + points).where(exists, 0)
    weights = (exists.double() / sizes).to(features.device)[:, :, None]
    classes = features.index_select(0, places.flatten().to(features.device))
    classes = classes.view(*places.shape, -1)
    means = (classes * weights).sum(1)
    factors = (classes - means[:, None]) * weights.sqrt()
    traces = factors.square().sum((1, 2))
    ridges = shrinkage * traces / features.shape[1]
    return Gaussians(means, traces, Covariances((1 - shrinkage) ** 0.5 * factors, ridges))


def gaussian_distances(source: Gaussians, target: Gaussians) -> Float64[Tensor, "c1 c2"]:
    """Return W_2^2 of all pairs, differentiable in `target`; `source` is a constant."""
    return _distances(source, target, cross_terms(source.spectra, target.covariances))


def gaussian_distances_within(gaussians: Gaussians) -> Float64[Tensor, "c c"]:
    """Return W_2^2 of all pairs of one side, differentiable in both Gaussians of a pair."""
    cross = cross_terms(gaussians.spectra, gaussians.covariances)
    # `cross` is differentiable in its second side only. Its transpose adds the gradient by the
    # first side, and the detached transpose keeps the value.
    return _distances(gaussians, gaussians, cross + cross.T - cross.T.detach())


def _distances(one: Gaussians, two: Gaussians, cross: Tensor) -> Tensor:
    apart = squared_distances(one.means, two.means)
    return apart + one.traces[:, None] + two.traces - 2 * cross
