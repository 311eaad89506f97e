"""FitzHugh-Nagumo reaction and diffusion on [-1, 1]^2 without flux through the boundary.

    u_t = D_u lap u + u - u^3 - k - v,      v_t = D_v lap v + u - v.

The scheme is Strang splitting of an RK4 reaction and exact diffusion. The cosine transform (DCT-II)
diagonalises the five-point finite-volume Laplacian. The scheme is of second order in the time step.
The initial state is white noise, N(0, 1) per cell, so the first steps are short.

The published protocol maps u(0) to v(T). The input lacks the noise v(0), which causes an
irreducible error. What white noise becomes is nearly linear in it, because diffusion removes most
of it before the reaction can act. `SmoothFitzHughNagumo` starts from smooth fields, in which the
cubic term acts first.

Shapes: n = samples, m = cells per side; a state is [n, 2, m, m].
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy  # its parts are imported where they are used: `validate` needs none

from trainables.tasks.pde_bench.initial_conditions import drawn_smooth, normals
from trainables.tasks.problem import GeneratedSamples, Problem

LENGTH = 2.0


@dataclass(frozen=True, kw_only=True)
class FitzHughNagumo(Problem):
    """Reaction and diffusion of two species from white noise."""

    diffusivity: tuple[float, float] = (1e-3, 5e-3)  # of u, of v
    k: float = 5e-3
    end_time: float = 5.0
    step: float = 0.05
    inputs: tuple[int, ...] = (0,)  # channels of (u, v)(0)
    outputs: tuple[int, ...] = (1,)  # channels of (u, v)(end_time)

    chunk = 16
    test_first = False
    axes = 2

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return samples (u, v)(0) -> (u, v)(end_time) with the channels `inputs` and `outputs`."""
        return self._solved(normals(indices, seed=seed, shape=(2, resolution, resolution)))

    def _solved(self, start: np.ndarray) -> GeneratedSamples:
        end = self.solve(start.astype(np.float32))
        return GeneratedSamples(x=start[:, list(self.inputs)], y=end, params={})

    @property
    def hidden(self) -> str:
        """v(0), unless it is an input."""
        return "" if len(self.inputs) == 2 else "v(0)"

    def solve(self, x: np.ndarray) -> np.ndarray:
        """Return the channels `outputs` of (u, v)(end_time) of (u, v)(0)."""
        steps = graded_steps(self.end_time, self.step)
        end = evolve(x, diffusivity=self.diffusivity, k=self.k, steps=steps)
        return end[:, list(self.outputs)]


@dataclass(frozen=True, kw_only=True)
class SmoothFitzHughNagumo(FitzHughNagumo):
    """Reaction and diffusion of two species from smooth random fields."""

    waves: float = 4.0  # of u(0) and v(0), whose mean variance is 1

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return samples (u, v)(0) -> (u, v)(end_time) with the channels `inputs` and `outputs`."""
        fields, drawn = drawn_smooth(
            indices, seed=seed, resolution=resolution, waves=self.waves, of=(2,)
        )
        return replace(self._solved(fields), params={"coefficients": drawn})


def evolve(
    state: np.ndarray, *, diffusivity: tuple[float, float], k: float, steps: Sequence[float]
) -> np.ndarray:
    """Solve the equations from a state (u, v) [n, 2, m, m] over the given time steps.

    `diffusivity` is (D_u, D_v).

    Returns:
        The final state [n, 2, m, m].
    """
    m = state.shape[-1]
    wave = (2 - 2 * np.cos(np.pi * np.arange(m) / m)) * (m / LENGTH) ** 2  # -eigenvalues in 1D
    rate = np.array(diffusivity)[:, None, None] * (wave[:, None] + wave)  # [2, m, m]
    # Strang splitting: half a step of reaction, a step of diffusion, half a step of reaction.
    for step in steps:
        state = _react(state, k, step / 2)
        spectrum = scipy.fft.dctn(state, type=2, axes=(-2, -1), norm="ortho")
        spectrum *= np.exp(-step * rate)
        state = scipy.fft.idctn(spectrum, type=2, axes=(-2, -1), norm="ortho")
        state = _react(state, k, step / 2)
    return state


def graded_steps(time: float, step: float) -> list[float]:
    """Split `time` into steps. Those in its first 0.5 are a fifth as long as the others."""
    early = min(time, 0.5)
    pieces = ((early, step / 5), (time - early, step))
    counts = [(span, round(span / size)) for span, size in pieces if span > 0]
    return [span / count for span, count in counts for _ in range(count)]


def _react(state: np.ndarray, k: float, step: float) -> np.ndarray:
    """Advance a state by one RK4 step of the reaction."""

    def slope(s: np.ndarray) -> np.ndarray:
        u, v = s[:, 0], s[:, 1]
        # NumPy takes many times as long for `u**3`.
        return np.stack([u - u * u * u - k - v, u - v], axis=1)

    k1 = slope(state)
    k2 = slope(state + 0.5 * step * k1)
    k3 = slope(state + 0.5 * step * k2)
    k4 = slope(state + step * k3)
    result: np.ndarray = state + step / 6 * (k1 + 2 * (k2 + k3) + k4)
    return result


COMPAT = FitzHughNagumo()
HARD = FitzHughNagumo(end_time=0.5, inputs=(0, 1), outputs=(0, 1))
RANK = SmoothFitzHughNagumo(end_time=2.0, inputs=(0, 1), outputs=(0, 1))
