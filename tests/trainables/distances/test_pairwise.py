"""Squared distances: SciPy's, and a gradient where points coincide."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from torch import Tensor

from trainables.distances.pairwise import squared_distances


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


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
