"""Maximum mean discrepancy (MMD), squared: a distance between samples by a kernel.

    MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y)

Gretton et al., "A Kernel Two-Sample Test", JMLR 13 (2012), Lemma 6. The kernels, as functions of D
= |x - y|^2, are

    rbf_mix     sum over i of exp(-D / b_i), with b_i = b 2^(i - K // 2) and i = 0 .. K - 1
    rbf_single  exp(-D / b)
    imq         b / (b + D)
    linear      x . y, so that MMD is the distance of the means

The bandwidth b is the mean (or median) of D over the pairs of the pooled sample. It has no
gradient. ORCA's code minimises `rbf_mix` with five kernels and the mean. This kernel is a sum, not
a mean, so that the squared MMD is at most 10.

Shapes: n, m = points; d = features; k = kernels; "" = scalar.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from trainables.distances.euclidean import squared_distances
from trainables.errors import DataError

__all__ = ["Bandwidth", "Kernel", "gram", "mmd", "pooled_bandwidth"]

Kernel = Literal["rbf_mix", "rbf_single", "imq", "linear"]
Bandwidth = Literal["mean", "median"]


def mmd(
    source: Float[Tensor, "n d"],
    target: Float[Tensor, "m d"],
    *,
    kernel: Kernel = "rbf_mix",
    bandwidth: Bandwidth = "mean",
    bandwidth_scale: float = 1.0,
    num_kernels: int = 5,
    unbiased: bool = False,
) -> Float[Tensor, ""]:
    """Estimate the squared MMD between the distributions of `source` and `target`.

    It has no unit, except for `linear`, whose unit is the square of the points' unit.

    Args:
        source: Points of one sample.
        target: Points of the other sample.
        kernel: Kernel, see the module's table.
        bandwidth: Definition of b.
        bandwidth_scale: Factor of b.
        num_kernels: K of `rbf_mix`; other kernels ignore it.
        unbiased: Exclude the pairs of a point with itself. The expected value is then zero for
            equal distributions, and single values can be negative.

    Raises:
        ValueError: A sample is too small, or a bandwidth or number of kernels is not positive.
        DataError: `bandwidth` is `median` and is zero although the points are not all equal.
    """
    smallest = 2 if unbiased else 1
    if min(len(source), len(target)) < smallest:
        raise ValueError(
            f"MMD needs {smallest} or more points in each sample ({unbiased=}), but got "
            f"{len(source)} and {len(target)}."
        )
    b = bandwidth_scale * pooled_bandwidth(source, target, bandwidth) if kernel != "linear" else 1.0

    def mean(x: Tensor, y: Tensor) -> Tensor:
        return gram(x, y, kernel=kernel, bandwidth=b, num_kernels=num_kernels).mean()

    def mean_within(x: Tensor) -> Tensor:
        values, n = gram(x, x, kernel=kernel, bandwidth=b, num_kernels=num_kernels), len(x)
        return (values.sum() - values.trace()) / (n * (n - 1)) if unbiased else values.mean()

    return mean_within(source) + mean_within(target) - 2 * mean(source, target)


def gram(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    *,
    kernel: Kernel,
    bandwidth: Float[Tensor, ""] | float,
    num_kernels: int = 5,
) -> Float[Tensor, "n m"]:
    """Return the matrix k(x_i, y_j).

    Raises:
        ValueError: `bandwidth` or `num_kernels` is not positive.
    """
    if not bandwidth > 0 or num_kernels < 1:
        raise ValueError(
            f"A kernel needs `bandwidth > 0` and `num_kernels >= 1`, but got {bandwidth=} and "
            f"{num_kernels=}."
        )
    match kernel:
        case "linear":
            return x @ y.T
        case "imq":
            return bandwidth / (bandwidth + squared_distances(x, y))
        case "rbf_single":
            return (-squared_distances(x, y) / bandwidth).exp()
        case "rbf_mix":
            scaled = squared_distances(x, y) / bandwidth
            values = torch.zeros_like(scaled)
            for i in range(num_kernels):
                values = values + (-scaled * 2.0 ** (num_kernels // 2 - i)).exp()
            return values


@torch.no_grad()
def pooled_bandwidth(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], bandwidth: Bandwidth
) -> Float[Tensor, ""]:
    """Return b of the pooled sample, without a graph; 1 if all points are equal.

    Raises:
        DataError: `bandwidth` is `median` and is zero although the points are not all equal.
    """
    pooled = torch.cat([x, y])
    n = len(pooled)
    centred = pooled - pooled.mean(0)
    # The mean of D over pairs of different points is 2 n / (n - 1) times the variance. This
    # identity avoids the n x n matrix of distances.
    mean = 2 * centred.square().sum() / max(n - 1, 1)
    # All points are equal, and any positive bandwidth gives the same kernel matrix.
    if not mean > 0:
        return torch.ones_like(mean)
    if bandwidth == "mean":
        return mean
    # Squares keep the order of distances, so that the median of D is the square of their median.
    median = functional.pdist(centred).median().square()
    if not median > 0:
        raise DataError(
            "Half of the pairs of features are equal. Their median distance is zero and cannot be "
            "the bandwidth. Take the `mean`."
        )
    return median
