"""Each generator at paper size: its samples a second of one core, and its error.

A rate is of processor time, for a slice of the paper's samples at the paper's resolution. An error
is the relative distance of outputs from a reference which shares as little as possible with the
generator. Where a reference would take too long at the paper's resolution, it is at a coarser one.
"""

import time
from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest
from scipy import sparse
from scipy.integrate import solve_ivp

from trainables.tasks.chunks import keep_freed_memory
from trainables.tasks.pde_bench.burgers_1d import COMPAT as BURGERS
from trainables.tasks.pde_bench.darcy_2d import COMPAT as DARCY
from trainables.tasks.pde_bench.darcy_2d import diffusion_matrix
from trainables.tasks.pde_bench.diffusion_reaction_1d import COMPAT as REACTION
from trainables.tasks.pde_bench.diffusion_reaction_2d import COMPAT as NAGUMO
from trainables.tasks.pde_bench.diffusion_sorption_1d import COMPAT as SORPTION
from trainables.tasks.pde_bench.diffusion_sorption_1d import Laplacian
from trainables.tasks.pde_bench.initial_conditions import normals
from trainables.tasks.pde_bench.navier_stokes_1d import COMPAT as GAS
from trainables.tasks.pde_bench.navier_stokes_1d import evolve as evolve_gas
from trainables.tasks.pde_bench.shallow_water_2d import COMPAT as DAM
from trainables.tasks.pde_bench.shallow_water_2d import evolve_radial
from trainables.tasks.problem import Problem, cell_centres

pytestmark = pytest.mark.benchmark


def advection(points: int) -> float:
    """The input, moved by whole cells."""
    assert points % 5 == 0
    made = problem_of("advection_1d").generate(np.arange(64), seed=0, resolution=points)
    return distance(made.y, np.roll(made.x, 4 * points // 5, axis=-1))


def burgers(points: int) -> float:
    """Fourier modes, de-aliased, on three times the points."""
    made, start = on_thirds(BURGERS, points)
    k = wave_numbers(start)
    keep = k < k[-1] * 2 / 3

    def slope(v: np.ndarray) -> np.ndarray:
        return -0.5j * k * np.fft.rfft(np.fft.irfft(v) ** 2) * keep

    end = modes(start, -BURGERS.nu / np.pi * k**2, slope, time=BURGERS.end_time, num_steps=4000)
    return distance(made[:, 0], end[:, 1::3])


def diffusion_reaction(points: int) -> float:
    """Fourier modes on three times the points, without splitting."""
    made, start = on_thirds(REACTION, points)

    def slope(v: np.ndarray) -> np.ndarray:
        u = np.fft.irfft(v)
        return REACTION.rho * np.fft.rfft(u - u * u)

    decay = -REACTION.nu * wave_numbers(start) ** 2
    end = modes(start, decay, slope, time=REACTION.end_time, num_steps=2000)
    return distance(made[:, 0], end[:, 1::3])


def diffusion_sorption(points: int) -> float:
    """LSODA, to nine digits, of c_t = D / R(c) c_xx on the same cells."""
    made = SORPTION.generate(np.arange(2), seed=0, resolution=points)
    laplacian = Laplacian(points, SORPTION.medium.diffusivity)

    def slope(_: float, c: np.ndarray) -> np.ndarray:
        change: np.ndarray = laplacian(c[None])[0]
        return change / SORPTION.medium.retardation(np.maximum(c, 1e-9))

    ends = [
        solve_ivp(
            slope,
            (0, SORPTION.end_time),
            start,
            method="LSODA",
            lband=1,
            uband=1,
            rtol=1e-9,
            atol=1e-11,
        ).y[:, -1]
        for start in made.x[:, 0]
    ]
    return distance(made.y[:, 0], np.stack(ends))


def navier_stokes(points: int) -> float:
    """The same scheme in double precision on three times the cells: there is no other solution."""
    made, fine = (GAS.generate(np.arange(2), seed=0, resolution=m) for m in (points, 3 * points))
    start = fine.x.reshape(2, 3, -1)[:, [0, 2, 1]]
    nu = 4 / 3 * GAS.eta + GAS.zeta
    end = evolve_gas(start, length=2.0, nu=nu, time=GAS.end_time)[:, [0, 2, 1]]
    return distance(made.y.reshape(2, 3, -1), end.reshape(2, 3, -1, 3).mean(axis=-1))


def darcy(points: int) -> float:
    """Radau's method to eight digits, on the same cells."""
    made = DARCY.generate(np.arange(1), seed=0, resolution=points)
    matrix = diffusion_matrix(made.x[0, 0], boundary=DARCY.boundary)
    start = np.full(points**2, made.params["initial"][0])
    end = solve_ivp(
        lambda _, u: DARCY.beta - matrix @ u,
        (0, DARCY.end_time),
        start,
        method="Radau",
        jac=sparse.csc_matrix(-matrix),
        rtol=1e-8,
        atol=1e-10,
    ).y[:, -1]
    return distance(made.y[0].ravel(), end)


def shallow_water(points: int) -> float:
    """The radial equation on 2048 rings, for a dam that the pixels draw as a staircase."""
    made = DAM.generate(np.arange(3), seed=0, resolution=points)
    ring, x = cell_centres(2048, 0.0, 4.0), cell_centres(points, -2.5, 2.5)
    dams = np.where(ring <= made.params["radius"][:, None], DAM.inner_depth, 1.0)
    profiles = evolve_radial(dams, radius=4.0, time=DAM.end_time)
    radius = np.hypot(x[:, None], x)
    ends = np.stack([np.interp(radius, ring, profile) for profile in profiles])
    return distance(made.y[:, 0], ends)


def diffusion_reaction_2d(points: int) -> float:
    """DOP853 to eight digits, of the same finite volumes, without splitting or transforms."""
    made = NAGUMO.generate(np.arange(1), seed=0, resolution=points)
    rates = np.array(NAGUMO.diffusivity)[:, None, None] * (points / 2) ** 2

    def slope(_: float, flat: np.ndarray) -> np.ndarray:
        state = flat.reshape(2, points, points)
        padded = np.pad(state, ((0, 0), (1, 1), (1, 1)), mode="edge")
        change = padded[:, 2:, 1:-1] + padded[:, :-2, 1:-1] - 4 * state
        change += padded[:, 1:-1, 2:] + padded[:, 1:-1, :-2]
        change *= rates
        u, v = state
        change += np.stack([u - u * u * u - NAGUMO.k - v, u - v])
        return change.ravel()

    start = normals(np.arange(1), seed=0, shape=(2, points, points))
    solution = solve_ivp(
        slope, (0, NAGUMO.end_time), start.ravel(), method="DOP853", rtol=1e-8, atol=1e-9
    )
    return distance(made.y[0, 0], solution.y[:, -1].reshape(2, points, points)[1])


# name: points a side in the paper, samples of the slice, error, points a side for it, its bound
CASES: dict[str, tuple[int, int, Callable[[int], float], int, float]] = {
    "advection_1d": (1024, 1024, advection, 1280, 1e-7),
    "burgers_1d": (1024, 256, burgers, 1024, 1e-6),
    "diffusion_reaction_1d": (1024, 256, diffusion_reaction, 1024, 1e-4),
    "diffusion_sorption_1d": (1024, 32, diffusion_sorption, 1024, 1e-3),
    "navier_stokes_1d": (1024, 32, navier_stokes, 128, 2e-2),
    "darcy_2d": (128, 8, darcy, 64, 1e-2),
    "shallow_water_2d": (128, 1000, shallow_water, 128, 3e-2),
    "diffusion_reaction_2d": (128, 16, diffusion_reaction_2d, 128, 1e-3),
}
PAPER = {"shallow_water_2d": 1000, "diffusion_reaction_2d": 1000}  # samples; 10,000 of the others


@pytest.mark.parametrize("name", CASES)
def test_a_generator_is_near_its_reference(name: str):
    points, count, error_at, coarse, bound = CASES[name]
    problem = problem_of(name)
    keep_freed_memory()  # as `data generate` does
    start = time.process_time()
    for first in range(0, count, problem.chunk):
        chunk = np.arange(first, min(first + problem.chunk, count))
        problem.generate(chunk, seed=0, resolution=points)
    seconds = (time.process_time() - start) / count
    error = error_at(coarse)
    whole = PAPER.get(name, 10_000)
    print(
        f"\n{name} at {points}: {1 / seconds:.3g} samples a second of a core, by {count}; "
        f"{whole} take {whole * seconds:.3g} core-seconds; error {error:.1e} at {coarse}"
    )
    assert error < bound


def problem_of(name: str) -> Problem:
    problem: Problem = import_module(f"trainables.tasks.pde_bench.{name}").COMPAT
    return problem


def distance(made: np.ndarray, reference: np.ndarray) -> float:
    """Relative l2 distance."""
    return float(np.linalg.norm(made - reference) / np.linalg.norm(reference))


def on_thirds(problem: Problem, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return outputs of four samples, and their inputs on points thrice as close, of which every
    third one, from the second, is one of ours."""
    made, fine = (
        problem.generate(np.arange(4), seed=0, resolution=m) for m in (points, 3 * points)
    )
    return made.y, fine.x[:, 0]


def wave_numbers(u: np.ndarray) -> np.ndarray:
    """Return 2 pi j for each Fourier mode of a period of length 1."""
    return 2 * np.pi * np.arange(u.shape[-1] // 2 + 1)


def modes(
    u: np.ndarray,
    rate: np.ndarray,
    slope: Callable[[np.ndarray], np.ndarray],
    *,
    time: float,
    num_steps: int,
) -> np.ndarray:
    """Evolve v_t = rate v + slope(v), v the Fourier modes of u [n, m], by RK4 with an integrating
    factor, in steps that grow linearly."""
    v = np.fft.rfft(u)
    instants = time * (np.arange(num_steps + 1) / num_steps) ** 2
    for h in np.diff(instants):
        half = np.exp(rate * h / 2)
        a = slope(v)
        b = slope(half * (v + h / 2 * a))
        c = slope(half * v + h / 2 * b)
        d = slope(half * (half * v + h * c))
        v = half * half * v + h / 6 * (half * half * a + 2 * half * (b + c) + d)
    return np.fft.irfft(v)
