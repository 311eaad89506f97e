import numpy as np
import pytest

from trainables.tasks.pde_bench.diffusion_reaction_1d import COMPAT, HARD, RANK, evolve


def test_a_uniform_state_grows_logistically():
    start = np.full((1, 32), 0.2)
    end = evolve(start, nu=0.5, rho=2.0, time=1.5, num_steps=7)
    exact = 0.2 * np.exp(3.0) / (1 + 0.2 * (np.exp(3.0) - 1))
    np.testing.assert_allclose(end, exact, rtol=1e-14)


def test_what_declines_is_what_grows_counted_from_one():
    start = RANK.generate(np.arange(5), seed=0, resolution=64).x[:, 0]
    down, up = (
        evolve(u, nu=RANK.nu, rho=rho, time=RANK.end_time, num_steps=RANK.num_steps)
        for u, rho in ((start, RANK.rho), (1 - start, -RANK.rho))
    )
    np.testing.assert_allclose(down, 1 - up, atol=1e-13)


def test_a_wave_decays_at_its_rate_where_nothing_grows():
    x = np.arange(64) / 64
    start = 0.5 + 0.4 * np.sin(4 * np.pi * x)[None]
    end = evolve(start, nu=0.01, rho=0.0, time=2.0, num_steps=5)
    exact = 0.5 + 0.4 * np.sin(4 * np.pi * x) * np.exp(-0.02 * (4 * np.pi) ** 2)
    np.testing.assert_allclose(end[0], exact, atol=1e-14)


def test_concentrations_stay_between_zero_and_one():
    for problem in (COMPAT, HARD, RANK):
        samples = problem.generate(np.arange(40), seed=0, resolution=128)
        assert samples.x.min() >= 0
        assert samples.x.max() <= 1
        assert samples.y.min() >= 0
        assert samples.y.max() <= 1


def test_the_splitting_is_of_second_order():
    x = np.arange(128) / 128
    start = 0.5 + 0.3 * np.sin(2 * np.pi * x)[None] + 0.1 * np.cos(6 * np.pi * x)[None]

    def end(steps):
        return evolve(start, nu=0.02, rho=5.0, time=0.5, num_steps=steps)

    reference = end(1280)
    errors = [np.abs(end(steps) - reference).max() for steps in (10, 20, 40)]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert (np.abs(orders - 2) < 0.15).all(), f"{errors=}"


@pytest.mark.slow
def test_default_steps_are_fine_enough():
    for problem in (COMPAT, HARD, RANK):
        start = problem.generate(np.arange(10), seed=0, resolution=64).x[:, 0]
        ends = [
            evolve(start, nu=problem.nu, rho=problem.rho, time=problem.end_time, num_steps=steps)
            for steps in (problem.num_steps, 8 * problem.num_steps)
        ]
        assert np.abs(ends[0] - ends[1]).max() < 1e-5


def test_the_published_target_is_constant_in_x_and_the_hard_one_is_not():
    spread = [
        p.generate(np.arange(20), seed=0, resolution=64).y.std(axis=-1) for p in (COMPAT, HARD)
    ]
    assert spread[0].max() < 1e-6
    assert spread[1].mean() > 0.1
