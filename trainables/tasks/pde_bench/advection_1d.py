"""Linear advection, u_t + beta u_x = 0 on the periodic [0, 1).

The exact solution is u(x, t) = u_0(x - beta t).
"""

from dataclasses import dataclass

import numpy as np

from trainables.tasks.pde_bench.initial_conditions import FOURIER, FourierSpec, uniforms
from trainables.tasks.problem import GeneratedSamples, Problem, cell_centres

__all__ = ["COMPAT", "HARD", "Advection"]


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


COMPAT = Advection()
HARD = Advection(initial=FourierSpec(num_waves=16, num_drawn=8, p_window=0.5))
