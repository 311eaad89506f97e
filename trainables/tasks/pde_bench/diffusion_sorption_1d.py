"""Diffusion with sorption on [0, 1], c_t = D / R(c) c_xx, with Freundlich's retardation factor.

    R(c) = 1 + (1 - phi) / phi rho_s k n c^(n - 1).

The equation is solved in its conserved form d/dt F(c) = D c_xx with F' = R. This gives
F(c) = c + (K / n) c^n, where K = (1 - phi) / phi rho_s k n. The time steps are those of TR-BDF2
(Bank et al., IEEE Trans. CAD 4, 1985), which damps the jump at the left boundary. They grow
linearly. Newton's method solves each stage.

Boundary values are located in the centre of the first cell outside, as in PDEBench's data: c = 1 on
the left, c = D c_x on the right. The scheme is therefore of first order in space. The sign on the
right is that of PDEBench's paper. Its simulator has the other one, by which a solution of the
published medium differs by up to 6e-4 of its norm.
"""

from dataclasses import dataclass

import numpy as np

from trainables.tasks.pde_bench import numerics
from trainables.tasks.pde_bench.initial_conditions import FourierSpec, rescaled, uniforms
from trainables.tasks.problem import GeneratedSamples, Problem, cell_centres

GAMMA = 2 - 2**0.5  # of TR-BDF2, so that both stages have the same matrix
FLOOR = 1e-9  # minimal concentration, because R is infinite at zero
NUM_NEWTON = 4  # fixed, so that a sample does not depend on the other samples of a batch
REFERENCE = 1024


@dataclass(frozen=True, kw_only=True)
class Medium:
    """A porous medium, in the units of the published data."""

    diffusivity: float = 5e-4
    porosity: float = 0.29
    bulk_density: float = 2880.0
    freundlich_k: float = 3.5e-4
    freundlich_n: float = 0.874

    @property
    def capacity(self) -> float:
        """K of the module's docstring."""
        solid = (1 - self.porosity) / self.porosity * self.bulk_density
        return solid * self.freundlich_k * self.freundlich_n

    def retardation(self, c: np.ndarray) -> np.ndarray:
        """Return R(c)."""
        result: np.ndarray = 1 + self.capacity * np.power(c, self.freundlich_n - 1)
        return result

    def stored(self, c: np.ndarray) -> np.ndarray:
        """Return F(c), the dissolved and sorbed amount."""
        n = self.freundlich_n
        result: np.ndarray = c + self.capacity / n * np.power(c, n)
        return result


@dataclass(frozen=True, kw_only=True)
class DiffusionSorption(Problem):
    """Diffusion of a pollutant into a medium from the left."""

    medium: Medium = Medium()
    end_time: float = 500.0
    num_steps: int = 64
    max_initial: float = 0.2
    field: FourierSpec | None = None  # of c(0); None: c(0) is constant in x

    test_first = False

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return samples c(0) -> c(end_time)."""
        count = 1 + (self.field.num_uniforms if self.field else 0)
        drawn = uniforms(indices, seed=seed, count=count)
        level = self.max_initial * drawn[:, :1]
        params = {"level": level[:, 0]}
        start = np.repeat(level, resolution, axis=1)
        if self.field:
            field = self.field.fields(drawn[:, 1:])
            x = cell_centres(resolution, 0.0, 1.0)
            start = level * rescaled(field, x, reference=cell_centres(REFERENCE, 0.0, 1.0))
            params |= field.params()
        return GeneratedSamples(x=start[:, None], y=self.solve(start[:, None]), params=params)

    def solve(self, x: np.ndarray) -> np.ndarray:
        """Return c(end_time) of c(0)."""
        return evolve(x[:, 0], medium=self.medium, time=self.end_time, num_steps=self.num_steps)[
            :, None
        ]


def evolve(c: np.ndarray, *, medium: Medium, time: float, num_steps: int) -> np.ndarray:
    """Solve the equation on [0, 1].

    Args:
        c: Initial concentration [n, m].
        medium: Parameters of the equation.
        time: End time.
        num_steps: Number of time steps.

    Returns:
        The concentration [n, m] at the end time, at least `FLOOR`.
    """
    c = np.maximum(c, FLOOR)
    instants = time * (np.arange(num_steps + 1) / num_steps) ** 2
    laplacian = Laplacian(c.shape[1], medium.diffusivity)
    # A TR-BDF2 step: a trapezoidal stage over GAMMA of the step, then a BDF2 stage over all of it.
    for step in np.diff(instants):
        implicit = GAMMA / 2 * float(step)
        before = medium.stored(c)
        middle = _newton(c, before + implicit * laplacian(c), implicit, medium, laplacian)
        weight = 1 / (GAMMA * (2 - GAMMA))
        known = weight * medium.stored(middle) + (1 - weight) * before
        c = _newton(middle, known, implicit, medium, laplacian)
    return c


class Laplacian:
    """The operator D c_xx with ghost cells, as three diagonals and a constant, each [m]."""

    def __init__(self, m: int, diffusivity: float) -> None:
        # Ghost values depend on the last inner cells, so they change the first and the last row.
        spacing = 1 / m
        scale = diffusivity / spacing**2
        outflow = diffusivity / spacing  # right ghost = outflow (c_{m-1} - c_{m-2})
        self.lower = np.full(m, scale)
        self.diagonal = np.full(m, -2 * scale)
        self.upper = np.full(m, scale)
        self.constant = np.zeros(m)
        self.lower[0], self.upper[-1] = 0.0, 0.0
        self.constant[0] = scale  # left ghost = 1
        self.diagonal[-1] += scale * outflow
        self.lower[-1] -= scale * outflow

    def __call__(self, c: np.ndarray) -> np.ndarray:
        result: np.ndarray = self.diagonal * c + self.constant
        result[:, 1:] += self.lower[1:] * c[:, :-1]
        result[:, :-1] += self.upper[:-1] * c[:, 1:]
        return result


def _newton(
    c: np.ndarray, known: np.ndarray, implicit: float, medium: Medium, laplacian: Laplacian
) -> np.ndarray:
    """Solve F(c) - implicit L(c) = known by Newton's method from the guess c [n, m]."""
    ones = np.ones_like(c)
    for _ in range(NUM_NEWTON):
        residual = medium.stored(c) - implicit * laplacian(c) - known
        (change,) = numerics.solve_tridiagonal(
            -implicit * laplacian.lower * ones,
            medium.retardation(c) - implicit * laplacian.diagonal,
            -implicit * laplacian.upper * ones,
            residual,
        )
        c = np.maximum(c - change, FLOOR)
    return c


COMPAT = DiffusionSorption()
FIELD = FourierSpec(num_drawn=4, p_absolute=0.0, p_window=0.0)
HARD = DiffusionSorption(end_time=100.0, max_initial=1.0, field=FIELD)
RANK = DiffusionSorption(
    medium=Medium(freundlich_k=0.01, freundlich_n=0.1),  # the first of a pollutant is sorbed
    end_time=300.0,
    max_initial=1.0,
    field=FIELD,
)
