"""Entropic transport: POT's, its two limits, convergence, and gradients by the envelope theorem."""

from functools import partial

import numpy as np
import ot
import pytest
import torch
from scipy.special import rel_entr
from torch import Tensor

from tests.support.shapes import normal
from trainables.distances import sinkhorn
from trainables.distances.euclidean import squared_distances
from trainables.distances.optimal_transport import exact_costs
from trainables.distances.sinkhorn import entropic_costs, entropic_self_costs


def from_pot(cost: Tensor, entreg: float) -> float:
    """The same objective of POT's plan."""
    a, b = ot.unif(cost.shape[0]), ot.unif(cost.shape[1])
    plan = ot.sinkhorn(
        a, b, cost.numpy(), entreg, method="sinkhorn_log", numItermax=100_000, stopThr=1e-13
    )
    return float((plan * cost.numpy()).sum() + entreg * rel_entr(plan, np.outer(a, b)).sum())


@pytest.mark.parametrize("entreg", [0.1, 1.0, 10.0])
def test_each_measure_has_the_value_of_pot(entreg):
    x, y, counts = normal(7, 3, seed=0), 1 + normal(9, 3, seed=1), (2, 4, 3)
    cost = squared_distances(x, y)
    ours = entropic_costs(cost, (7,), counts, entreg)
    theirs = [from_pot(block, entreg) for block in cost.split(counts, 1)]
    np.testing.assert_allclose(ours.values[0], theirs, rtol=1e-7)
    assert ours.converged


def test_the_cost_of_a_measure_to_itself_is_that_of_two_equal_measures():
    x = normal(12, 3, seed=0)
    cost = squared_distances(x, x)
    for entreg in (0.01, 0.1, 1.0, 10.0):
        alone = entropic_self_costs(cost, (12,), entreg)
        assert alone.converged
        assert alone.values.item() == pytest.approx(
            entropic_costs(cost, (12,), (12,), entreg).values.item(), rel=1e-8
        )


def test_little_entropy_leaves_exact_transport_and_much_of_it_the_mean_cost():
    x, y = normal(20, 3, seed=0), 1 + normal(15, 3, seed=1)
    cost = squared_distances(x, y)
    exact = exact_costs(cost, (20,), (15,)).values[0]
    little, much = (entropic_costs(cost, (20,), (15,), entreg) for entreg in (1e-3, 1e6))
    assert little.converged
    torch.testing.assert_close(little.values[0], exact, rtol=1e-3, atol=0)
    torch.testing.assert_close(much.values[0], cost.mean()[None], rtol=1e-4, atol=0)


def test_the_divergence_lies_closer_to_exact_transport_than_the_entropic_cost():
    x, y = normal(30, 2, seed=0), 1 + normal(30, 2, seed=1)
    cost = squared_distances(x, y)
    exact = exact_costs(cost, (30,), (30,)).values[0, 0]
    entropic = entropic_costs(cost, (30,), (30,), 0.5).values[0, 0]
    own = [entropic_self_costs(squared_distances(z, z), (30,), 0.5).values for z in (x, y)]
    divergence = entropic - sum(own) / 2
    assert (divergence - exact).abs() < (entropic - exact).abs() / 2


def test_costs_far_above_the_entropy_neither_overflow_nor_stall():
    cost = 1e4 * squared_distances(normal(40, 3, seed=0), 1 + normal(30, 3, seed=1))
    entropic, exact = (
        solved(cost, (40,), (10, 20))
        for solved in (partial(entropic_costs, entreg=1.0), exact_costs)
    )
    assert entropic.converged
    torch.testing.assert_close(entropic.values, exact.values, rtol=1e-3, atol=0)


@pytest.mark.slow
def test_gradients_are_those_of_finite_differences():
    x, y = normal(5, 2, seed=0), normal(6, 2, seed=1).requires_grad_()

    def cross(y: Tensor) -> Tensor:
        return entropic_costs(squared_distances(x, y), (2, 3), (2, 4), 0.5).values

    def alone(y: Tensor) -> Tensor:
        return entropic_self_costs(squared_distances(y, y), (2, 4), 0.5).values

    for function in (cross, alone):
        assert torch.autograd.gradcheck(function, y, eps=1e-3, atol=1e-4, rtol=1e-3)


def test_a_solver_that_is_cut_short_says_so(monkeypatch):
    monkeypatch.setattr(sinkhorn, "STEPS", 1)
    monkeypatch.setattr(sinkhorn, "TURNS", 1)
    x = normal(30, 3, seed=0)
    cost = squared_distances(x, x)
    assert not entropic_costs(cost, (30,), (30,), 0.1).converged
    assert not entropic_self_costs(cost, (30,), 1.0).converged


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(4, 4, 4), (2, 9, 23, 5)])
def test_pairs_of_all_sizes_together_are_those_taken_alone(monkeypatch, sizes):
    monkeypatch.setattr(sinkhorn, "BATCH", 200)  # several batches of one shape
    x, y, counts = normal(20, 3, seed=0), 1 + normal(sum(sizes), 3, seed=1), (3, 17)
    cost, other = squared_distances(x, y), squared_distances(y, y)
    for entreg in (0.1, 1.0):
        blocks = [block.split(sizes, 1) for block in cost.split(counts)]
        alone = [
            [entropic_costs(each, each.shape[:1], each.shape[1:], entreg).values for each in row]
            for row in blocks
        ]
        together = entropic_costs(cost, counts, sizes, entreg)
        torch.testing.assert_close(together.values, torch.tensor(alone).double(), rtol=1e-9, atol=0)
        both = entropic_costs(other, sizes, sizes, entreg).values
        within = entropic_costs(other, sizes, sizes, entreg, within=True).values
        torch.testing.assert_close(within + within.T, both - both.diag().diag())
        own = entropic_self_costs(other, sizes, entreg).values
        torch.testing.assert_close(own, both.diag(), rtol=1e-7, atol=0)
