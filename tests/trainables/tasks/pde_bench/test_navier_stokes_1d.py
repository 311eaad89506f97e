"""The gas dynamics scheme against exact solutions and conservation laws, in double precision."""

import numpy as np
import pytest
from scipy.optimize import brentq

from trainables.tasks.pde_bench.navier_stokes_1d import (
    COMPAT,
    GAMMA,
    HARD,
    RANK,
    NavierStokes,
    conserved,
    evolve,
    primitive,
    viscous,
)
from trainables.tasks.problem import cell_centres


def smooth(n=3, m=64):
    x = cell_centres(m, -1.0, 1.0)
    phase = np.arange(n)[:, None]
    return np.stack(
        [
            2 + np.sin(np.pi * x + phase),
            0.5 * np.cos(np.pi * x * (1 + phase % 2)),
            20 + 10 * np.sin(2 * np.pi * x - phase),
        ],
        axis=1,
    )


def test_conversions_invert_one_another():
    np.testing.assert_allclose(primitive(conserved(smooth())), smooth(), rtol=1e-13)


@pytest.mark.parametrize("nu", [0.0, 0.01, 0.25])
def test_mass_momentum_and_energy_are_conserved(nu):
    start = smooth()
    end = evolve(start, length=2.0, nu=nu, time=0.3)
    before, after = (conserved(w).sum(axis=-1) for w in (start, end))
    scale = np.abs(conserved(start)).sum(axis=-1)
    assert (np.abs(after - before) / scale).max() < 1e-12


def test_a_uniform_state_does_not_change():
    w = np.ones((1, 3, 32)) * np.array([1.3, 0.7, 5.0])[:, None]
    np.testing.assert_allclose(evolve(w, length=2.0, nu=0.2, time=1.0), w, rtol=1e-13)


def test_a_contact_is_carried_without_disturbing_velocity_and_pressure():
    x = cell_centres(64, 0.0, 1.0)
    w = np.stack([1 + (np.abs(x - 0.5) < 0.2), np.full(64, 1.0), np.full(64, 3.0)])[None]
    rho, v, p = evolve(w, length=1.0, nu=0.0, time=1.0)[0]
    np.testing.assert_allclose(v, 1.0, rtol=1e-11)
    np.testing.assert_allclose(p, 3.0, rtol=1e-11)
    assert np.abs(rho - w[0, 0]).mean() < 0.1


def test_sound_converges_with_second_order():
    """A weak simple wave, over one period: what is left is the scheme's error."""

    def error(m):
        x = cell_centres(m, 0.0, 1.0)
        amplitude, c = 1e-5, GAMMA**0.5
        wave = amplitude * np.sin(2 * np.pi * x)
        w = np.stack([1 + wave, c * wave, 1 + GAMMA * wave])[None]
        end = evolve(w, length=1.0, nu=0.0, time=1 / c)
        return np.abs(end[0, 0] - w[0, 0]).mean() / amplitude

    errors = [error(m) for m in (64, 128, 256)]
    assert (np.log2(np.divide(errors[:-1], errors[1:])) > 1.7).all(), f"{errors=}"


def test_sod_s_shock_tube_has_the_star_state():
    m = 800
    x = cell_centres(m, -1.0, 1.0)
    inside = np.abs(x) < 0.5  # two tubes, back to back, so that the domain is periodic
    w = np.stack([np.where(inside, 1, 0.125), 0 * x, np.where(inside, 1, 0.1)])[None]
    _, v, p = evolve(w, length=2.0, nu=0.0, time=0.15)[0]

    def velocity(p_star, rho_k, p_k):
        c = (GAMMA * p_k / rho_k) ** 0.5
        if p_star > p_k:
            a, b = 2 / (GAMMA + 1) / rho_k, (GAMMA - 1) / (GAMMA + 1) * p_k
            return (p_star - p_k) * (a / (p_star + b)) ** 0.5
        return 2 * c / (GAMMA - 1) * ((p_star / p_k) ** ((GAMMA - 1) / 2 / GAMMA) - 1)

    p_star = brentq(lambda q: velocity(q, 1, 1) + velocity(q, 0.125, 0.1), 0.1, 1)
    u_star = velocity(p_star, 0.125, 0.1)
    contact = 0.5 + u_star * 0.15
    near = np.abs(x - contact) < 0.04  # on both sides of the contact, inside the star region
    assert p[near].mean() == pytest.approx(p_star, rel=2e-3)
    assert v[near].mean() == pytest.approx(u_star, rel=2e-3)
    np.testing.assert_allclose(v, -v[::-1], atol=1e-9)


def test_a_shear_of_velocity_decays_as_the_heat_equation_says():
    """rho and p so large that only viscosity acts: v_t = nu v_xx."""
    m, nu, time = 128, 0.1, 0.5
    x = cell_centres(m, -1.0, 1.0)
    w = np.stack([np.ones(m), 1e-3 * np.sin(np.pi * x), np.full(m, 1.0)])[None]
    # A standing sound wave: damped at half the rate of the diffusion of v.
    end = evolve(w, length=2.0, nu=nu, time=time)
    omega = np.pi * GAMMA**0.5
    damping = nu * np.pi**2 / 2
    frequency = (omega**2 - damping**2) ** 0.5
    phase = np.cos(frequency * time) - damping / frequency * np.sin(frequency * time)
    exact = np.exp(-damping * time) * phase
    measured = (end[0, 1] * np.sin(np.pi * x)).mean() / (w[0, 1] * np.sin(np.pi * x)).mean()
    assert measured == pytest.approx(exact, abs=5e-3)


def test_viscosity_heats_and_never_cools():
    m = 64
    x = cell_centres(m, -1.0, 1.0)
    w = np.stack([np.ones(m), np.sin(np.pi * x), np.full(m, 1e4)])[None]
    entropy = [
        np.log(e[0, 2] / e[0, 0] ** GAMMA).sum()
        for e in (
            w,
            evolve(w, length=2.0, nu=0.2, time=0.02),
            evolve(w, length=2.0, nu=0.2, time=0.04),
        )
    ]
    assert entropy[0] < entropy[1] < entropy[2]


def test_viscosity_heats_alike_in_every_inertial_frame():
    at_rest, moving = smooth(), smooth()
    moving[:, 1] += 3.0
    ratio = np.full(len(at_rest), 0.8)
    rho, v, p = primitive(viscous(conserved(at_rest), ratio)).swapaxes(0, 1)
    rho_moving, v_moving, p_moving = primitive(viscous(conserved(moving), ratio)).swapaxes(0, 1)
    np.testing.assert_allclose(rho_moving, rho, rtol=1e-13)
    np.testing.assert_allclose(v_moving, v + 3.0, rtol=1e-12)
    np.testing.assert_allclose(p_moving, p, rtol=1e-12)
    assert (p > at_rest[:, 2]).all()  # everywhere, not only in all


@pytest.mark.slow
@pytest.mark.parametrize("problem", [COMPAT, HARD])
def test_density_and_pressure_stay_positive(problem):
    m = 64
    samples = problem.generate(np.arange(40), seed=0, resolution=m)
    for state in (samples.x, samples.y):
        assert state[:, 0, : 2 * m].min() > 0


@pytest.mark.slow
def test_a_finer_grid_changes_little():
    errors = []
    for m in (64, 128):
        coarse, fine = (COMPAT.generate(np.arange(6), seed=1, resolution=r) for r in (m, 2 * m))
        average = fine.y.reshape(6, -1, 2).mean(axis=-1)
        difference = np.linalg.norm(coarse.y[:, 0] - average, axis=1)
        errors.append((difference / np.linalg.norm(average, axis=1)).mean())
    assert errors[1] < errors[0] < 0.02
    assert errors[1] < 0.01


@pytest.mark.slow
def test_single_precision_is_enough_for_the_data():
    start = COMPAT.generate(np.arange(4), seed=0, resolution=64).x.reshape(4, 3, 64)[:, [0, 2, 1]]
    ends = [
        evolve(start.astype(dtype), length=2.0, nu=0.2333, time=1.0)
        for dtype in (np.float32, np.float64)
    ]
    assert ends[0].dtype == np.float32
    assert np.linalg.norm(ends[0] - ends[1]) / np.linalg.norm(ends[1]) < 1e-4


def test_channels_hold_what_the_published_layout_has_end_to_end():
    lines = NavierStokes(**{**RANK.parameters(), "initial": RANK.initial})
    beside, end_to_end = (
        problem.generate(np.arange(3), seed=0, resolution=16) for problem in (RANK, lines)
    )
    assert beside.x.shape == (3, 3, 16)
    for ours, theirs in ((beside.x, end_to_end.x), (beside.y, end_to_end.y)):
        np.testing.assert_array_equal(ours.reshape(theirs.shape), theirs)
