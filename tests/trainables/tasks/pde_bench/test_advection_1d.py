import dataclasses

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from trainables.tasks.pde_bench.advection_1d import COMPAT, HARD, RANK, departure
from trainables.tasks.problem import cell_centres


def test_a_shift_by_whole_periods_is_the_identity():
    for beta in (0.0, 0.5, -1.5):
        samples = dataclasses.replace(COMPAT, beta=beta).generate(
            np.arange(50), seed=0, resolution=64
        )
        np.testing.assert_array_equal(samples.y, samples.x)


@pytest.mark.parametrize("problem", [COMPAT, HARD])
def test_a_shift_by_whole_cells_moves_the_samples(problem):
    samples = dataclasses.replace(problem, beta=0.25 / 2).generate(
        np.arange(50), seed=0, resolution=64
    )
    np.testing.assert_allclose(samples.y, np.roll(samples.x, 16, axis=-1), atol=1e-12)


def test_the_published_case_moves_by_four_fifths_of_the_domain():
    samples = COMPAT.generate(np.arange(20), seed=0, resolution=100)
    np.testing.assert_allclose(samples.y, np.roll(samples.x, 80, axis=-1), atol=1e-9)


def test_a_speed_that_does_not_vary_moves_the_samples_by_whole_cells():
    problem = dataclasses.replace(RANK, variation=0.0, end_time=0.5)
    samples = problem.generate(np.arange(50), seed=0, resolution=64)
    field, speed = samples.x[:, :1], samples.x[:, 1]
    np.testing.assert_array_equal(speed, 0.5)
    np.testing.assert_allclose(samples.y, np.roll(field, 16, axis=-1), atol=1e-9)


def test_characteristics_arrive_where_an_integrator_takes_them():
    def speed(_, at):
        return 0.4 * np.exp(0.8 * np.sin(2 * np.pi * at + 1.3))

    x, time = np.linspace(0, 1, 9)[:-1], 0.7
    start = departure(x, 1 / speed(0, cell_centres(4096, 0.0, 1.0))[None], time=time)[0]
    arrived = solve_ivp(speed, (0, time), start, rtol=1e-10, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(np.mod(arrived - x + 0.5, 1.0), 0.5, atol=1e-6)


def test_a_varying_speed_carries_values_and_makes_none():
    samples = RANK.generate(np.arange(40), seed=0, resolution=256)
    assert samples.x[:, 1].min() > 0
    before, after = np.sort(samples.x[:, 0]), np.sort(samples.y[:, 0])
    np.testing.assert_allclose(after[:, [0, -1]], before[:, [0, -1]], atol=0.05)
