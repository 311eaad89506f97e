"""Euclidean distances: one between all pairs of points, and two between samples.

    squared |x_i - y_j|^2 = |x_i|^2 + |y_j|^2 - 2 x_i . y_j, by one matrix product. The points are
            centred at the mean of x, which reduces cancellation. Unlike a distance, it has a
            gradient if two points coincide: zero.
    means   |mean x - mean y|, the square root of the MMD with a linear kernel
    pairs   mean |x_i - y_p(i)| over random pairings p, ORCA's "l2". It is a noisy upper bound of
            the Wasserstein distance W_1, and is above zero for equal samples. ORCA's code divides
            by the number of all batches of the source, but skips an incomplete last batch. Its
            value is floor(n / m) / ceil(n / m) times that of this module.

Source of `pairs`: the code of Shen et al., ICML 2023 (ORCA).

Shapes: n, m = points; d = features; "" = scalar.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Form", "distance_of_means", "euclidean", "mean_paired_distance", "squared_distances"]

Form = Literal["means", "pairs"]


def euclidean(
    source: Float[Tensor, "n d"],
    target: Float[Tensor, "m d"],
    *,
    form: Form = "means",
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """Return the distance of the means, or the mean over random pairs."""
    if form == "means":
        return distance_of_means(source, target)
    return mean_paired_distance(source, target, generator=generator)


def distance_of_means(
    source: Float[Tensor, "n d"], target: Float[Tensor, "m d"]
) -> Float[Tensor, ""]:
    """Return the distance of the means. Its gradient is zero if they coincide."""
    distance: Tensor = torch.linalg.vector_norm(source.mean(0) - target.mean(0))
    return distance


def mean_paired_distance(
    source: Float[Tensor, "n d"], target: Float[Tensor, "m d"], *, generator: torch.Generator
) -> Float[Tensor, ""]:
    """Return the mean distance of random pairs. Each source point is in at most one pair.

    The source is shuffled and divided into batches of the size of the target. An incomplete batch
    is left out. Each batch is paired with the target in a different random order.

    Args:
        source: Source points.
        target: Target points.
        generator: Generator of the pairs, on the CPU.
    """
    size = min(len(source), len(target))
    # All numbers are drawn on the CPU, so that the pairs are the same on every device.
    order = torch.randperm(len(source), generator=generator)
    rounds = len(source) // size
    partners = [torch.randperm(len(target), generator=generator)[:size] for _ in range(rounds)]
    left = source[order[: rounds * size].to(source.device)]
    right = target[torch.cat(partners).to(target.device)]
    distances: Tensor = torch.linalg.vector_norm(left - right, dim=1)
    return distances.mean()


def squared_distances(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Return |x_i - y_j|^2 of all pairs, at least zero."""
    # The distances do not depend on the centre, so that no gradient has to pass through it.
    centre = x.detach().mean(0)
    x, y = x - centre, y - centre
    norms = x.square().sum(1)[:, None] + y.square().sum(1)
    return torch.addmm(norms, x, y.T, alpha=-2).clamp_min(0)
