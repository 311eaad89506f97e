"""Euclidean distances: between all points of two samples, and two between the samples.

    squared |x_i - y_j|^2 = |x_i|^2 + |y_j|^2 - 2 x_i . y_j, by one matrix product, taken about the
            mean of x, where the terms that cancel are smallest. Unlike a distance, it has a
            gradient where two points coincide: zero.
    means   |mean x - mean y|, the square root of the MMD with a linear kernel
    pairs   mean |x_i - y_p(i)| over random pairings p, ORCA's "l2": a noisy upper bound of the
            Wasserstein distance W_1, above zero for equal samples. Its code divides by all batches
            of the source, the last, incomplete one too, which it skips: its value is floor(n / m) /
            ceil(n / m) of ours.

Shapes: n, m = points; d = features; "" = scalar.
"""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["distance_of_means", "mean_paired_distance", "squared_distances"]


def distance_of_means(
    source: Float[Tensor, "n d"], target: Float[Tensor, "m d"]
) -> Float[Tensor, ""]:
    """Return the distance of the means; its gradient is zero where they coincide."""
    distance: Tensor = torch.linalg.vector_norm(source.mean(0) - target.mean(0))
    return distance


def mean_paired_distance(
    source: Float[Tensor, "n d"], target: Float[Tensor, "m d"], *, generator: torch.Generator
) -> Float[Tensor, ""]:
    """Return the mean distance of random pairs, each source point in one pair at most.

    The source is shuffled and cut into batches as large as the target; a rest that does not fill a
    batch is left out. Each batch is paired with the target in an order of its own.

    Args:
        generator: On the CPU; decides the pairs.
    """
    size = min(len(source), len(target))
    order = torch.randperm(len(source), generator=generator)
    rounds = len(source) // size
    partners = [torch.randperm(len(target), generator=generator)[:size] for _ in range(rounds)]
    left = source[order[: rounds * size].to(source.device)]
    right = target[torch.cat(partners).to(target.device)]
    distances: Tensor = torch.linalg.vector_norm(left - right, dim=1)
    return distances.mean()


def squared_distances(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Return |x_i - y_j|^2, never below zero."""
    centre = x.detach().mean(0)
    x, y = x - centre, y - centre
    norms = x.square().sum(1)[:, None] + y.square().sum(1)
    return torch.addmm(norms, x, y.T, alpha=-2).clamp_min(0)
