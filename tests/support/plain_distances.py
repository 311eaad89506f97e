"""The formulas of OTDD's parts, written plainly: one class of the source at a time, no batches."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.distances.bures import inverse_root_poles
from trainables.distances.euclidean import squared_distances
from trainables.distances.gaussian import fit_gaussians
from trainables.distances.optimal_transport import exact_costs
from trainables.distances.statistics import Classes, ground_cost

TOLERANCE, CLOSE = 1e-7, 1e-2


def sinkhorn_otdd(source: Classes, target: Classes, entreg: float) -> Tensor:
    """Return OTDD by Sinkhorn divergences on both levels, differentiable in the target."""

    def squared(one: Classes, two: Classes) -> Tensor:
        return squared_distances(one.features, two.features)

    def own(side: Classes) -> Tensor:
        classes = side.features.split(side.counts)
        costs = [symmetric_cost(squared_distances(x, x), entreg) for x in classes]
        return torch.stack(costs)

    def cost(one: Classes, two: Classes) -> Tensor:
        blocks = squared(one, two).split(one.counts)
        between = torch.stack([entropic_costs(block, two.counts, entreg) for block in blocks])
        between = between - own(one)[:, None] / 2 - own(two) / 2
        if one is two:
            between = between * (1 - torch.eye(len(between), dtype=between.dtype))
        return ground_cost(squared(one, two), between, one.counts, two.counts, 1.0)

    cross = entropic_costs(cost(source, target), (len(target.features),), entreg)[0]
    alone = [symmetric_cost(cost(side, side), entreg) for side in (source, target)]
    return cross - (alone[0] + alone[1]) / 2


def entropic_costs(cost: Tensor, counts: Sequence[int], entreg: float) -> Tensor:
    """Return OT_e from one measure to each of several by one damped Newton method for all."""
    constant, sizes = cost.detach(), torch.tensor(counts)
    b = (1 / sizes.double()).repeat_interleave(sizes)

    def state(g: Tensor, e: float) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
        exponents = (g - constant) / e + b.log()
        f = -e * torch.stack([block.logsumexp(1) for block in exponents.split(list(counts), 1)], 1)
        exponents = exponents + (f / e - math.log(len(cost))).repeat_interleave(sizes, 1)
        plan = exponents.masked_fill(exponents < -500, -torch.inf).exp()
        missing = b - plan.sum(0)
        error = max(part.abs().sum().item() for part in missing.split(list(counts)))
        return g, f, plan, missing, error

    def step(plan: Tensor, missing: Tensor, damping: float) -> Tensor:
        steps = []
        parts = (part.split(list(counts), -1) for part in (plan, missing, b))
        for block, wanted, mass in zip(*parts, strict=True):
            hessian = torch.outer(mass, mass) - len(block) * block.T @ block
            hessian += torch.diag((1 + damping) * mass - wanted)
            steps.append(torch.linalg.solve(hessian, wanted))
        return torch.cat(steps)

    best = state(torch.zeros_like(b), 1.0)
    for e in annealed(constant, entreg):
        best, damping = state(best[0], e), 1.0
        goal, steps = (TOLERANCE, 200) if e == entreg else (CLOSE, 10)
        for _ in range(steps):
            g, _, plan, missing, error = best
            if error <= goal:
                break
            tried = state(g + e * step(plan, missing, damping * error), e)
            better = tried[-1] < error
            best, damping = (tried, max(damping / 4, 1.0)) if better else (best, 4 * damping)
    g, f, plan, _, error = best
    assert error <= TOLERANCE
    values = f.mean(0) + torch.stack([part.sum() for part in (b * g).split(list(counts))])
    moved = torch.stack([block.sum() for block in (plan * cost).split(list(counts), 1)])
    return values + moved - moved.detach()


def symmetric_cost(cost: Tensor, entreg: float) -> Tensor:
    """Return OT_e of a measure to itself by averaged Sinkhorn steps."""
    constant, f, error = cost.detach(), torch.zeros_like(cost[0].detach()), math.inf

    def update(f: Tensor, e: float) -> Tensor:
        return -e * (((f - constant) / e).logsumexp(1) - math.log(len(cost)))

    for e in annealed(constant, entreg):
        f = (f + update(f, e)) / 2
    while error > TOLERANCE:
        updated = update(f, entreg)
        error = (((f - updated) / entreg).exp() - 1).abs().mean().item()
        f = f if error <= TOLERANCE else (f + updated) / 2
    plan = ((f[:, None] + f - constant) / entreg - 2 * math.log(len(cost))).exp()
    moved = (plan * cost).sum()
    return 2 * f.mean() + moved - moved.detach()


def annealed(cost: Tensor, entreg: float) -> list[float]:
    """Return decreasing values of e, from the range of the costs to `entreg`."""
    span = (cost.max() - cost.min()).item()
    halvings = max(0, math.ceil(math.log2(span / entreg))) if span > 0 else 0
    return [*(span / 2**i for i in range(halvings)), entreg]


def gaussian_otdd(source: Classes, target: Classes, shrinkage: float) -> Tensor:
    """Return OTDD with Gaussian classes and exact transport, differentiable in the target.

    The transport between covariances is a sum of poles, one at a time for each class of the source.
    """
    sides = [fit_gaussians(side.features, side.counts, shrinkage) for side in (source, target)]
    one, two = sides
    factors, ridges = two.covariances.factors, two.covariances.ridges
    rows = []
    for factor, s in zip(one.covariances.factors, one.covariances.ridges.tolist(), strict=True):
        _, sizes, basis = torch.linalg.svd(factor, full_matrices=False)
        slopes, traces = pole_map(sizes.square() + s, basis, s, factors.detach(), ridges.detach())
        half = traces * ridges / 2
        rows.append((slopes * factors).sum((1, 2)) + half + half.detach())
    apart = squared_distances(one.means, two.means)
    between = apart + one.traces[:, None] + two.traces - 2 * torch.stack(rows)
    squared = squared_distances(source.features, target.features)
    cost = ground_cost(squared, between, source.counts, target.counts, 1.0)
    return exact_costs(cost, (len(cost),), cost.shape[1:]).values[0, 0]


def pole_map(
    values: Tensor, basis: Tensor, s: float, factors: Tensor, ridges: Tensor
) -> tuple[Tensor, Tensor]:
    """Return A M and tr M (bures.py) of one matrix S, with eigenvalues `values` and `s`."""
    outside = factors.shape[2] - len(values)
    projected, products = factors @ basis.T, factors @ factors.mT
    largest = values.max() * (torch.linalg.eigvalsh(products)[:, -1].clamp_min(0) + ridges).max()
    eye = torch.eye(products.shape[1], dtype=products.dtype)
    along, within = torch.zeros_like(projected), torch.zeros_like(products)
    traces = torch.zeros_like(ridges)
    poles = inverse_root_poles(s * ridges.min().item(), largest.item())
    for pole, weight in zip(*poles, strict=True):
        in_v = values / (ridges[:, None] * values + pole)
        off_v = s / (ridges * s + pole)
        gap = (in_v - off_v[:, None])[:, None]
        inner = eye + off_v[:, None, None] * products + (projected * gap) @ projected.mT
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(inner))
        solved = inverse @ projected
        along += weight * solved * gap
        within += weight * off_v[:, None, None] * inverse
        removed = (solved * projected * gap * (in_v + off_v[:, None])[:, None]).sum((1, 2))
        removed += off_v.square() * (inverse * products).sum((1, 2))
        traces += weight * (in_v.sum(1) + outside * off_v - removed)
    return along @ basis + within @ factors, traces
