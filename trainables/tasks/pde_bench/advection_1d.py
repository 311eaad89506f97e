"""Linear advection, u_t + a u_x = 0 on the periodic [0, 1).

If a = beta is constant, the exact solution is u(x, t) = u_0(x - beta t).

If a varies in space, u is constant along characteristics: u(x, t) = u_0(X) with T(X) = T(x) - t,
where T(x), the time to reach x from 0, is the integral of the slowness 1 / a. The map from a to u
is not linear. Here the slowness has one wave, so that T is known and Newton's method finds X:

    1 / a(x) = (1 + e sin(2 pi x + phi)) / b,    T(x) = (x - e cos(2 pi x + phi) / 2 pi) / b + const

Shapes: n = samples, m = points.
"""

from dataclasses import dataclass

import numpy as np

from trainables.tasks.pde_bench.initial_conditions import FOURIER, FourierSpec, uniforms
from trainables.tasks.problem import GeneratedSamples, Problem, cell_centres

__all__ = ["COMPAT", "HARD", "RANK", "Advection", "VariableAdvection", "departure"]

NUM_NEWTON = 30  # fixed, so that a sample does not depend on the other samples of a batch


@dataclass(frozen=True, kw_only=True)
class Advection(Problem):
    """Transport of a random field at a constant speed."""

    beta: float = 0.4  # speed, in domain lengths per unit of time
    end_time: float = 2.0
    initial: FourierSpec = FOURIER

    def grid(self, resolution: int) -> tuple[int, ...]:
        """Return the shape of a line of cells."""
        return (resolution,)

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return samples u(0) -> u(end_time) without discretisation error."""
        field = self.initial.fields(uniforms(indices, seed=seed, count=self.initial.num_uniforms))
        x = cell_centres(resolution, 0.0, 1.0)
        return GeneratedSamples(
            x=field(x)[:, None],
            y=field(np.mod(x - self.beta * self.end_time, 1.0))[:, None],
            params=field.params(),
        )


@dataclass(frozen=True, kw_only=True)
class VariableAdvection(Problem):
    """Transport of a random field at a random speed that varies in space and is an input, too."""

    speed_range: tuple[float, float] = (0.2, 0.6)  # of b, the harmonic mean of the speed
    max_variation: float = 0.5  # of e; below 1, so that the speed stays positive
    end_time: float = 0.4
    initial: FourierSpec = FOURIER

    def grid(self, resolution: int) -> tuple[int, ...]:
        """Return the shape of a line of cells."""
        return (resolution,)

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return samples (u(0), a) -> u(end_time), exact except for rounding."""
        # The draws of a sample are, in order: b, e, phi, the field.
        drawn = uniforms(indices, seed=seed, count=3 + self.initial.num_uniforms)
        low, high = self.speed_range
        mean = low + (high - low) * drawn[:, :1]
        variation = self.max_variation * drawn[:, 1:2]
        phase = 2 * np.pi * drawn[:, 2:3]
        field = self.initial.fields(drawn[:, 3:])
        x = cell_centres(resolution, 0.0, 1.0)
        speed = mean / (1 + variation * np.sin(2 * np.pi * x + phase))
        start = departure(x, mean * self.end_time, variation=variation, phase=phase)
        wave = {"speed": mean[:, 0], "variation": variation[:, 0], "speed_phase": phase[:, 0]}
        return GeneratedSamples(
            x=np.stack([field(x), speed], axis=1),
            y=field(np.mod(start, 1.0))[:, None],
            params=wave | field.params(),
        )


def departure(
    x: np.ndarray, distance: np.ndarray, *, variation: np.ndarray, phase: np.ndarray
) -> np.ndarray:
    """Return X, where the characteristics that reach the points x [m] began: [n, m].

    Args:
        x: Points in [0, 1).
        distance: b t of the module's docstring, [n, 1].
        variation: e, in [0, 1), [n, 1].
        phase: phi, [n, 1].
    """

    def stretched(points: np.ndarray) -> np.ndarray:
        angle = 2 * np.pi * points + phase
        time: np.ndarray = points - variation * np.cos(angle) / (2 * np.pi)
        return time

    goal = stretched(x) - distance
    # X differs from the goal by at most e / 2 pi. Newton's method alone may leave these bounds if e
    # is near 1. Each step narrows them, because `stretched` increases.
    low, high = goal - variation / (2 * np.pi), goal + variation / (2 * np.pi)
    start: np.ndarray = goal
    for _ in range(NUM_NEWTON):
        excess = stretched(start) - goal
        low, high = np.where(excess < 0, start, low), np.where(excess > 0, start, high)
        newton = start - excess / (1 + variation * np.sin(2 * np.pi * start + phase))
        start = np.where((newton < low) | (newton > high), (low + high) / 2, newton)
    return start


COMPAT = Advection()
HARD = Advection(initial=FourierSpec(num_waves=16, num_drawn=8, p_window=0.5))
RANK = VariableAdvection()
