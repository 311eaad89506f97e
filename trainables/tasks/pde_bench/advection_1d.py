"""Linear advection, u_t + a u_x = 0 on the periodic [0, 1).

If the speed a is a constant beta, the exact solution is u(x, t) = u_0(x - beta t).

If it varies in space, u is constant along characteristics: u(x, t) = u_0(X) with T(X) = T(x) - t,
where T(x), the time to reach x from 0, is the integral of 1 / a. log a is a random field of a few
waves, so T has no closed form. It is integrated on a fine grid, and inverted there.

Shapes: n = samples, m = points.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # its parts are imported where they are used: `validate` needs none

from trainables.tasks.pde_bench.initial_conditions import FOURIER, FourierSpec, uniforms
from trainables.tasks.problem import GeneratedSamples, Problem, cell_centres

FINE = 4096  # cells of the integral
EIGHT_WAVES = FourierSpec(num_waves=8, num_drawn=8, p_absolute=0.0, p_window=0.0)
PLAIN = FourierSpec(p_absolute=0.0, p_window=0.0)


@dataclass(frozen=True, kw_only=True)
class Advection(Problem):
    """Transport of a random field at a constant speed."""

    beta: float = 0.4  # speed, in domain lengths per unit of time
    end_time: float = 2.0
    initial: FourierSpec = FOURIER

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return samples u(0) -> u(end_time) without discretisation error."""
        field = self.initial.fields(uniforms(indices, seed=seed, count=self.initial.num_uniforms))
        x = cell_centres(resolution, 0.0, 1.0)
        return GeneratedSamples(
            x=field(x)[:, None],
            y=field(np.mod(x - self.beta * self.end_time, 1.0))[:, None],
            params=field.params(),
        )

    def solve(self, x: np.ndarray) -> np.ndarray:
        """Return u(end_time) of u(0), by splines between its points."""
        return shifted(x, self.beta * self.end_time)


@dataclass(frozen=True, kw_only=True)
class VariableAdvection(Problem):
    """Transport of a random field at a random speed that varies in space and is an input, too."""

    speed: float = 0.5  # that of log a = 0
    variation: float = 0.5  # of log a, per unit of its field
    end_time: float = 0.1
    initial: FourierSpec = EIGHT_WAVES
    logarithm: FourierSpec = PLAIN  # of the speed

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return samples (u(0), a) -> u(end_time)."""
        count = self.initial.num_uniforms
        drawn = uniforms(indices, seed=seed, count=count + self.logarithm.num_uniforms)
        field = self.initial.fields(drawn[:, :count])
        exponent = self.logarithm.fields(drawn[:, count:])

        def speed(x: np.ndarray) -> np.ndarray:
            values: np.ndarray = self.speed * np.exp(self.variation * exponent(x))
            return values

        x = cell_centres(resolution, 0.0, 1.0)
        slowness = 1 / speed(cell_centres(FINE, 0.0, 1.0))
        start = departure(x, slowness, time=self.end_time)
        return GeneratedSamples(
            x=np.stack([field(x), speed(x)], axis=1),
            y=field(start)[:, None],
            params=field.params() | exponent.params("speed_"),
        )

    def solve(self, x: np.ndarray) -> np.ndarray:
        """Return u(end_time) of (u(0), a), by splines between the points."""
        m = x.shape[-1]
        start = departure(cell_centres(m, 0.0, 1.0), 1 / x[:, 1], time=self.end_time)
        # Cell i has its centre at (i + 1/2) / m, so that the point x has the index m x - 1/2.
        lines = [
            scipy.ndimage.map_coordinates(line, at[None], order=3, mode="grid-wrap")
            for line, at in zip(x[:, 0], m * start - 0.5, strict=True)
        ]
        return np.stack(lines)[:, None]


def departure(x: np.ndarray, slowness: np.ndarray, *, time: float) -> np.ndarray:
    """Return X in [0, 1), where the characteristics that reach the points x [m] began: [n, m].

    Args:
        x: Points in [0, 1).
        slowness: 1 / a [n, k] in k equal cells of the period.
        time: t.
    """
    edges = np.linspace(0.0, 1.0, slowness.shape[1] + 1)
    # T at the right edge of each cell, within which 1 / a is constant.
    elapsed = np.cumsum(slowness, axis=1) / slowness.shape[1]
    starts = []
    for row in np.pad(elapsed, ((0, 0), (1, 0))):  # T at the edges; the last is that of a period
        # T(X) = T(x) - t, modulo the time of a period: a characteristic may have gone round the
        # domain.
        left = np.mod(np.interp(x, edges, row) - time, row[-1])
        starts.append(np.interp(left, row, edges))
    return np.reshape(starts, (len(slowness), len(x)))


def shifted(x: np.ndarray, distance: float) -> np.ndarray:
    """Return periodic lines [n, c, m] moved right by `distance` periods, by cubic splines."""
    cells = distance * x.shape[-1]
    moved = scipy.ndimage.shift(x.astype(np.float64), (0, 0, cells), order=3, mode="grid-wrap")
    return np.asarray(moved, np.float32)


COMPAT = Advection()
HARD = Advection(initial=FourierSpec(num_waves=16, num_drawn=8, p_window=0.5))
RANK = VariableAdvection()
