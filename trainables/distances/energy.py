"""Energy distance between samples.

    E = 2 mean |x_i - y_j| - mean |x_i - x_j| - mean |y_i - y_j|

Székely and Rizzo, "Energy statistics: a class of statistics based on distances", J. Statistical
Planning and Inference 143 (2013). The means are over all pairs, including those of a point with
itself. E is then at least zero, and is zero only for equal samples. It is the squared MMD of the
kernel -|x - y|: it has no bandwidth, and its unit is that of the features.

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
    apart = squared > 0
    return squared.where(apart, 1).sqrt().where(apart, 0).mean()
