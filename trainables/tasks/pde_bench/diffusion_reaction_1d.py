"""Diffusion with logistic growth, u_t = nu u_xx + rho u (1 - u) on the periodic [0, 1).

The initial state satisfies 0 <= u <= 1. If rho < 0, u declines towards 0 wherever it is below 1, so
that only its peaks are left. The scheme is Strang splitting (SIAM J. Numer. Anal. 5,
1968) of two exact flows: the growth u -> u / (u + (1 - u) exp(-rho t)), and diffusion in Fourier
space. It is of second order in the time step. Steps grow linearly, because diffusion smooths rough
initial states quickly.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # its parts are imported where they are used: `validate` needs none

from trainables.tasks.pde_bench.initial_conditions import FOURIER, FourierSpec, rescaled, uniforms
from trainables.tasks.problem import GeneratedSamples, Problem, cell_centres

REFERENCE = 1024  # points for scaling an initial state to [0, 1]


@dataclass(frozen=True, kw_only=True)
class DiffusionReaction(Problem):
    """A random population that spreads and grows."""

    nu: float = 0.5  # diffusivity
    rho: float = 1.0  # growth rate; negative: decline
    end_time: float = 1.0
    num_steps: int = 200
    initial: FourierSpec = FOURIER

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return samples u(0) -> u(end_time)."""
        field = self.initial.fields(uniforms(indices, seed=seed, count=self.initial.num_uniforms))
        x = cell_centres(resolution, 0.0, 1.0)
        start = rescaled(field, x, reference=cell_centres(REFERENCE, 0.0, 1.0))
        return GeneratedSamples(
            x=start[:, None], y=self.solve(start[:, None]), params=field.params()
        )

    def solve(self, x: np.ndarray) -> np.ndarray:
        """Return u(end_time) of u(0)."""
        equation = {"nu": self.nu, "rho": self.rho}
        return evolve(x[:, 0], **equation, time=self.end_time, num_steps=self.num_steps)[:, None]


def evolve(u: np.ndarray, *, nu: float, rho: float, time: float, num_steps: int) -> np.ndarray:
    """Solve the equation on a period of length 1.

    Args:
        u: Initial state [n, m].
        nu: Diffusivity.
        rho: Growth rate.
        time: End time.
        num_steps: Number of time steps.

    Returns:
        The state [n, m] at the end time.
    """
    m = u.shape[-1]
    instants = time * (np.arange(num_steps + 1) / num_steps) ** 2
    decay = -nu * (2 * np.pi * scipy.fft.rfftfreq(m, 1 / m)) ** 2
    # Strang splitting: half a step of growth, a step of diffusion, half a step of growth.
    for step in np.diff(instants):
        u = grow(u, rho * step / 2)
        u = scipy.fft.irfft(np.exp(decay * step) * scipy.fft.rfft(u), m)
        u = grow(u, rho * step / 2)
    return u


def grow(u: np.ndarray, rate_time: np.floating) -> np.ndarray:
    """Return u after logistic growth by a product of rate and time."""
    grown: np.ndarray = u / (u + (1 - u) * np.exp(-rate_time))
    return grown


COMPAT = DiffusionReaction()
HARD = DiffusionReaction(nu=0.005, rho=5.0, end_time=0.2)
RANK = DiffusionReaction(nu=0.005, rho=-10.0, end_time=0.2)
