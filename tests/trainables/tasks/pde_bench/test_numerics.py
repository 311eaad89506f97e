import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainables.tasks.pde_bench import numerics
from trainables.tasks.pde_bench.numerics import march, monotonized_central

differences = arrays(np.float64, 20, elements=st.floats(-10, 10, width=32))


def test_every_sample_arrives_at_the_end_time_by_its_own_steps():
    steps = np.array([0.3, 0.07, 5.0])
    state = np.column_stack([steps, np.zeros(3), np.zeros(3)])  # own step, time, steps taken

    result = march(
        state,
        end_time=1.0,
        stable_step=lambda s: s[:, 0],
        advance=lambda s, step: s + np.column_stack([0 * step, step, np.ones_like(step)]),
    )

    np.testing.assert_allclose(result[:, 1], 1.0, rtol=1e-15)
    np.testing.assert_array_equal(result[:, 2], [4, 15, 1])


@given(differences, differences)
def test_the_limited_slope_is_bounded_odd_and_symmetric(left, right):
    slope = monotonized_central(left, right)
    assert (np.abs(slope) <= 2 * np.minimum(np.abs(left), np.abs(right)) + 1e-12).all()
    assert (slope[left * right <= 0] == 0).all()
    np.testing.assert_array_equal(slope, monotonized_central(right, left))
    np.testing.assert_array_equal(slope, -monotonized_central(-left, -right))


def test_the_slope_of_a_smooth_function_is_the_central_difference():
    np.testing.assert_allclose(monotonized_central(np.array([1.0]), np.array([1.5])), [1.25])


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
        solution = numerics.solve_cyclic_tridiagonal(lower, diagonal, upper, rhs)
    else:
        (solution,) = numerics.solve_tridiagonal(lower, diagonal, upper, rhs)
    for i in range(3):
        matrix = dense(lower[i], diagonal[i], upper[i], cyclic=cyclic)
        np.testing.assert_allclose(matrix @ solution[i], rhs[i], atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_does_not_notice_the_others(dtype):
    parts = systems(5, 16, dtype)
    whole = numerics.solve_cyclic_tridiagonal(*parts)
    alone = numerics.solve_cyclic_tridiagonal(*(part[2:3] for part in parts))
    assert whole.dtype == dtype
    np.testing.assert_array_equal(whole[2:3], alone)


def test_the_arguments_are_left_as_they_were():
    parts = systems(2, 6)
    before = [part.copy() for part in parts]
    numerics.solve_tridiagonal(*parts)
    numerics.solve_cyclic_tridiagonal(*parts)
    for part, copy in zip(parts, before, strict=True):
        np.testing.assert_array_equal(part, copy)
