"""Entropic optimal transport from one uniform measure to each of several.

    OT_e(a, b) = min over P of <P, C> + e KL(P | a b') = max over g of <f, a> + <g, b>
    P_ij = a_i b_j exp((f_i + g_j - C_ij) / e),    f such that P 1 = a

Cuturi, NeurIPS 2013. Subtracting half of the cost of each measure to itself gives the Sinkhorn
divergence, which is zero for equal measures (Feydy et al., AISTATS 2019). For small e Sinkhorn's
own iteration needs tens of thousands of steps. g is therefore computed by a damped Newton method,
while e decreases to its final value (cf. Brauer et al., "A Sinkhorn-Newton Method for Entropic
Optimal Transport", arXiv 1710.06635):

    (diag(P' 1) - P' diag(1 / a) P) dg = e (b - P' 1)

The cost of a measure to itself has f = g, for which averaged Sinkhorn steps are sufficient. By the
envelope theorem the gradient by C is the plan.

Shapes: n = points of a; m = points of all b, one measure after the other; k = measures b.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from trainables.distances.optimal_transport import TransportCosts, sums_of_measures

__all__ = ["entropic_costs", "entropic_self_cost"]

TOLERANCE = 1e-7  # largest error of the marginals, in total variation; the mass is 1
CLOSE = 1e-2  # the same, while e decreases
STEPS, FEW_STEPS = 200, 10  # largest number of Newton steps: at the last e, and before
TURNS = 1000  # largest number of averaged Sinkhorn steps
NEGLIGIBLE = -500.0  # log of a mass that is set to 0: subnormal numbers slow down products


class _State(NamedTuple):
    """Dual variable g and the quantities that follow from it. The row sums of the plan are
    exact."""

    g: Float64[Tensor, " m"]
    f: Float64[Tensor, "n k"]
    plan: Float64[Tensor, "n m"]
    missing: Float64[Tensor, " m"]  # missing mass of the columns, b - P' 1
    error: float  # largest error of a measure's marginal, in total variation


def entropic_costs(
    cost: Float64[Tensor, "n m"], counts: Sequence[int], entreg: float
) -> TransportCosts:
    """Return OT_e(a, b_k) of each measure b_k, in units of the costs.

    Args:
        cost: Costs C of all measures; the columns of each measure follow one another.
        counts: Number of points of each measure.
        entreg: e, in units of the costs.
    """
    plan, values, converged = _solve(cost.detach(), counts, entreg)
    moved = sums_of_measures(plan * cost, counts)
    return TransportCosts(values + moved - moved.detach(), converged)


def entropic_self_cost(cost: Float64[Tensor, "n n"], entreg: float) -> TransportCosts:
    """Return OT_e(a, a) for a symmetric cost, in units of the costs.

    Args:
        cost: Symmetric costs C.
        entreg: e, in units of the costs.
    """
    plan, value, converged = _solve_symmetric(cost.detach(), entreg)
    moved = (plan * cost).sum()
    return TransportCosts(value + moved - moved.detach(), converged)


@torch.no_grad()
def _solve(cost: Tensor, counts: Sequence[int], entreg: float) -> tuple[Tensor, Tensor, bool]:
    sizes = torch.tensor(counts, device=cost.device)
    b = (1 / sizes.to(cost)).repeat_interleave(sizes)

    def state(g: Tensor, e: float) -> _State:
        exponents = (g - cost) / e + b.log()
        blocks = torch.split(exponents, list(counts), 1)
        f = -e * torch.stack([block.logsumexp(1) for block in blocks], 1)
        exponents += (f / e - math.log(len(cost))).repeat_interleave(sizes, 1)
        plan = exponents.masked_fill_(exponents < NEGLIGIBLE, -torch.inf).exp_()
        missing = b - plan.sum(0)
        error = sums_of_measures(missing.abs()[None], counts).max().item()
        return _State(g, f, plan, missing, error)

    # Newton's method converges fast only near the solution. The solution for one e is therefore the
    # start for the next one. A rejected step increases the damping, an accepted step decreases it.
    g = torch.zeros_like(b)
    for e in _annealed(cost, entreg):
        last = e == entreg
        goal, steps = (TOLERANCE, STEPS) if last else (CLOSE, FEW_STEPS)
        best, damping = state(g, e), 1.0
        for _ in range(steps):
            if best.error <= goal:
                break
            step = e * _newton_step(best, b, counts, damping * best.error)
            tried = state(best.g + step, e)
            better = tried.error < best.error
            best, damping = (tried, max(damping / 4, 1.0)) if better else (best, 4 * damping)
        g = best.g
    values = best.f.mean(0) + sums_of_measures((b * g)[None], counts)
    return best.plan, values, best.error <= TOLERANCE


def _newton_step(state: _State, b: Tensor, counts: Sequence[int], damping: float) -> Tensor:
    """Return dg / e.

    Constants are the kernel of the system, and leave the plan unchanged. They are fixed at zero.
    """
    steps = []
    parts = (torch.split(part, list(counts), -1) for part in (state.plan, state.missing, b))
    for plan, missing, mass in zip(*parts, strict=True):
        # The outer product makes the system regular, and the damping bounds the step.
        hessian = torch.outer(mass, mass) - len(plan) * plan.T @ plan
        hessian += torch.diag((1 + damping) * mass - missing)
        steps.append(torch.linalg.solve(hessian, missing))
    return torch.cat(steps)


@torch.no_grad()
def _solve_symmetric(cost: Tensor, entreg: float) -> tuple[Tensor, Tensor, bool]:
    def update(f: Tensor, e: float) -> Tensor:
        return -e * (((f - cost) / e).logsumexp(1) - math.log(len(cost)))

    # The mean of two successive steps converges quickly, because the problem is symmetric.
    f = torch.zeros_like(cost[0])
    for e in _annealed(cost, entreg):
        f = (f + update(f, e)) / 2
    for _ in range(TURNS):
        updated = update(f, entreg)
        error = (((f - updated) / entreg).exp() - 1).abs().mean().item()
        if error <= TOLERANCE:
            break
        f = (f + updated) / 2
    plan = ((f[:, None] + f - cost) / entreg - 2 * math.log(len(cost))).exp()
    return plan, 2 * f.mean(), error <= TOLERANCE


def _annealed(cost: Tensor, entreg: float) -> Iterator[float]:
    """Yield decreasing values of e, from the range of the costs to `entreg`."""
    e = (cost.max() - cost.min()).item()
    while e > entreg:
        yield e
        e /= 2
    yield entreg
