"""Exact optimal transport from one uniform measure to each of several, by the network simplex.

    OT(a, b) = min over plans P of <P, C>,  P 1 = a,  P' 1 = b

Bonneel et al., "Displacement Interpolation Using Lagrangian Mass Transport", SIGGRAPH Asia 2011, in
the implementation of POT. By the envelope theorem the gradient by C is the optimal plan. The plan
is computed once and is a constant, so that the solver is not differentiated.

Shapes: n = points of a; m = points of all b, one measure after the other; k = measures b.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import ot
import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["TransportCosts", "exact_costs", "stacked", "sums_of_measures"]

MAX_PIVOTS = 10_000_000  # 5000 points sometimes need about 2e6


@dataclass(frozen=True, eq=False)
class TransportCosts:
    """Differentiable costs of any shape, and whether the solver converged for all of them."""

    values: Float64[Tensor, "..."]
    converged: bool


def stacked(costs: Sequence[TransportCosts]) -> TransportCosts:
    """Stack costs along a new first axis."""
    values = torch.stack([cost.values for cost in costs])
    return TransportCosts(values, all(cost.converged for cost in costs))


def exact_costs(cost: Float64[Tensor, "n m"], counts: Sequence[int]) -> TransportCosts:
    """Return OT(a, b_k) of each measure b_k, in units of the costs.

    Args:
        cost: Costs C of all measures; the columns of each measure follow one another.
        counts: Number of points of each measure.
    """
    solved = [_plan(block.numpy(force=True)) for block in torch.split(cost, list(counts), 1)]
    plan = np.concatenate([plan for plan, _ in solved], 1)
    moved = torch.from_numpy(plan).to(cost.device) * cost
    return TransportCosts(sums_of_measures(moved, counts), all(optimal for _, optimal in solved))


def sums_of_measures(x: Float64[Tensor, "n m"], counts: Sequence[int]) -> Float64[Tensor, " k"]:
    """Return the sum over the columns of each measure."""
    return torch.stack([block.sum() for block in torch.split(x, list(counts), 1)])


def _plan(cost: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the optimal plan, and whether the solver proved its optimality."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the log has the same text
        uniform = (np.full(size, 1 / size) for size in cost.shape)
        plan, log = ot.emd(*uniform, cost, numItermax=MAX_PIVOTS, log=True)
    return plan, log["warning"] is None
