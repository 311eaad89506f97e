import numpy as np
import pytest
from scipy.integrate import solve_ivp

from trainables.tasks.pde_bench import diffusion_sorption_1d
from trainables.tasks.pde_bench.diffusion_sorption_1d import (
    COMPAT,
    HARD,
    RANK,
    Laplacian,
    Medium,
    evolve,
)

MEDIUM = Medium()


def right_hand_side(_, c, k=3.5e-4, n=0.874):
    """The equation as it is written, on cells, with the boundary's ghost values."""
    m = len(c)
    right = MEDIUM.diffusivity * (c[-1] - c[-2]) * m
    padded = np.concatenate([[1.0], c, [right]])
    laplacian = (padded[2:] - 2 * padded[1:-1] + padded[:-2]) * m**2
    retardation = 1 + (1 - 0.29) / 0.29 * 2880 * k * n * np.maximum(c, 1e-9) ** (n - 1)
    return MEDIUM.diffusivity / retardation * laplacian


def test_agrees_with_an_adaptive_integrator():
    m = 32
    start = np.stack([np.full(m, 0.1), 0.1 + 0.1 * np.sin(6 * np.arange(m) / m) ** 2])
    ends = evolve(start, medium=MEDIUM, time=500.0, num_steps=64)
    for c, end in zip(start, ends, strict=True):
        solution = solve_ivp(right_hand_side, (0, 500), c, method="LSODA", rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(end, solution.y[:, -1], atol=2e-4)


def test_the_variant_that_ranks_agrees_with_an_adaptive_integrator():
    start = RANK.generate(np.arange(3), seed=0, resolution=32).x[:, 0]
    ends = evolve(start, medium=RANK.medium, time=RANK.end_time, num_steps=RANK.num_steps)
    for c, end in zip(start, ends, strict=True):
        solution = solve_ivp(
            right_hand_side, (0, 300), c, "LSODA", args=(0.01, 0.1), rtol=1e-8, atol=1e-10
        )
        np.testing.assert_allclose(end, solution.y[:, -1], atol=2e-4)


@pytest.mark.slow
def test_what_is_stored_grows_by_what_flows_through_the_boundary():
    """d/dt sum F = the sum of D c_xx, which telescopes to the boundary's fluxes."""
    start, m = np.full((1, 32), 0.1), 32
    fluxes, stored, instants = [], [], np.linspace(100.0, 101.0, 21)
    for time in instants:
        c = evolve(start, medium=MEDIUM, time=float(time), num_steps=256)[0]
        ghost = MEDIUM.diffusivity * (c[-1] - c[-2]) * m
        fluxes.append(MEDIUM.diffusivity * m**2 * ((1 - c[0]) - (c[-1] - ghost)))
        stored.append(MEDIUM.stored(c).sum())
    inflow = np.trapezoid(fluxes, instants)
    assert stored[-1] - stored[0] == pytest.approx(inflow, rel=1e-3)


@pytest.mark.slow
def test_time_steps_converge_with_second_order():
    start = np.full((1, 64), 0.15)

    def end(steps):
        return evolve(start, medium=MEDIUM, time=500.0, num_steps=steps)

    reference = end(1024)
    errors = [np.abs(end(steps) - reference).max() for steps in (32, 64, 128)]
    assert errors[1] < 1e-4
    assert np.log2(errors[0] / errors[2]) / 2 > 1.7, f"{errors=}"


def test_grids_converge_with_first_order_as_the_ghost_cell_implies():
    def end(cells):
        c = evolve(np.full((1, cells), 0.1), medium=MEDIUM, time=500.0, num_steps=64)
        return c.reshape(32, -1).mean(axis=1)

    reference = end(1024)
    errors = [np.abs(end(cells) - reference).max() for cells in (32, 64, 128)]
    assert errors[2] < 0.008
    assert 0.9 < np.log2(errors[0] / errors[2]) / 2 < 1.3, f"{errors=}"


def test_newton_s_iterations_have_converged(monkeypatch):
    level = np.linspace(1e-4, 0.2, 9)[:, None] * np.ones(48)
    end = evolve(level, medium=MEDIUM, time=500.0, num_steps=64)
    monkeypatch.setattr(diffusion_sorption_1d, "NUM_NEWTON", 12)
    again = evolve(level, medium=MEDIUM, time=500.0, num_steps=64)
    np.testing.assert_allclose(end, again, atol=1e-10)
    field = RANK.generate(np.arange(9), seed=0, resolution=48)
    monkeypatch.undo()
    np.testing.assert_allclose(
        RANK.generate(np.arange(9), seed=0, resolution=48).y, field.y, atol=1e-10
    )


def test_concentrations_are_bounded_and_monotone_in_the_initial_level():
    level = np.linspace(0, 0.2, 12)
    end = evolve(level[:, None] * np.ones(64), medium=MEDIUM, time=500.0, num_steps=64)
    assert (end >= 0).all()
    assert (end <= 1).all()
    assert (np.diff(end, axis=0) > 0).all()
    assert (np.diff(end, axis=1) < 0).all()  # and falls from the source at the left


def test_an_empty_medium_fills_everywhere_with_time():
    start = np.zeros((1, 64))
    ends = [evolve(start, medium=MEDIUM, time=t, num_steps=64)[0] for t in (50.0, 150.0, 500.0)]
    rise = np.diff(ends, axis=0)
    assert (rise >= -1e-9).all()  # ahead of the front, nothing has come yet
    assert (rise[:, :16] > 0.01).all()


def test_the_laplacian_is_exact_for_a_line_that_meets_the_left_ghost():
    m = 16
    line = 1 - (np.arange(m) + 1) * 0.03
    result = Laplacian(m, 0.5)(line[None])[0]
    np.testing.assert_allclose(result[:-1], 0, atol=1e-11)


def test_the_published_input_is_one_number_and_that_of_our_variants_a_field():
    assert np.ptp(COMPAT.generate(np.arange(5), seed=0, resolution=32).x, axis=-1).max() == 0
    for problem in (HARD, RANK):
        assert np.ptp(problem.generate(np.arange(5), seed=0, resolution=32).x, axis=-1).min() > 0.01
