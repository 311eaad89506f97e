"""Burgers' equation, u_t + (u^2 / 2)_x = (nu / pi) u_xx on [0, 1), periodic, solved exactly.

The transform of Hopf (Comm. Pure Appl. Math. 3, 1950) and Cole (Quart. Appl. Math. 9, 1951): with
kappa = nu / pi and u of zero mean, u = -2 kappa phi_x / phi, where phi_t = kappa phi_xx and
phi_0 = exp(-U_0 / 2 kappa), U_0 an antiderivative of u_0. A mean m is a Galilean shift:
u(x, t) = m + v(x - m t, t). The heat equation is one multiplication in Fourier space, so there are
no time steps.

phi spans at most exp(-1 / (16 kappa t)) (the action of a straight path of half a period), which has
to stay well above rounding: kappa t >= 0.003, met by both variants.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from trainables.tasks.pde_bench.initial_conditions import FOURIER, FourierSpec, uniforms
from trainables.tasks.problem import GeneratedSamples, Problem, cell_centres

__all__ = ["COMPAT", "HARD", "Burgers", "cole_hopf"]

FINE = 2048  # points, at least, on which phi is represented


@dataclass(frozen=True, kw_only=True)
class Burgers(Problem):
    """A random field that steepens and diffuses."""

    nu: float = 1.0
    end_time: float = 2.0
    initial: FourierSpec = FOURIER

    def grid(self, resolution: int) -> tuple[int, ...]:
        """Return the shape of a line of cells."""
        return (resolution,)

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return u(0) -> u(end_time)."""
        field = self.initial.fields(uniforms(indices, seed=seed, count=self.initial.num_uniforms))
        stride = -(-FINE // resolution)
        fine = np.arange(resolution * stride) / (resolution * stride) + 0.5 / resolution
        solution = cole_hopf(
            field(np.mod(fine, 1.0)), diffusivity=self.nu / np.pi, time=self.end_time
        )
        x = cell_centres(resolution, 0.0, 1.0)
        return GeneratedSamples(
            x=field(x)[:, None], y=solution[:, None, ::stride], params=field.params()
        )


def cole_hopf(u: np.ndarray, *, diffusivity: float, time: float) -> np.ndarray:
    """Evolve u [n, m], given on m equally spaced points of a period of length 1."""
    m = u.shape[-1]
    mean = u.mean(axis=-1, keepdims=True)
    ik = 2j * np.pi * fft.rfftfreq(m, 1 / m)
    if m % 2 == 0:
        ik[-1] = 0.0  # the derivative of the highest wave is not representable
    spectrum = fft.rfft(u - mean)
    antiderivative = fft.irfft(np.divide(spectrum, ik, where=ik != 0, out=0 * spectrum), m)
    exponent = -antiderivative / (2 * diffusivity)
    phi = fft.rfft(np.exp(exponent - exponent.max(axis=-1, keepdims=True)))
    phi *= np.exp(ik * (ik * diffusivity - mean) * time)
    solution: np.ndarray = mean - 2 * diffusivity * fft.irfft(ik * phi, m) / fft.irfft(phi, m)
    return solution


COMPAT = Burgers()
HARD = Burgers(nu=0.01, end_time=1.0)
