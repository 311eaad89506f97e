"""Exact transport: POT's, SciPy's assignment, and what the envelope theorem says of gradients."""

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from trainables.distances import optimal_transport
from trainables.distances.optimal_transport import exact_costs


def costs_of(n: int, m: int, seed: int = 0) -> Tensor:
    return torch.rand(n, m, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_each_measure_has_the_value_of_pot():
    cost, counts = costs_of(7, 9), (2, 4, 3)
    ours = exact_costs(cost, (7,), counts)
    uniform = [ot.unif(7), *map(ot.unif, counts)]
    theirs = [
        ot.emd2(uniform[0], b, block.numpy())
        for b, block in zip(uniform[1:], cost.split(counts, 1), strict=True)
    ]
    np.testing.assert_allclose(ours.values[0], theirs)
    assert ours.converged


def test_pairs_of_measures_are_solved_as_if_alone():
    cost, sizes, counts = costs_of(9, 7), (4, 5), (2, 3, 2)
    together = exact_costs(cost, sizes, counts).values
    alone = [
        [exact_costs(block, (len(block),), (block.shape[1],)).values.item() for block in row]
        for row in (band.split(counts, 1) for band in cost.split(sizes))
    ]
    torch.testing.assert_close(
        together, torch.tensor(alone, dtype=torch.float64), rtol=1e-12, atol=0
    )


def test_of_as_many_points_it_is_the_best_assignment():
    cost = costs_of(8, 8)
    rows, columns = linear_sum_assignment(cost)
    value = exact_costs(cost, (8,), (8,)).values.item()
    assert value == pytest.approx(cost[rows, columns].mean().item())


def test_its_gradient_by_the_cost_is_the_plan():
    cost = costs_of(5, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: exact_costs(c, (2, 3), (3, 5)).values, cost)
    (plan,) = torch.autograd.grad(exact_costs(cost, (5,), (8,)).values.sum(), cost)
    torch.testing.assert_close(plan.sum(0), torch.full((8,), 1 / 8).double())
    torch.testing.assert_close(plan.sum(1), torch.full((5,), 1 / 5).double())


def test_a_solver_that_is_cut_short_says_so_without_a_warning(monkeypatch):
    monkeypatch.setattr(optimal_transport, "MAX_PIVOTS", 1)
    assert not exact_costs(costs_of(30, 30), (30,), (30,)).converged
