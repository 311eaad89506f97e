from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from trainables.tasks.pde_bench.diffusion_reaction_2d import (
    COMPAT,
    HARD,
    RANK,
    evolve,
    graded_steps,
)
from trainables.tasks.pde_bench.initial_conditions import normals

EQUATION = {"diffusivity": (1e-3, 5e-3), "k": 5e-3}


def right_hand_side(_, flat, m):
    u, v = flat.reshape(2, m, m)

    def laplacian(w):
        padded = np.pad(w, 1, mode="edge")  # no flux
        neighbours = padded[2:, 1:-1] + padded[:-2, 1:-1] + padded[1:-1, 2:] + padded[1:-1, :-2]
        return (neighbours - 4 * w) * (m / 2) ** 2

    return np.stack(
        [1e-3 * laplacian(u) + u - u**3 - 5e-3 - v, 5e-3 * laplacian(v) + u - v]
    ).ravel()


@pytest.mark.slow
def test_agrees_with_an_adaptive_integrator_of_the_finite_volumes():
    m = 16
    start = normals(np.arange(1), seed=0, shape=(2, m, m))
    end = evolve(start, **EQUATION, steps=graded_steps(5.0, 0.05))
    solution = solve_ivp(
        right_hand_side, (0, 5), start.ravel(), args=(m,), rtol=1e-9, atol=1e-10, method="DOP853"
    )
    reference = solution.y[:, -1].reshape(2, m, m)
    assert np.linalg.norm(end[0] - reference) / np.linalg.norm(reference) < 1e-3


@pytest.mark.slow
def test_a_uniform_state_follows_its_ordinary_differential_equation():
    start = np.ones((1, 2, 8, 8)) * np.array([0.4, -0.2])[:, None, None]
    end = evolve(start, **EQUATION, steps=graded_steps(5.0, 0.01))
    solution = solve_ivp(
        lambda _, s: [s[0] - s[0] ** 3 - 5e-3 - s[1], s[0] - s[1]],
        (0, 5),
        [0.4, -0.2],
        rtol=1e-12,
        atol=1e-13,
    )
    np.testing.assert_allclose(end[0, :, 0, 0], solution.y[:, -1], atol=1e-8)
    assert np.ptp(end[0].reshape(2, -1), axis=1).max() < 1e-13


@pytest.mark.slow
def test_the_splitting_is_of_second_order():
    start = evolve(normals(np.arange(1), seed=0, shape=(2, 16, 16)), **EQUATION, steps=[0.01] * 100)
    reference = evolve(start, **EQUATION, steps=[1 / 640] * 640)
    errors = [
        np.abs(evolve(start, **EQUATION, steps=[1 / n] * n) - reference).max() for n in (10, 20, 40)
    ]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert (orders > 1.8).all(), f"{errors=}"


def test_diffusion_alone_keeps_the_mean():
    start = normals(np.arange(2), seed=0, shape=(2, 16, 16))
    diffused = evolve(start, diffusivity=(0.1, 0.2), k=0.0, steps=[0.0])
    np.testing.assert_allclose(diffused, start, atol=1e-12)
    v = np.zeros_like(start)
    v[:, 1] = start[:, 1]
    # u = v = 0 apart from v: with tiny steps only diffusion has acted on its shape.
    end = evolve(v, diffusivity=(1e3, 1e3), k=0.0, steps=[1e-4] * 50)
    assert np.ptp(end[:, 1].reshape(2, -1), axis=1).max() < 1e-6
    np.testing.assert_allclose(
        end[:, 1].mean(axis=(1, 2)), v[:, 1].mean(axis=(1, 2)) * np.exp(-5e-3), atol=1e-4
    )


def test_steps_fill_the_time_and_start_short():
    for time in (5.0, 0.5, 0.2):
        steps = graded_steps(time, 0.05)
        assert abs(sum(steps) - time) < 1e-12
        assert steps[0] <= 0.0101


@pytest.mark.slow
def test_published_channels_are_u_in_and_v_out_and_the_hard_ones_both():
    compat, hard = (p.generate(np.arange(2), seed=0, resolution=8) for p in (COMPAT, HARD))
    noise = normals(np.arange(2), seed=0, shape=(2, 8, 8))
    np.testing.assert_array_equal(compat.x, noise[:, :1])
    np.testing.assert_array_equal(hard.x, noise)
    assert compat.y.shape[1] == 1
    assert hard.y.shape[1] == 2


def halved(y):
    """Means over 2 x 2 cells."""
    return y.reshape(*y.shape[:2], y.shape[2] // 2, 2, y.shape[3] // 2, 2).mean(axis=(3, 5))


def test_smooth_fields_are_the_same_at_every_resolution():
    coarse, fine = (RANK.generate(np.arange(4), seed=0, resolution=m).x for m in (16, 32))
    assert np.linalg.norm(halved(fine) - coarse) < 0.03 * np.linalg.norm(coarse)


@pytest.mark.slow
def test_the_solution_from_smooth_fields_converges_in_space():
    ends = [RANK.generate(np.arange(4), seed=0, resolution=m).y for m in (16, 32, 64, 128)]
    errors = [np.std(halved(fine) - coarse) for coarse, fine in pairwise(ends)]
    orders = -np.diff(np.log2(errors))
    assert (orders > 1.7).all(), f"{orders=}"
