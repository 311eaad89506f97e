"""Entropic optimal transport between uniform measures: many pairs of them at once.

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

Pairs of similar sizes are one batch: points of mass zero pad the smaller measures. Each pair has
its own e and damping. A pair that converged no longer changes, and leaves the batch.

Shapes: n = points of all a; m = points of all b, one measure after the other; j = measures a; k =
measures b; p = pairs; r, q = points of the largest a and b of a batch.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from trainables.distances.optimal_transport import TransportCosts

__all__ = ["entropic_costs", "entropic_self_costs"]

TOLERANCE = 1e-7  # largest error of the marginals, in total variation; the mass is 1
EXACT = 1e-10  # the same, at which no step follows
CLOSE = 1e-2  # the same, while e decreases
STEPS, FEW_STEPS = 200, 10  # largest number of Newton steps: at the last e, and before
TURNS = 1000  # largest number of averaged Sinkhorn steps
NEGLIGIBLE = -500.0  # log of a mass that is set to 0: subnormal numbers slow down products

ALIKE = 2  # the largest measure of a batch has less than this multiple of the smallest's points
BATCH, GPU_BATCH = 2**16, 2**24  # largest number of costs of a batch of several pairs
LOOK = 4  # iterations between two looks at a GPU for pairs that converged: each look is a wait


class _Pairs(NamedTuple):
    """Pairs of measures; padded points have the mass 0."""

    cost: Float64[Tensor, "p r q"]
    a: Float64[Tensor, "p r"]
    b: Float64[Tensor, "p q"]

    def span(self) -> Float64[Tensor, " p"]:
        """Return the range of the costs of each pair."""
        exists = (self.a > 0)[:, :, None] & (self.b > 0)[:, None]
        largest = self.cost.masked_fill(~exists, -torch.inf).amax((1, 2))
        return largest - self.cost.masked_fill(~exists, torch.inf).amin((1, 2))


def entropic_costs(
    cost: Float64[Tensor, "n m"],
    sizes: Sequence[int],
    counts: Sequence[int],
    entreg: float,
    *,
    within: bool = False,
) -> TransportCosts:
    """Return OT_e(a_j, b_k) of all pairs [j, k], in units of the costs.

    Args:
        cost: Costs C of all measures; the points of each measure follow one another.
        sizes: Number of points of each measure a.
        counts: Number of points of each measure b.
        entreg: e, in units of the costs.
        within: Whether the measures a are the measures b. Each pair of two of them is then solved
            once, and the other entry and the diagonal are 0.
    """
    rows, columns = range(len(sizes)), range(len(counts))
    # Of the two orders of a pair, the larger measure comes first: Newton's system is that of the
    # second one.
    pairs = [(j, k) for j in rows for k in columns if not within or (sizes[j], j) > (sizes[k], k)]
    return _costs(cost, sizes, counts, pairs, lambda each: _solve(each, entreg))


def entropic_self_costs(
    cost: Float64[Tensor, "n n"], counts: Sequence[int], entreg: float
) -> TransportCosts:
    """Return OT_e(a_k, a_k) of each measure [k] for a symmetric cost, in units of the costs.

    Args:
        cost: Symmetric costs C of all measures; the points of each measure follow one another.
        counts: Number of points of each measure.
        entreg: e, in units of the costs.
    """
    pairs = [(k, k) for k in range(len(counts))]
    costs = _costs(cost, counts, counts, pairs, lambda each: _solve_symmetric(each, entreg))
    return TransportCosts(costs.values.diagonal(), costs.converged)


class _Solution(NamedTuple):
    plan: Float64[Tensor, "p r q"]
    values: Float64[Tensor, " p"]
    errors: Float64[Tensor, " p"]  # of the marginals, in total variation


def _costs(
    cost: Tensor,
    sizes: Sequence[int],
    counts: Sequence[int],
    pairs: Sequence[tuple[int, int]],
    solve: Callable[[_Pairs], _Solution],
) -> TransportCosts:
    """Return the costs of the given pairs [j, k], and 0 for the others."""
    constant, (n, m) = cost.detach(), cost.shape
    values = constant.new_zeros(len(sizes) * len(counts))
    plan = constant.new_zeros(n + 1, m + 1)  # the last row and column take what padded points have
    errors = []
    for places, rows, columns in _batches(sizes, counts, pairs, cost.device):
        at = rows[:, :, None], columns[:, None]
        # Padded points read an arbitrary cost, which their mass of 0 makes irrelevant.
        read = at[0].clamp_max(n - 1), at[1].clamp_max(m - 1)
        masses = (_uniform(index < end) for index, end in ((rows, n), (columns, m)))
        solved = solve(_Pairs(constant[read], *masses))
        plan[at], values[places] = solved.plan, solved.values
        errors.append(solved.errors)
    # The value is that of the dual problem, the gradient is the plan.
    parts = [_membership(each, cost.device) for each in (sizes, counts)]
    moved = parts[0].T @ (plan[:n, :m] * cost) @ parts[1]
    converged = not errors or bool((torch.cat(errors) <= TOLERANCE).all())
    return TransportCosts(values.view_as(moved) + moved - moved.detach(), converged)


def _batches(
    sizes: Sequence[int],
    counts: Sequence[int],
    pairs: Sequence[tuple[int, int]],
    device: torch.device,
) -> Iterator[tuple[Int64[Tensor, " p"], Int64[Tensor, "p r"], Int64[Tensor, "p q"]]]:
    """Yield places [j, k] in a flat matrix, and the rows and columns of their points.

    The rows and columns of padded points are n and m.
    """
    shapes = _padded(sizes), _padded(counts)
    starts = [[0, *itertools.accumulate(each)] for each in (sizes, counts)]
    groups: dict[tuple[int, int], list[list[int]]] = {}
    for j, k in pairs:
        described = [j * len(counts) + k, starts[0][j], sizes[j], starts[1][k], counts[k]]
        groups.setdefault((shapes[0][sizes[j]], shapes[1][counts[k]]), []).append(described)
    for shape, group in groups.items():
        most = max(1, (BATCH if device.type == "cpu" else GPU_BATCH) // (shape[0] * shape[1]))
        for first in range(0, len(group), most):
            table = torch.tensor(group[first : first + most], device=device).T  # one copy
            rows, columns = (
                torch.where(points < size[:, None], start[:, None] + points, end)
                for points, start, size, end in (
                    (torch.arange(shape[0], device=device), table[1], table[2], starts[0][-1]),
                    (torch.arange(shape[1], device=device), table[3], table[4], starts[1][-1]),
                )
            )
            yield table[0], rows, columns


def _padded(counts: Sequence[int]) -> dict[int, int]:
    """Return the size to which measures of each size are padded."""
    sizes: dict[int, int] = {}
    largest = 0
    for count in sorted(set(counts), reverse=True):
        largest = count if count * ALIKE <= largest or not largest else largest
        sizes[count] = largest
    return sizes


def _uniform(exists: Bool[Tensor, "p r"]) -> Float64[Tensor, "p r"]:
    return exists.double() / exists.sum(1, keepdim=True)


def _membership(counts: Sequence[int], device: torch.device) -> Float64[Tensor, "n k"]:
    """Return 1 where a point belongs to a measure, else 0."""
    ends = torch.tensor([0, *itertools.accumulate(counts)], device=device)
    points = torch.arange(sum(counts), device=device)[:, None]
    return ((points >= ends[:-1]) & (points < ends[1:])).double()


class _Newton(NamedTuple):
    """State of Newton's method: g for the current e, and the plan, whose row sums are exact."""

    g: Float64[Tensor, "p q"]
    e: Float64[Tensor, " p"]
    before: Float64[Tensor, "p q"]  # g for the previous e
    previous: Float64[Tensor, " p"]  # the previous e; infinite before the second
    missing: Float64[Tensor, "p q"]  # missing mass of the columns, b - P' 1
    curvature: Float64[Tensor, "p q q"]  # P' diag(1 / a) P
    error: Float64[Tensor, " p"]
    damping: Float64[Tensor, " p"]
    steps: Float64[Tensor, " p"]  # at this e
    lower: Bool[Tensor, " p"]  # whether the next e follows, instead of a Newton step
    over: Bool[Tensor, " p"]


class _Averaged(NamedTuple):
    """State of averaged Sinkhorn steps."""

    f: Float64[Tensor, "p r"]
    e: Float64[Tensor, " p"]
    error: Float64[Tensor, " p"]
    steps: Float64[Tensor, " p"]  # at the last e
    over: Bool[Tensor, " p"]


State = TypeVar("State", _Newton, _Averaged)


@torch.no_grad()
def _solve(pairs: _Pairs, entreg: float) -> _Solution:
    """Solve by Newton's method in the dual variable of the smaller measures."""
    if pairs.cost.shape[1] < pairs.cost.shape[2]:
        turned = _solve(_Pairs(pairs.cost.mT.contiguous(), pairs.b, pairs.a), entreg)
        return turned._replace(plan=turned.plan.mT)

    g = _repeated(partial(_advance, entreg=entreg), pairs, _start(pairs, entreg)).g
    e = torch.full_like(g[:, 0], entreg)
    f, plan, missing = _plan(pairs, g, e, torch.empty_like(pairs.cost))
    values = (pairs.a * f).sum(1) + (pairs.b * g).sum(1)
    return _Solution(plan, values, missing.abs().sum(1))


def _start(pairs: _Pairs, entreg: float) -> _Newton:
    # With e as large as the range of the costs, g = 0 is near the solution.
    e = pairs.span().clamp_min(entreg)
    g, zeros = torch.zeros_like(pairs.b), torch.zeros_like(e)
    _, plan, missing = _plan(pairs, g, e, torch.empty_like(pairs.cost))
    return _Newton(
        g=g,
        e=e,
        before=g,
        previous=zeros + torch.inf,
        missing=missing,
        curvature=_curvature(pairs, plan),
        error=missing.abs().sum(1),
        damping=zeros + 1,
        steps=zeros,
        lower=zeros > 0,
        over=zeros > 0,
    )


def _advance(pairs: _Pairs, now: _Newton, out: Tensor, *, entreg: float) -> _Newton:
    """Return the state after one step for each pair."""
    on_cpu = pairs.cost.device.type == "cpu"
    # Newton's method converges fast only near the solution. The start for the next e is
    # therefore extrapolated from the solutions for the last two. The next e is smaller by a
    # factor that the number of steps for this one allows.
    lower, idle = now.lower, now.lower | now.over
    lowered = (now.e * torch.where(now.steps > 2, 0.5, 0.25)).clamp_min(entreg)
    # Before the second e, `previous` is infinite and the slope is 0.
    slope = (lowered - now.e) / (now.e - now.previous)
    g = now.g + slope[:, None] * (now.g - now.before)
    if not (on_cpu and idle.all()):  # reading a GPU takes longer than a step
        stepped = now.g + now.e[:, None] * _newton_step(pairs, now)
        g = torch.where(lower[:, None], g, stepped)
    e = torch.where(lower, lowered, now.e)
    _, plan, missing = _plan(pairs, g, e, out)
    error = missing.abs().sum(1)
    # A rejected step increases the damping, an accepted step decreases it.
    better = (lower | (error < now.error)) & ~now.over
    eased = torch.where(lower, 1, (now.damping / 4).clamp_min(1))
    steps = torch.where(lower, 0, now.steps + 1)
    error = torch.where(better, error, now.error)
    # A pair within the tolerance takes further steps while they improve it, down to EXACT. Once a
    # step does not, the tolerance is enough.
    last, enough = e <= entreg, torch.where(better, EXACT, TOLERANCE)
    over = now.over | (last & ((error <= enough) | (steps >= STEPS)))
    lower_next = ~last & ((error <= CLOSE) | (steps >= FEW_STEPS))
    curvature = now.curvature
    if not (on_cpu and (lower_next | over).all()):
        curvature = torch.where(better[:, None, None], _curvature(pairs, plan), curvature)
    return _Newton(
        g=torch.where(better[:, None], g, now.g),
        e=e,
        before=torch.where(lower[:, None], now.g, now.before),
        previous=torch.where(lower, now.e, now.previous),
        missing=torch.where(better[:, None], missing, now.missing),
        curvature=curvature,
        error=error,
        damping=torch.where(better, eased, 4 * now.damping),
        steps=steps,
        lower=lower_next,
        over=over,
    )


def _plan(
    pairs: _Pairs, g: Tensor, e: Tensor, out: Tensor
) -> tuple[Float64[Tensor, "p r"], Float64[Tensor, "p r q"], Float64[Tensor, "p q"]]:
    """Return f, the plan in `out`, and the missing mass of the columns."""
    # A log-sum-exp over rows, in place: the matrix of a batch is its largest tensor. The largest
    # entry of a row is taken out, so that no mass overflows.
    shifted = g / e[:, None] + pairs.b.log()
    masses = torch.addcmul(shifted[:, None], pairs.cost, (-1 / e)[:, None, None], out=out)
    largest = masses.amax(2, keepdim=True)
    masses = torch.threshold_(masses.sub_(largest), NEGLIGIBLE, -torch.inf).exp_()
    total = masses.sum(2, keepdim=True)
    plan = masses.mul_(pairs.a[:, :, None] / total)
    f = -e[:, None] * (largest + total.log()).squeeze(2)
    return f, plan, pairs.b - plan.sum(1)


def _curvature(pairs: _Pairs, plan: Tensor) -> Float64[Tensor, "p q q"]:
    # All points of a measure have the same mass, so that diag(1 / a) is a single number.
    return plan.mT @ plan / pairs.a.amax(1)[:, None, None]


def _newton_step(pairs: _Pairs, now: _Newton) -> Float64[Tensor, "p q"]:
    """Return dg / e.

    Constants are the kernel of the system, and leave the plan unchanged. They are fixed at zero.
    """
    b, damping = pairs.b, (1 + now.damping * now.error)[:, None]
    # The outer product makes the system regular, and the damping bounds the step. Padded points do
    # not move.
    hessian = b[:, :, None] * b[:, None] - now.curvature
    hessian.diagonal(dim1=1, dim2=2).add_(damping * b - now.missing + (b == 0))
    step: Tensor = torch.linalg.solve_ex(hessian, now.missing)[0]
    return step


@torch.no_grad()
def _solve_symmetric(pairs: _Pairs, entreg: float) -> _Solution:
    def started() -> _Averaged:
        e = pairs.span().clamp_min(entreg)
        zeros = torch.zeros_like(e)
        return _Averaged(torch.zeros_like(pairs.a), e, zeros + 1, zeros, zeros > 0)

    def advance(pairs: _Pairs, now: _Averaged, out: Tensor) -> _Averaged:
        shifted = now.f / now.e[:, None] + pairs.a.log()
        torch.addcmul(shifted[:, None], pairs.cost, (-1 / now.e)[:, None, None], out=out)
        # One Sinkhorn step. exp((f - updated) / e) is the ratio of a row's mass to its target,
        # which is 1 at the solution.
        updated = -now.e[:, None] * out.logsumexp(2)
        wrong = (((now.f - updated) / now.e[:, None]).exp() - 1).abs()
        error = (pairs.a * wrong.where(pairs.a > 0, 0)).sum(1)
        last = now.e <= entreg
        over = now.over | (last & ((error <= TOLERANCE) | (now.steps >= TURNS)))
        # The mean of two successive steps converges quickly, because the problem is symmetric.
        return _Averaged(
            f=torch.where(over[:, None], now.f, (now.f + updated) / 2),
            e=(now.e / 2).clamp_min(entreg),
            error=torch.where(now.over, now.error, error),
            steps=now.steps + last,
            over=over,
        )

    found = _repeated(advance, pairs, started())
    sums = found.f[:, :, None] + found.f[:, None] - pairs.cost
    plan = (sums / entreg).exp_() * pairs.a[:, :, None] * pairs.a[:, None]
    return _Solution(plan, 2 * (pairs.a * found.f).sum(1), found.error)


def _repeated(
    advance: Callable[[_Pairs, State, Tensor], State], pairs: _Pairs, start: State
) -> State:
    """Return the state after as many repetitions of `advance` as each pair needs.

    Each look at which pairs are over makes the host wait for a GPU, so that there are several
    repetitions between two of them. A pair that is over does not change.
    """
    out = torch.empty_like(pairs.cost)
    state, left = start, torch.arange(len(out), device=out.device)
    whole = type(start)(*(part.clone() for part in start))
    while True:
        for _ in range(1 if out.device.type == "cpu" else LOOK):
            state = advance(pairs, state, out[: len(left)])
        over = state.over.tolist()
        if not all(over) and sum(over) < len(over) / 4:
            continue  # too few to copy the others
        for each, part in zip(whole, state, strict=True):
            each[left] = part
        if all(over):
            return whole
        others = torch.tensor([i for i, done in enumerate(over) if not done], device=out.device)
        left, pairs = left[others], _Pairs(*(part[others] for part in pairs))
        state = type(state)(*(part[others] for part in state))
