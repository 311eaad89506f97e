import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import expm

from trainables.tasks.pde_bench.darcy_2d import (
    COMPAT,
    HARD,
    RANK,
    diffusion_matrix,
    steady_state,
    transient_state,
)
from trainables.tasks.problem import cell_centres


def medium(m=16):
    return np.where(np.random.default_rng(0).random((m, m)) < 0.5, 0.1, 1.0)


@pytest.mark.parametrize("boundary", ["face", "ghost"])
def test_the_matrix_is_symmetric_positive_definite_with_dominant_diagonal(boundary):
    matrix = diffusion_matrix(medium(), boundary=boundary).toarray()
    np.testing.assert_array_equal(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix).min() > 0
    off_diagonal = matrix - np.diag(np.diag(matrix))
    assert (off_diagonal <= 0).all()
    assert (np.diag(matrix) + 1e-9 >= -off_diagonal.sum(axis=1)).all()


def test_the_residual_is_at_rounding():
    samples = HARD.generate(np.arange(4), seed=0, resolution=32)
    for a, u in zip(samples.x[:, 0], samples.y[:, 0], strict=True):
        residual = diffusion_matrix(a, boundary="face") @ u.ravel() - HARD.beta
        assert np.abs(residual).max() < 1e-10


def test_the_solution_is_linear_in_the_source():
    one, two = (
        dataclasses.replace(HARD, beta=beta).generate(np.arange(3), seed=0, resolution=24).y
        for beta in (0.1, 0.2)
    )
    np.testing.assert_allclose(two, 2 * one, rtol=1e-10)


def test_the_solution_is_positive_and_its_mean_lies_between_those_of_uniform_media():
    samples = HARD.generate(np.arange(20), seed=0, resolution=24)
    slowest = steady_state(
        diffusion_matrix(np.full((24, 24), HARD.low), boundary="face"), np.full(576, HARD.beta)
    )
    assert (samples.y > 0).all()
    mean = samples.y.mean(axis=(1, 2, 3))  # falls where a rises anywhere: Dirichlet's principle
    assert (mean < slowest.mean()).all()
    assert (mean > slowest.mean() * HARD.low / HARD.high).all()


def test_twice_the_conductivity_halves_the_solution():
    weak, strong = (
        steady_state(diffusion_matrix(a, boundary="face"), np.ones(256))
        for a in (medium(), 2 * medium())
    )
    np.testing.assert_allclose(weak, 2 * strong, rtol=1e-10)


def test_a_steady_current_crosses_an_interface_of_two_media_unchanged():
    m = 8
    a = np.ones((m, m))
    a[m // 2 :] = 0.1
    depth = np.arange(m) + 0.5 - m / 2  # from the interface, in cells
    u = np.repeat((depth / a[:, 0])[:, None], m, axis=1)  # a du/dx = 1 on both sides
    for conductivity, field in ((a, u), (a.T, u.T)):
        divergence = diffusion_matrix(conductivity, boundary="face") @ field.ravel()
        np.testing.assert_allclose(divergence.reshape(m, m)[1:-1, 1:-1], 0, atol=1e-10)


def test_what_the_source_makes_leaves_through_the_boundary():
    m = 24
    samples = HARD.generate(np.arange(3), seed=0, resolution=m)
    for a, u in zip(samples.x[:, 0], samples.y[:, 0], strict=True):
        product = a * u
        sides = product[0].sum() + product[-1].sum() + product[:, 0].sum() + product[:, -1].sum()
        outflow = 2 * sides  # gradient u / (h / 2) over faces of length h
        assert outflow == pytest.approx(HARD.beta, rel=1e-10)


def fourier_series(m, terms=199):
    x = cell_centres(m, 0.0, 1.0)
    k = np.arange(1, terms + 1, 2)
    modes = np.sin(np.pi * np.outer(x, k))
    weights = 16 / np.pi**4 / (np.outer(k, k) * (k[:, None] ** 2 + k**2))
    return modes @ weights @ modes.T


def test_a_uniform_medium_gives_the_fourier_series_with_second_order():
    errors = []
    for m in (16, 32, 64):
        u = steady_state(diffusion_matrix(np.ones((m, m)), boundary="face"), np.ones(m * m))
        exact = fourier_series(m)
        errors.append(np.abs(u.reshape(m, m) - exact).max() / exact.max())
    assert errors[-1] < 1e-3
    assert (np.log2(np.divide(errors[:-1], errors[1:])) > 1.8).all(), f"{errors=}"


def test_the_transient_agrees_with_the_matrix_exponential_with_second_order():
    m = 8
    matrix = diffusion_matrix(medium(m), boundary="ghost")
    source, start = np.full(m * m, 0.1), np.full(m * m, 3.0)
    steady = steady_state(matrix, source)
    exact = steady + expm(-1.75 * matrix.toarray()) @ (start - steady)
    errors = [
        np.abs(transient_state(matrix, source, start, time=1.75, num_steps=n) - exact).max()
        for n in (16, 32, 64, 128)
    ]
    assert errors[1] < 5e-3 * exact.max()
    assert np.log2(errors[1] / errors[3]) / 2 > 1.8, f"{errors=}"


def test_the_transient_ends_in_the_steady_state():
    matrix = diffusion_matrix(medium(), boundary="ghost")
    source = np.full(256, 0.1)
    late = transient_state(matrix, source, np.full(256, 5.0), time=50.0, num_steps=64)
    np.testing.assert_allclose(late, steady_state(matrix, source), rtol=1e-8)


def test_the_published_target_remembers_a_start_that_is_not_an_input():
    samples = COMPAT.generate(np.arange(12), seed=0, resolution=16)
    steady = dataclasses.replace(COMPAT, end_time=None).generate(
        np.arange(12), seed=0, resolution=16
    )
    np.testing.assert_array_equal(samples.x, steady.x)
    excess = (samples.y - steady.y).mean(axis=(1, 2, 3)) / steady.y.mean(axis=(1, 2, 3))
    assert excess.mean() > 0.1
    assert np.isin(samples.x, [COMPAT.low, COMPAT.high]).all()


def test_both_media_are_common():
    share = (HARD.generate(np.arange(200), seed=0, resolution=8).x == HARD.high).mean()
    assert 0.3 < share < 0.7


def test_a_lognormal_medium_has_the_steady_solution_of_its_exponential():
    samples = RANK.generate(np.arange(3), seed=0, resolution=24)
    for log_a, u in zip(samples.x[:, 0], samples.y[:, 0], strict=True):
        residual = diffusion_matrix(np.exp(log_a), boundary="face") @ u.ravel() - RANK.beta
        assert np.abs(residual).max() < 1e-9


def test_solutions_of_lognormal_media_converge_at_second_order():
    sides = (16, 32, 64, 128)
    solutions = [RANK.generate(np.arange(4), seed=0, resolution=side).y for side in sides]
    errors = [
        np.std(fine.reshape(4, side, 2, side, 2).mean(axis=(2, 4)) - coarse[:, 0])
        for side, (coarse, fine) in zip(sides, pairwise(solutions), strict=False)
    ]
    assert (-np.diff(np.log2(errors)) > 1.7).all(), f"{errors=}"


def test_the_log_conductivity_has_its_deviation():
    x = RANK.generate(np.arange(500), seed=0, resolution=8).x
    assert x.std() == pytest.approx(RANK.deviation, rel=0.05)
