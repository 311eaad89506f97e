"""Exact optimal transport between uniform measures, by the network simplex.

    OT(a, b) = min over plans P of <P, C>,  P 1 = a,  P' 1 = b

Bonneel et al., "Displacement Interpolation Using Lagrangian Mass Transport", SIGGRAPH Asia 2011, in
the implementation of POT. By the envelope theorem the gradient by C is the optimal plan. The plan
is computed once and is a constant, so that the solver is not differentiated.

Shapes: n = points of all a; m = points of all b, one measure after the other; j = measures a; k =
measures b.
"""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["TransportCosts", "exact_costs"]

MAX_PIVOTS = 10_000_000  # 5000 points sometimes need about 2e6


@dataclass(frozen=True, eq=False)
class TransportCosts:
    """Differentiable costs of any shape, and whether the solver converged for all of them."""

    values: Float64[Tensor, "..."]
    converged: bool


def exact_costs(
    cost: Float64[Tensor, "n m"], sizes: Sequence[int], counts: Sequence[int]
) -> TransportCosts:
    """Return OT(a_j, b_k) of all pairs [j, k], in units of the costs.

    The solver runs on the CPU, in as many threads as torch has there. All costs are copied at once,
    and so are the plans, since each copy makes a GPU wait.

    Args:
        cost: Costs C of all measures; the points of each measure follow one another.
        sizes: Number of points of each measure a.
        counts: Number of points of each measure b.
    """
    on_cpu = cost.numpy(force=True)
    bands = np.split(on_cpu, np.cumsum(sizes)[:-1])
    blocks = [block for band in bands for block in np.split(band, np.cumsum(counts)[:-1], axis=1)]
    with warnings.catch_warnings(), ThreadPoolExecutor(torch.get_num_threads()) as pool:
        warnings.simplefilter("ignore")  # the log has the same text
        solved = list(pool.map(_plan, blocks))
    plans = (plan for plan, _ in solved)
    # The plans are put together in the order in which `blocks` was cut: bands, then columns.
    plan = np.block([[next(plans) for _ in counts] for _ in sizes])
    moved = torch.split(torch.from_numpy(plan).to(cost.device) * cost, list(sizes))
    values = torch.stack([sums_of_measures(band, counts) for band in moved])
    return TransportCosts(values, all(optimal for _, optimal in solved))


def sums_of_measures(x: Float64[Tensor, "n m"], counts: Sequence[int]) -> Float64[Tensor, " k"]:
    """Return the sum over the columns of each measure."""
    return torch.stack([block.sum() for block in torch.split(x, list(counts), 1)])


def _plan(cost: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the optimal plan, and whether the solver proved its optimality."""
    import ot  # here, since it is slow to import, and few trials need it

    uniform = (np.full(size, 1 / size) for size in cost.shape)
    plan, log = ot.emd(*uniform, cost, numItermax=MAX_PIVOTS, log=True)
    return plan, log["warning"] is None
