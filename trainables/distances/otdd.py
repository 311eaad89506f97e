"""Optimal transport dataset distance (OTDD) between labelled samples of two modalities.

    OTDD = min over plans P of sum_ij P_ij c_ij
    c_ij = |x_i - x'_j|^2 / 2 + label_weight W(y_i, y'_j) / 2

W(y, y') is the squared Wasserstein distance between the samples of class y and those of class y'
(statistics.py, gaussian.py). Alvarez-Melis and Fusi, "Geometric Dataset Distances via Optimal
Transport", NeurIPS 2020. ORCA minimises OTDD over the target's embedder. As in the official code,
there is no root, and both terms have a factor of 1 / 2.

The gradient is that of the value, including the label term, which has no gradient in the official
code. With `sinkhorn` both levels are Sinkhorn divergences, so that equal sides have distance zero.

Shapes: m = samples; d = features; "" = scalar.
"""

from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor

from trainables.distances.euclidean import squared_distances
from trainables.distances.gaussian import gaussian_distances
from trainables.distances.optimal_transport import TransportCosts, exact_costs
from trainables.distances.sinkhorn import entropic_costs
from trainables.distances.statistics import Statistics, by_class, ground_cost, prepare
from trainables.errors import NonFiniteLoss

__all__ = ["Distance", "Statistics", "otdd", "prepare"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Distance:
    """Value of a distance, and the convergence of its solvers."""

    value: Float[Tensor, ""]  # in the target features' dtype, with their graph
    converged: bool  # whether all solvers converged; if not, the value is not comparable


def otdd(
    source: Statistics,
    features: Float[Tensor, "m d"],
    labels: Int[Tensor, " m"],
    *,
    label_weight: float = 1.0,
    detach_label_term: bool = False,
) -> Distance:
    """Return the distance of target samples from the source, differentiable in `features`.

    Its unit is the square of the features' unit. Labels identify classes within one side. The
    labels of different sides are unrelated.

    Args:
        source: Statistics of the source samples, which hold the settings.
        features: Features of the target samples, in the space of the source features.
        labels: Class of each target sample.
        label_weight: Weight of W. With 0 the distance is half the squared Wasserstein distance of
            the features.
        detach_label_term: Omit the gradient through W, as in the official code.

    Raises:
        ValueError: `label_weight` is negative.
        NonFiniteLoss: Features are NaN or infinite.
        DataError: No two samples are of one class.
    """
    if not label_weight >= 0:
        raise ValueError(f"`label_weight >= 0` must hold, but got {label_weight=}.")
    if not features.isfinite().all():
        raise NonFiniteLoss("Embedded target features are NaN or infinite: lower the rate.")
    classes = by_class(features, labels)
    # The target's samples move at every call: the source's cache must not hold their costs.
    target = replace(source, classes=classes, cache=None)
    squared = squared_distances(source.classes.features, classes.features)
    between = _between_classes(source, target, squared)
    w = between.values.detach() if detach_label_term else between.values
    cost = ground_cost(squared, w, source.classes.counts, classes.counts, label_weight)
    sizes = (len(cost),), (len(classes.features),)
    if source.solver == "emd":
        costs = [exact_costs(cost, *sizes)]
        value = costs[0].values[0, 0]
    else:
        # A Sinkhorn divergence: half of the cost of each side to itself removes the entropic bias.
        own = target.self_cost(label_weight, detach_label_term=detach_label_term)
        costs = [entropic_costs(cost, *sizes, source.entreg), source.self_cost(label_weight), own]
        value = costs[0].values[0, 0] - (costs[1].values + costs[2].values) / 2
    return Distance(
        value=value.to(features.dtype),
        converged=between.converged and all(cost.converged for cost in costs),
    )


def _between_classes(source: Statistics, target: Statistics, squared: Tensor) -> TransportCosts:
    """Return W of all pairs of a source class and a target class."""
    if source.method == "gaussian":
        return TransportCosts(gaussian_distances(source.gaussians, target.gaussians), True)
    sizes, counts = source.classes.counts, target.classes.counts
    if source.solver == "emd":
        return exact_costs(squared, sizes, counts)
    costs = entropic_costs(squared, sizes, counts, source.entreg)
    alone = source.class_self_costs, target.class_self_costs
    values = costs.values - alone[0].values[:, None] / 2 - alone[1].values / 2
    return TransportCosts(values, costs.converged and all(side.converged for side in alone))
