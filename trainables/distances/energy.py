"""Energy distance between samples.

    E = 2 mean |x_i - y_j| - mean |x_i - x_j| - mean |y_i - y_j|

Székely and Rizzo, "Energy statistics: a class of statistics based on distances", J. Statistical
Planning and Inference 143 (2013). The means are over all pairs, including each point with itself.
E is then at least zero, and is zero only for equal empirical distributions. It is the squared MMD
of the kernel -|x - y|: it has no bandwidth, and it has the unit of the features.

As an estimate of the distance of the distributions it is biased: its expected value exceeds the
distance by E|x - x'| / n + E|y - y'| / m, with independent points of one distribution. In a small
batch the last term also rewards a narrow target. `align.mmd_unbiased` is for MMD alone.

Shapes: n, m = points; d = features; "" = scalar.
"""

from jaxtyping import Float
from torch import Tensor

from trainables.distances.euclidean import squared_distances

__all__ = ["energy"]


def energy(source: Float[Tensor, "n d"], target: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    """Return the energy distance. Points that coincide have a gradient of zero."""
    # The root has its largest gradient at close points, whose distance float32 does not resolve.
    x, y = source.double(), target.double()
    value = 2 * _mean_distance(x, y) - _mean_distance(x, x) - _mean_distance(y, y)
    return value.to(target.dtype)


def _mean_distance(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    squared = squared_distances(x, y)
    # The root has an infinite gradient at 0, and 0 times infinity is NaN. The inner `where` keeps
    # zeros out of the root, the outer one gives them the value 0.
    apart = squared > 0
    return squared.where(apart, 1).sqrt().where(apart, 0).mean()
