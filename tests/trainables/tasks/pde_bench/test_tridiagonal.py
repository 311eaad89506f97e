import numpy as np
import pytest

from trainables.tasks.pde_bench import tridiagonal


def systems(n, m, dtype=np.float64):
    rng = np.random.default_rng(0)
    lower, upper, rhs = (rng.normal(size=(n, m)).astype(dtype) for _ in range(3))
    diagonal = (3 + np.abs(lower) + np.abs(upper)).astype(dtype)
    return lower, diagonal, upper, rhs


def dense(lower, diagonal, upper, *, cyclic):
    matrix = np.diag(diagonal) + np.diag(lower[1:], -1) + np.diag(upper[:-1], 1)
    if cyclic:
        matrix[0, -1] += lower[0]
        matrix[-1, 0] += upper[-1]
    return matrix


@pytest.mark.parametrize("cyclic", [False, True])
def test_agrees_with_a_dense_solver(cyclic):
    lower, diagonal, upper, rhs = systems(3, 8)
    if cyclic:
        solution = tridiagonal.solve_cyclic(lower, diagonal, upper, rhs)
    else:
        (solution,) = tridiagonal.solve(lower, diagonal, upper, rhs)
    for i in range(3):
        matrix = dense(lower[i], diagonal[i], upper[i], cyclic=cyclic)
        np.testing.assert_allclose(matrix @ solution[i], rhs[i], atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_does_not_notice_the_others(dtype):
    parts = systems(5, 16, dtype)
    whole = tridiagonal.solve_cyclic(*parts)
    alone = tridiagonal.solve_cyclic(*(part[2:3] for part in parts))
    assert whole.dtype == dtype
    np.testing.assert_array_equal(whole[2:3], alone)


def test_the_arguments_are_left_as_they_were():
    parts = systems(2, 6)
    before = [part.copy() for part in parts]
    tridiagonal.solve(*parts)
    tridiagonal.solve_cyclic(*parts)
    for part, copy in zip(parts, before, strict=True):
        np.testing.assert_array_equal(part, copy)
