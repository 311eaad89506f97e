"""Darcy flow, u_t = div(a grad u) + beta on [0, 1]^2, with u = 0 on the boundary and a of 0.1 or 1.

The scheme is a five-point finite volume method with harmonic means of a on the faces. Without
`end_time`, the target is the steady solution, from one sparse factorisation (SuperLU). With
`end_time`, it is the state at that time from a constant u(0), by TR-BDF2 (Bank et al., IEEE Trans.
CAD 4, 1985). The two stages of TR-BDF2 share one factorisation.

The published target of PDEBench is a snapshot at t = 1.75. It still depends on u(0), which is not
an input. Its boundary value 0 is located in the centre of the first cell outside (`ghost`). Our
generator starts from a constant u(0) ~ U(0.1, 10), while the published initial state varies more.

The coefficient a is 1 where a sum of five Gaussian bumps exceeds its mean, and 0.1 elsewhere. In
`LognormalDarcy`, a is the exponential of a smooth random field, which is the input.

Shapes: n = samples, m = cells per side.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy  # its parts are imported where they are used: `validate` needs none

from trainables.tasks.pde_bench.initial_conditions import drawn_smooth, uniforms
from trainables.tasks.problem import GeneratedSamples, Problem, cell_centres

Boundary = Literal["face", "ghost"]
NUM_BUMPS = 5
MAX_SPREAD = 0.5
GAMMA = 2 - 2**0.5


@dataclass(frozen=True, kw_only=True)
class Darcy(Problem):
    """Flow through a random medium with two conductivities."""

    beta: float = 0.1  # the constant source
    low: float = 0.1
    high: float = 1.0
    boundary: Boundary = "face"
    end_time: float | None = None  # None: the steady state
    num_steps: int = 32
    initial_range: tuple[float, float] = (0.1, 10.0)

    chunk = 16
    axes = 2

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return samples a -> u."""
        drawn = uniforms(indices, seed=seed, count=3 * NUM_BUMPS + 1)
        centres, spreads, level = np.split(drawn, [2 * NUM_BUMPS, 3 * NUM_BUMPS], axis=1)
        spreads = MAX_SPREAD * spreads
        # One sample is solved at a time, since each has its own matrix to factorise.
        bumps = _bump_sum(centres, spreads, cell_centres(resolution, 0.0, 1.0))
        # PDEBench compares with the mean of a batch. The expected value keeps samples independent.
        a = np.where(bumps > _expected_bump_sum(), self.high, self.low)
        first, last = self.initial_range
        level = first + (last - first) * level[:, 0]
        u = np.empty_like(a)
        for i in range(len(a)):
            matrix = diffusion_matrix(a[i], boundary=self.boundary)
            source = np.full(a[i].size, self.beta)
            if self.end_time is None:
                solution = steady_state(matrix, source)
            else:
                solution = transient_state(
                    matrix,
                    source,
                    np.full(a[i].size, level[i]),
                    time=self.end_time,
                    num_steps=self.num_steps,
                )
            u[i] = solution.reshape(a[i].shape)
        params = {"centres": centres, "spreads": spreads}
        if self.end_time is not None:
            params["initial"] = level
        return GeneratedSamples(x=a[:, None], y=u[:, None], params=params)

    @property
    def hidden(self) -> str:
        """u(0), unless the target is the steady state."""
        return "" if self.end_time is None else "u(0)"

    def solve(self, x: np.ndarray) -> np.ndarray:
        """Return the steady u of a."""
        return steady_fields(x[:, 0], beta=self.beta, boundary=self.boundary)[:, None]


@dataclass(frozen=True, kw_only=True)
class LognormalDarcy(Problem):
    """Steady flow through a medium whose log-conductivity is a smooth Gaussian field."""

    beta: float = 0.1  # the constant source
    deviation: float = 1.5  # of log a
    waves: float = 2.0

    chunk = 16
    axes = 2

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return samples log a -> u."""
        fields, drawn = drawn_smooth(indices, seed=seed, resolution=resolution, waves=self.waves)
        x = (self.deviation * fields)[:, None]
        return GeneratedSamples(x=x, y=self.solve(x), params={"coefficients": drawn})

    def solve(self, x: np.ndarray) -> np.ndarray:
        """Return the steady u of log a."""
        return steady_fields(np.exp(x[:, 0]), beta=self.beta, boundary="face")[:, None]


def diffusion_matrix(a: np.ndarray, *, boundary: Boundary) -> "scipy.sparse.csc_array":
    """Return -div(a grad) for a [m, m]: a symmetric positive definite matrix [m^2, m^2].

    `boundary` is where its value lies: on the outer face, or in the centre of the first cell
    outside (`ghost`).
    """
    m = len(a)
    outer = 2.0 if boundary == "face" else 1.0  # 1 / distance to the boundary value, in cells
    # Each face couples its two cells by the harmonic mean of their coefficients.
    diagonal = np.zeros_like(a)
    offset: list[np.ndarray] = []
    for axis in (0, 1):
        b = np.moveaxis(a, axis, 0)
        between = 2 * b[:-1] * b[1:] / (b[:-1] + b[1:])
        total = np.moveaxis(diagonal, axis, 0)
        total[:-1] += between
        total[1:] += between
        total[0] += outer * b[0]
        total[-1] += outer * b[-1]
        padded = np.concatenate([between, np.zeros((1, m))])
        offset.append(np.moveaxis(padded, 0, axis).ravel())
    # `right` is 0 at the end of each row, so that its last cell has no tie to the first one of the
    # next.
    down, right = offset  # the coupling of a cell to the next row, and to the next column
    diagonals: Any = [diagonal.ravel(), -right[:-1], -right[:-1], -down[:-m], -down[:-m]]
    matrix = scipy.sparse.diags_array(diagonals, offsets=[0, 1, -1, m, -m], format="csc")
    return scipy.sparse.csc_array(matrix * float(m * m))


def steady_state(matrix: "scipy.sparse.csc_array", source: np.ndarray) -> np.ndarray:
    """Return the solution u [m^2] of matrix u = source."""
    solution: np.ndarray = _factorised(matrix).solve(source)
    return solution


def steady_fields(a: np.ndarray, *, beta: float, boundary: Boundary) -> np.ndarray:
    """Return the steady solutions [n, m, m] for coefficients a [n, m, m] and a constant source."""
    u = np.empty_like(a)
    for each, solution in zip(a, u, strict=True):
        matrix = diffusion_matrix(each, boundary=boundary)
        solution[:] = steady_state(matrix, np.full(each.size, beta)).reshape(each.shape)
    return u


def transient_state(
    matrix: "scipy.sparse.csc_array",
    source: np.ndarray,
    u: np.ndarray,
    *,
    time: float,
    num_steps: int,
) -> np.ndarray:
    """Solve u_t = source - matrix u from 0 to `time` by TR-BDF2.

    Args:
        matrix: [m^2, m^2].
        source: [m^2].
        u: The initial state [m^2].
        time: End time.
        num_steps: Number of steps of equal length.

    Returns:
        The state [m^2] at `time`.
    """
    # Both stages of TR-BDF2 invert the same matrix 1 + implicit * matrix: a trapezoidal step over
    # GAMMA of the time step, then a BDF2 step over all of it.
    step = time / num_steps
    implicit = GAMMA / 2 * step
    solve = _factorised(scipy.sparse.eye_array(u.size, format="csc") + implicit * matrix).solve
    weight = 1 / (GAMMA * (2 - GAMMA))
    for _ in range(num_steps):
        middle = solve(u + implicit * (2 * source - matrix @ u))
        u = solve(weight * middle + (1 - weight) * u + implicit * source)
    return u


def _factorised(matrix: "scipy.sparse.csc_array") -> "scipy.sparse.linalg.SuperLU":
    # The matrix is symmetric and positive definite: it needs no pivoting, and an order by A + A^T
    # keeps the factors sparse.
    return scipy.sparse.linalg.splu(
        matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )


def _bump_sum(centres: np.ndarray, spreads: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return sum_b exp(-|x - centre_b|^2 / spread_b) on the grid: [n, m, m]."""
    total = np.zeros((len(centres), len(x), len(x)))
    for b in range(NUM_BUMPS):
        spread = spreads[:, b, None]
        profiles = [
            np.exp(-((x - centres[:, 2 * b + axis, None]) ** 2) / spread) for axis in (0, 1)
        ]
        total += profiles[0][:, :, None] * profiles[1][:, None, :]
    return total


def _expected_bump_sum() -> float:
    """Return the mean of `_bump_sum` over the square and over centres and spreads."""

    def profile(s: float) -> float:  # E exp(-(x - c)^2 / s) for x, c ~ U(0, 1)
        return float(np.sqrt(np.pi * s) * scipy.special.erf(s**-0.5) - s * -np.expm1(-1 / s))

    # The profile divides by the spread, which is 0 at the lower bound.
    integral, _ = scipy.integrate.quad(lambda s: profile(s) ** 2, 1e-12, MAX_SPREAD)
    return NUM_BUMPS * float(integral) / MAX_SPREAD


COMPAT = Darcy(boundary="ghost", end_time=1.75)
HARD = Darcy()
RANK = LognormalDarcy()
