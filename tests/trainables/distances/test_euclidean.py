"""Euclidean distances: SciPy's between points; laws of those between samples."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from tests.support.shapes import normal
from trainables.distances.euclidean import (
    distance_of_means,
    mean_paired_distance,
    squared_distances,
)
from trainables.distances.mmd import mmd
from trainables.seeding import generator


def test_equal_samples_have_means_at_zero_with_a_gradient_and_pairs_above():
    x = normal(20, 3, seed=0)
    y = x.clone().requires_grad_()
    value = distance_of_means(x, y)
    (gradient,) = torch.autograd.grad(value, y)
    assert value.item() == 0
    assert torch.isfinite(gradient).all()
    assert mean_paired_distance(x, x, generator=generator(0, "pairs")) > 0


def test_means_move_as_far_as_the_sample():
    x, shift = normal(20, 3, seed=0), torch.tensor([3.0, 0.0, -4.0], dtype=torch.float64)
    assert distance_of_means(x, x + shift).item() == pytest.approx(5)


def test_means_are_the_root_of_the_linear_mmd():
    x, y = normal(7, 3, seed=0), normal(5, 3, seed=1)
    torch.testing.assert_close(distance_of_means(x, y).square(), mmd(x, y, kernel="linear"))


def test_a_single_target_is_paired_with_the_whole_source():
    x, y = normal(7, 3, seed=0), normal(1, 3, seed=1)
    value = mean_paired_distance(x, y, generator=generator(0, "pairs"))
    torch.testing.assert_close(value, (x - y).norm(dim=1).mean())


@pytest.mark.parametrize(("n", "m", "pairs"), [(3, 7, 3), (7, 3, 6), (6, 3, 6)])
def test_each_source_sample_is_in_one_pair_at_most(n, m, pairs):
    x = normal(n, 2, seed=0).requires_grad_()
    value = mean_paired_distance(x, normal(m, 2, seed=1), generator=generator(0, "pairs"))
    (gradient,) = torch.autograd.grad(value, x)
    norms = gradient.norm(dim=1)
    torch.testing.assert_close(norms[norms > 0], torch.full((pairs,), 1 / pairs).double())


def test_the_official_value_counts_the_incomplete_batch_in_its_divisor_alone():
    """Five sources against two targets: two whole batches, and a third of one that is skipped."""
    x, y = normal(5, 3, seed=0), normal(2, 3, seed=1)
    ours = mean_paired_distance(x, y, generator=generator(0, "pairs"))
    rng = generator(0, "pairs")
    batches = x[torch.randperm(5, generator=rng)].split(2)
    official = torch.zeros(())
    for batch in batches:
        order = torch.randperm(2, generator=rng)[: len(batch)] if len(batch) == 2 else None
        if order is not None:
            official = official + (batch - y[order]).norm(dim=1).mean()
    torch.testing.assert_close((official / len(batches)).to(ours), ours * 2 / 3)


def test_pairs_depend_on_the_generator_alone():
    x, y = normal(9, 3, seed=0), normal(4, 3, seed=1)
    first, again, other = (
        mean_paired_distance(x, y, generator=generator(seed, "pairs")).item() for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_the_gradient_of_coinciding_pairs_is_finite():
    y = torch.ones(4, 2, requires_grad=True)
    value = mean_paired_distance(torch.ones(8, 2), y, generator=generator(0, "pairs"))
    (gradient,) = torch.autograd.grad(value, y)
    assert torch.isfinite(gradient).all()


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 5), st.floats(-1e3, 1e3))
def test_it_equals_scipy_however_far_the_points_lie_from_the_origin(n, m, d, shift):
    x, y = normal(n, d, seed=0) + shift, normal(m, d, seed=1) + shift
    expected = torch.from_numpy(cdist(x, y, "sqeuclidean"))
    torch.testing.assert_close(squared_distances(x, y), expected, rtol=1e-9, atol=1e-9)


def test_it_is_never_negative():
    x = 1e4 + normal(50, 20, seed=0).float()
    assert squared_distances(x, x).min() >= 0


def test_gradients_are_those_of_finite_differences():
    x, y = normal(4, 3, seed=0).requires_grad_(), normal(3, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(squared_distances, (x, y))


def test_the_gradient_where_points_coincide_is_zero():
    x = normal(3, 2, seed=0)
    y = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(squared_distances(x, y).diagonal().sum(), y)
    assert gradient.abs().max() < 1e-12
