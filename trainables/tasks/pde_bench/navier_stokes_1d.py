"""Compressible Navier-Stokes on [-1, 1), periodic: (rho, p, v)(0) -> (rho, p, v)(T).

Kinematic viscosity 4/3 eta + zeta, gamma 5/3, no heat conduction; the scheme is in
`compressible_flow`. Density and pressure start as random fields scaled to
[low, low + high] with log-uniform low and high; velocity as a random field.

The published protocol lays the fields rho | p | v end to end as one channel, and standardises
each point of that vector by the training inputs.
"""

from dataclasses import dataclass

import numpy as np

from trainables.tasks.pde_bench.compressible_flow import evolve
from trainables.tasks.pde_bench.initial_conditions import FourierSpec, rescaled
from trainables.tasks.pde_bench.streams import uniforms
from trainables.tasks.problem import Problem, Samples, cell_centres

__all__ = ["COMPAT", "HARD", "NavierStokes"]

REFERENCE = 1024
LOW, HIGH = -1.0, 1.0
INITIAL = FourierSpec(num_waves=3, p_window=0.5, length=HIGH - LOW)


@dataclass(frozen=True, kw_only=True)
class NavierStokes(Problem):
    """A viscous gas from random density, pressure and velocity."""

    eta: float = 0.1  # shear viscosity
    zeta: float = 0.1  # bulk viscosity
    end_time: float = 1.0
    density_range: tuple[float, float] = (1.0, 10.0)
    pressure_range: tuple[float, float] = (10.0, 100.0)
    initial: FourierSpec = INITIAL

    chunk = 64
    normalized = True

    def grid(self, resolution: int) -> tuple[int, ...]:
        """Three lines, end to end."""
        return (3 * resolution,)

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> Samples:
        """Returns (rho | p | v)(0) -> (rho | p | v)(end_time), each one channel of 3 m points."""
        count = self.initial.num_uniforms
        drawn = uniforms(indices, seed=seed, count=3 * count + 4)
        x = cell_centres(resolution, LOW, HIGH)
        reference = cell_centres(REFERENCE, LOW, HIGH)
        fields = {
            name: self.initial.fields(drawn[:, i * count : (i + 1) * count])
            for i, name in enumerate(("density", "pressure", "velocity"))
        }
        scales = drawn[:, 3 * count :]
        density_scale = _log_uniform(scales[:, :2], self.density_range)
        pressure_scale = _log_uniform(scales[:, 2:], self.pressure_range)
        start = np.stack(
            [
                _scaled(rescaled(fields["density"], x, reference=reference), density_scale),
                fields["velocity"](x),
                _scaled(rescaled(fields["pressure"], x, reference=reference), pressure_scale),
            ],
            axis=1,
        )
        end = evolve(
            start.astype(np.float32),
            length=HIGH - LOW,
            nu=4 / 3 * self.eta + self.zeta,
            time=self.end_time,
        )
        params = {"density_scale": density_scale, "pressure_scale": pressure_scale}
        for name, field in fields.items():
            params |= field.params(f"{name}_")
        return Samples(x=_end_to_end(start), y=_end_to_end(end), params=params)


def _log_uniform(uniform: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    low, high = np.log(bounds)
    values: np.ndarray = np.exp(low + (high - low) * np.ascontiguousarray(uniform))
    return values


def _scaled(unit: np.ndarray, scale: np.ndarray) -> np.ndarray:
    values: np.ndarray = unit * scale[:, :1] + scale[:, 1:]
    return values


def _end_to_end(state: np.ndarray) -> np.ndarray:
    return state[:, [0, 2, 1]].reshape(len(state), 1, -1)


COMPAT = NavierStokes()
HARD = NavierStokes(eta=0.01, zeta=0.01)
