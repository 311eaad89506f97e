import dataclasses

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from trainables.tasks.pde_bench.advection_1d import COMPAT, HARD, RANK, departure


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
    problem = dataclasses.replace(RANK, speed_range=(0.5, 0.5), max_variation=0.0, end_time=0.5)
    samples = problem.generate(np.arange(50), seed=0, resolution=64)
    field, speed = samples.x[:, :1], samples.x[:, 1]
    np.testing.assert_array_equal(speed, 0.5)
    np.testing.assert_allclose(samples.y, np.roll(field, 16, axis=-1), atol=1e-12)


def test_characteristics_arrive_where_an_integrator_takes_them():
    x, b, e, phi, time = np.linspace(0, 1, 9), 0.4, 0.8, 1.3, 0.7
    one = np.ones((1, 1))
    start = departure(x, b * time * one, variation=e * one, phase=phi * one)[0]

    def speed(_, at):
        return b / (1 + e * np.sin(2 * np.pi * at + phi))

    arrived = solve_ivp(speed, (0, time), start, rtol=1e-10, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(arrived, x, atol=1e-8)


def test_values_are_carried_and_none_is_made():
    samples = RANK.generate(np.arange(40), seed=0, resolution=256)
    assert samples.x[:, 1].min() >= RANK.speed_range[0] / (1 + RANK.max_variation)
    assert samples.x[:, 1].max() <= RANK.speed_range[1] / (1 - RANK.max_variation)
    before, after = np.sort(samples.x[:, 0]), np.sort(samples.y[:, 0])
    np.testing.assert_allclose(after[:, [0, -1]], before[:, [0, -1]], atol=0.05)
