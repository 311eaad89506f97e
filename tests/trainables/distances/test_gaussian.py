"""W_2 between Gaussians: SciPy's and POT's, laws, and gradients where eigenvalues vanish."""

import numpy as np
import ot
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.support.shapes import normal
from trainables.distances.gaussian import (
    fit_gaussians,
    gaussian_distances,
    gaussian_distances_within,
)

SHRINKAGES = (0.0, 1e-3, 0.1, 1.0)
SHAPES = [(9, 5, 7), (4, 3, 20), (30, 40, 6), (40, 3, 30)]  # samples a class, and features
# so that M is found by: eigenvalues, poles, eigenvalues, poles


def covariance(x: Tensor, shrinkage: float) -> np.ndarray:
    values = np.cov(x.numpy(), rowvar=False, bias=True)
    d = len(values)
    return (1 - shrinkage) * values + shrinkage * np.trace(values) / d * np.eye(d)


def distances(x: Tensor, x_counts, y: Tensor, y_counts, shrinkage: float) -> Tensor:
    source = fit_gaussians(x, x_counts, shrinkage)
    return gaussian_distances(source, fit_gaussians(y, y_counts, shrinkage))


def assert_gradient(function, y: Tensor) -> None:
    """Compare it with a finite difference along a random direction."""
    y = y.requires_grad_()
    direction = normal(*y.shape, seed=2)
    (gradient,) = torch.autograd.grad(function(y), y)
    step = 1e-4 * direction
    difference = (function(y.detach() + step) - function(y.detach() - step)) / 2e-4
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shrinkage", SHRINKAGES)
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_it_equals_the_trace_formula_with_eigenvalues_of_the_product(n, m, d, shrinkage):
    x, y = normal(2 * n, d, seed=0), 1 + 2 * normal(3 * m, d, seed=1)
    expected = []
    for a in x.split(n):
        for b in y.split(m):
            s, t = covariance(a, shrinkage), covariance(b, shrinkage)
            eigenvalues = scipy.linalg.eigvals(s @ t).real.clip(0)
            eigenvalues[eigenvalues < 1e-12 * eigenvalues.max()] = 0  # roots of rounding errors
            apart = (a.mean(0) - b.mean(0)).square().sum().item()
            expected.append(apart + np.trace(s) + np.trace(t) - 2 * np.sqrt(eigenvalues).sum())
    ours = distances(x, (n, n), y, (m, m, m), shrinkage)
    np.testing.assert_allclose(ours.flatten(), expected, rtol=1e-9)


@pytest.mark.parametrize("shrinkage", [0.0, 0.1])
def test_it_equals_scipys_square_root_and_pot_where_covariances_have_full_rank(shrinkage):
    x, y = normal(40, 6, seed=0), 1 + 2 * normal(30, 6, seed=1)
    s, t = covariance(x, shrinkage), covariance(y, shrinkage)
    root = scipy.linalg.sqrtm(s)
    cross = np.trace(scipy.linalg.sqrtm(root @ t @ root)).real
    apart = (x.mean(0) - y.mean(0)).square().sum().item()
    ours = distances(x, (40,), y, (30,), shrinkage).item()
    assert ours == pytest.approx(apart + np.trace(s) + np.trace(t) - 2 * cross, rel=1e-10)
    means = x.mean(0).numpy(), y.mean(0).numpy()
    assert ours == pytest.approx(ot.gaussian.bures_wasserstein_distance(*means, s, t) ** 2)


@pytest.mark.parametrize("shrinkage", SHRINKAGES)
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_gradients_are_those_of_finite_differences(n, m, d, shrinkage):
    x, y = normal(2 * n, d, seed=0), normal(2 * m, d, seed=1)
    assert_gradient(lambda y: distances(x, (n, n), y, (m, m), shrinkage).sum(), y)


@pytest.mark.parametrize("shrinkage", SHRINKAGES)
@pytest.mark.parametrize(("m", "d"), [(4, 5), (3, 12)])
def test_within_a_side_both_partners_have_their_gradient(m, d, shrinkage):
    def value(y: Tensor) -> Tensor:
        within = gaussian_distances_within(fit_gaussians(y, (m, m, m), shrinkage))
        return within[0, 1] + 2 * within[2, 1]

    assert_gradient(value, normal(3 * m, d, seed=1))


@pytest.mark.parametrize("shrinkage", SHRINKAGES)
@pytest.mark.parametrize(("m", "d"), [(10, 4), (3, 20)])
def test_equal_classes_are_at_zero_and_shifted_ones_at_the_square_of_the_shift(m, d, shrinkage):
    x = normal(m, d, seed=0)
    assert distances(x, (m,), x, (m,), shrinkage).abs().item() < 1e-9
    shifted = distances(x, (m,), x + 2, (m,), shrinkage).item()
    assert shifted == pytest.approx(4 * d)


@given(st.integers(2, 6), st.integers(2, 6), st.integers(1, 8), st.integers(0, 2**16))
def test_without_shrinkage_it_is_at_most_the_distance_of_the_samples(n, m, d, seed):
    x, y = normal(n, d, seed), 1 + 2 * normal(m, d, seed + 1)
    cost = torch.cdist(x, y).square().numpy()
    exact = ot.emd2(np.full(n, 1 / n), np.full(m, 1 / m), cost)
    assert distances(x, (n,), y, (m,), 0.0).item() <= exact * (1 + 1e-9)


@pytest.mark.parametrize("shrinkage", SHRINKAGES)
def test_classes_of_different_sizes_are_those_taken_alone(shrinkage):
    x, y = normal(7, 6, seed=0), normal(12, 6, seed=1)
    together = distances(x, (3, 4), y, (2, 7, 3), shrinkage)
    alone = [
        [distances(a, (len(a),), b, (len(b),), shrinkage).item() for b in y.split((2, 7, 3))]
        for a in x.split((3, 4))
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-9)


@pytest.mark.parametrize("shrinkage", SHRINKAGES)
@pytest.mark.parametrize("d", [3, 20])
def test_constant_features_have_a_value_and_a_finite_gradient(shrinkage, d):
    x = torch.cat([normal(4, d, seed=0), torch.ones(4, d, dtype=torch.float64)])
    y = torch.cat([normal(3, d, seed=1), torch.ones(3, d, dtype=torch.float64)]).requires_grad_()
    values = distances(x, (4, 4), y, (3, 3), shrinkage)
    (gradient,) = torch.autograd.grad(values.sum(), y)
    assert torch.isfinite(gradient).all()
    spread = (y[:3] - y[:3].mean(0)).square().sum() / 3
    expected = (y[:3].mean(0) - 1).square().sum() + spread
    torch.testing.assert_close(values[1], torch.stack([expected, torch.zeros_like(expected)]))
