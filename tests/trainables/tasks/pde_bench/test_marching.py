import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainables.tasks.pde_bench.marching import march, monotonized_central

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
