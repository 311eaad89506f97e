"""Cole and Hopf's transform against three methods that share nothing with it."""

import numpy as np
import pytest
from scipy import special

from trainables.tasks.pde_bench.burgers_1d import COMPAT, HARD, RANK, cole_hopf
from trainables.tasks.problem import cell_centres


def test_means_are_conserved():
    u = HARD.initial.fields(np.random.default_rng(0).random((30, HARD.initial.num_uniforms)))
    start = u(cell_centres(1024, 0.0, 1.0))
    for diffusivity, time in ((1 / np.pi, 2.0), (0.01 / np.pi, 1.0)):
        end = cole_hopf(start, diffusivity=diffusivity, time=time)
        np.testing.assert_allclose(end.mean(axis=1), start.mean(axis=1), atol=1e-11)


def test_the_published_target_is_constant_in_x():
    y = COMPAT.generate(np.arange(30), seed=0, resolution=64).y
    spread, size = y.std(axis=-1), np.sqrt((y**2).mean(axis=-1))
    assert (spread < 1e-6 * size).all()


@pytest.mark.parametrize(("nu", "tolerance"), [(1.0, 1e-12), (0.1, 1e-8)])
def test_agrees_with_a_pseudo_spectral_integration(nu, tolerance):
    x = cell_centres(256, 0.0, 1.0)
    start = 0.3 + np.sin(2 * np.pi * x) + 0.5 * np.cos(4 * np.pi * x + 1)
    exact = cole_hopf(start[None], diffusivity=nu / np.pi, time=0.5)[0]
    np.testing.assert_allclose(
        exact, integrating_factor_rk4(start, nu / np.pi, time=0.5, num_steps=2000), atol=tolerance
    )


def integrating_factor_rk4(u, diffusivity, *, time, num_steps):
    ik = 2j * np.pi * np.fft.rfftfreq(len(u), 1 / len(u))
    keep = np.abs(ik) < np.abs(ik[-1]) * 2 / 3
    h = time / num_steps
    half = np.exp(diffusivity * ik**2 * h / 2)

    def slope(v):
        return -0.5 * ik * np.fft.rfft(np.fft.irfft(v, len(u)) ** 2) * keep

    v = np.fft.rfft(u)
    for _ in range(num_steps):
        a = slope(v)
        b = slope(half * (v + h / 2 * a))
        c = slope(half * v + h / 2 * b)
        d = slope(half**2 * v + h * half * c)
        v = half**2 * v + h / 6 * (half**2 * a + 2 * half * (b + c) + d)
    return np.fft.irfft(v, len(u))


@pytest.mark.parametrize("problem", [HARD, RANK])
def test_a_sharp_case_agrees_with_quadrature_on_the_line(problem):
    samples = problem.generate(np.arange(6), seed=0, resolution=64)
    smooth = samples.params["windowed"] + samples.params["absolute"] == 0
    assert smooth.any()
    fields = {name: samples.params[name][smooth] for name in ("amplitude", "harmonic", "phase")}
    sign = samples.params["sign"][smooth]
    x = cell_centres(64, 0.0, 1.0)
    expected = np.stack(
        [
            quadrature(
                problem,
                sign[i] * fields["amplitude"][i],
                fields["harmonic"][i],
                fields["phase"][i],
                x,
            )
            for i in range(len(sign))
        ]
    )
    np.testing.assert_allclose(samples.y[smooth, 0], expected, atol=1e-5)


def quadrature(problem, amplitude, harmonic, phase, x):
    """The mean of (x - y) / t under the weights exp(-(U(y) + (x - y)^2 / 2t) / 2 kappa)."""
    kappa, t = problem.nu / np.pi, problem.end_time
    y = np.linspace(-4, 5, 18_001)
    antiderivative = np.zeros_like(y)
    for a, k, p in zip(amplitude, 2 * np.pi * harmonic, phase, strict=True):
        antiderivative += a * np.sin(p) * y if k == 0 else -a / k * np.cos(k * y + p)
    log_weight = -(antiderivative + (x[:, None] - y) ** 2 / (2 * t)) / (2 * kappa)
    weight = special.softmax(log_weight, axis=1)
    return (weight * (x[:, None] - y) / t).sum(axis=1)


def test_the_shock_is_resolved_where_resolution_grows():
    coarse, fine = (HARD.generate(np.arange(10), seed=0, resolution=r) for r in (96, 288))
    np.testing.assert_allclose(coarse.y, fine.y[..., 1::3], atol=2e-3)


def test_the_variant_that_ranks_agrees_with_a_pseudo_spectral_integration():
    start = RANK.generate(np.arange(4), seed=1, resolution=256).x[:, 0]
    diffusivity = RANK.nu / np.pi
    exact = cole_hopf(start, diffusivity=diffusivity, time=RANK.end_time)
    for u, expected in zip(start, exact, strict=True):
        found = integrating_factor_rk4(u, diffusivity, time=RANK.end_time, num_steps=400)
        np.testing.assert_allclose(found, expected, atol=1e-3)
