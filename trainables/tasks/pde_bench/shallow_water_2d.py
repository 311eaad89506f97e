"""A radial dam break in shallow water on [-2.5, 2.5]^2, over a flat bed, g = 1: depth h(0) -> h(T).

    h_t + div(h u) = 0,      (h u)_t + div(h u u) + grad(h^2 / 2) = 0.

`RadialDamBreak` is the published problem. The depth is 2 within a radius R ~ U(0.3, 0.7) and 1
outside. At 128 x 128 pixels there are only 81 different images of such a dam. Each of them is
solved once. `OffsetDamBreak` has a dam of random centre, depth and radius with partly covered
pixels. It samples the solution of the radial equation, whose accuracy does not depend on the
resolution. No wave reaches the boundary before T = 1, except for a few offset dams, whose waves
leave without reflection. `SmoothSurface` has no dam: water with a smooth random surface, whose
logarithm is Gaussian, is released in a quarter of the plane, whose inner boundaries are walls.

The scheme is a finite volume method with a MUSCL reconstruction of (h, u), the HLL flux (Harten,
Lax and van Leer, SIAM Review 25, 1983) and Heun's strong-stability-preserving steps. The flow is
symmetric about the origin and is solved in one of two geometries. A quarter of the plane has the
state [n, 3, m, m] (h, h u, h v), which is bit-symmetric under the exchange of x and y. A radius has
the state [n, 2, m] (h, h u), and the area of its cells grows with r. Inner boundaries are
reflecting; outer boundaries are open.

Shapes: n = samples, m = cells per side.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainables.errors import ConfigError
from trainables.tasks.pde_bench.initial_conditions import drawn_smooth, uniforms
from trainables.tasks.pde_bench.numerics import march, monotonized_central
from trainables.tasks.problem import GeneratedSamples, Problem, cell_centres

HALF_WIDTH = 2.5
AT_ONCE = 4  # images to solve together, so that they fit the processor's cache
NUM_RINGS = 512
REACH = 2.0  # distance that no wave of a dam crosses in time 1
MAX_RADIUS = 3.0  # of the radial solution; the water outside is still at rest


@dataclass(frozen=True, kw_only=True)
class RadialDamBreak(Problem):
    """Break of the published dam, whose only random number is its radius."""

    inner_depth: float = 2.0
    radius_range: tuple[float, float] = (0.3, 0.7)
    end_time: float = 1.0

    chunk = 4096  # large, so that each image is solved once
    footprint = 3  # small, because there are few images
    test_first = False
    axes = 2

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return samples h(0) -> h(end_time).

        Raises:
            ConfigError: `resolution` is odd, so the plane cannot be divided into quarters.
        """
        if resolution % 2:
            raise ConfigError(
                f"shallow_water_2d needs an even resolution, but got {resolution}. "
                f"Take {resolution + 1}."
            )
        # Many radii give the same pixels, so only the different images are solved.
        radius = _between(self.radius_range, uniforms(indices, seed=seed, count=1)[:, 0])
        r = cell_centres(resolution // 2, 0.0, HALF_WIDTH)
        inside = np.hypot(r[:, None], r) <= radius[:, None, None]
        masks, which = np.unique(inside.reshape(len(inside), -1), axis=0, return_inverse=True)
        depth = np.where(masks.reshape(-1, len(r), len(r)), self.inner_depth, 1.0)
        solved = np.empty_like(depth)
        for first in range(0, len(depth), AT_ONCE):
            block = slice(first, first + AT_ONCE)
            solved[block] = evolve_quarter(depth[block], size=HALF_WIDTH, time=self.end_time)
        start, end = (unfolded(quarter)[which][:, None] for quarter in (depth, solved))
        return GeneratedSamples(x=start, y=end, params={"radius": radius})

    def solve(self, x: np.ndarray) -> np.ndarray:
        """Return h(end_time) of h(0), which is symmetric about its centre."""
        half = x.shape[-1] // 2
        end = evolve_quarter(x[:, 0, half:, half:], size=HALF_WIDTH, time=self.end_time)
        return unfolded(end)[:, None]


@dataclass(frozen=True, kw_only=True)
class OffsetDamBreak(Problem):
    """Break of a dam of random radius, depth and centre."""

    depth_range: tuple[float, float] = (1.5, 2.5)
    radius_range: tuple[float, float] = (0.3, 0.7)
    max_offset: float = 1.0  # of the centre, in x and in y
    end_time: float = 1.0

    chunk = 16
    test_first = False
    axes = 2

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return samples h(0) -> h(end_time)."""
        drawn = uniforms(indices, seed=seed, count=4)
        radius = _between(self.radius_range, drawn[:, 0])[:, None]
        depth = _between(self.depth_range, drawn[:, 1])[:, None]
        centre = _between((-self.max_offset, self.max_offset), drawn[:, 2:])

        # Solve on rings around the centre of the dam, then interpolate to the pixels.
        ring = cell_centres(NUM_RINGS, 0.0, MAX_RADIUS)
        width = MAX_RADIUS / NUM_RINGS
        dam = _dam(ring, radius, depth, width).astype(np.float32)
        profile = evolve_radial(dam, radius=MAX_RADIUS, time=self.end_time)
        x = cell_centres(resolution, -HALF_WIDTH, HALF_WIDTH)
        distance = np.hypot((x - centre[:, :1])[:, :, None], (x - centre[:, 1:])[:, None, :])
        start = _dam(distance, radius[..., None], depth[..., None], 2 * HALF_WIDTH / resolution)
        # `np.stack` takes no empty list.
        end = (
            np.stack([np.interp(r, ring, h) for r, h in zip(distance, profile, strict=True)])
            if len(indices)
            else start
        )
        params = {"radius": radius[:, 0], "depth": depth[:, 0], "centre": centre}
        return GeneratedSamples(x=start[:, None], y=end[:, None], params=params)

    def solve(self, x: np.ndarray) -> np.ndarray:
        """Return h(end_time) of h(0), on its own grid and not on rings."""
        # The solver reflects waves at its two lower sides, so still water is put before them.
        width = 2 * HALF_WIDTH / x.shape[-1]
        still = int(np.ceil(REACH * self.end_time / width))
        padded = np.pad(x[:, 0], ((0, 0), (still, 0), (still, 0)), mode="edge")
        end = evolve_quarter(padded, size=width * padded.shape[-1], time=self.end_time)
        return end[:, None, still:, still:]


@dataclass(frozen=True, kw_only=True)
class SmoothSurface(Problem):
    """Release of water at rest with a smooth random surface, on [0, 2.5]^2 between two walls."""

    deviation: float = 1.0  # of log h(0)
    waves: float = 2.0
    end_time: float = 0.5

    chunk = 16
    test_first = False
    axes = 2

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return samples h(0) -> h(end_time)."""
        fields, drawn = drawn_smooth(indices, seed=seed, resolution=resolution, waves=self.waves)
        x = np.exp(self.deviation * fields)[:, None]
        return GeneratedSamples(x=x, y=self.solve(x), params={"coefficients": drawn})

    def solve(self, x: np.ndarray) -> np.ndarray:
        """Return h(end_time) of h(0)."""
        return evolve_quarter(x[:, 0], size=HALF_WIDTH, time=self.end_time)[:, None]


def _between(bounds: tuple[float, float], uniform: np.ndarray) -> np.ndarray:
    low, high = bounds
    return low + (high - low) * uniform


def _dam(r: np.ndarray, radius: np.ndarray, depth: np.ndarray, width: float) -> np.ndarray:
    """Return the depth in cells of `width` at distance r. Cells on the rim are partly covered."""
    covered = np.clip(0.5 + (radius - r) / width, 0.0, 1.0)
    water: np.ndarray = 1 + (depth - 1) * covered
    return water


def unfolded(quarter: np.ndarray) -> np.ndarray:
    """Mirror a quarter [n, m, m] to the whole plane [n, 2m, 2m]."""
    half = np.concatenate([quarter[..., ::-1], quarter], axis=-1)
    return np.concatenate([half[:, ::-1], half], axis=1)


COMPAT = RadialDamBreak()
HARD = OffsetDamBreak()
RANK = SmoothSurface()


COURANT_QUARTER = 0.4  # lower, because the scheme is unsplit in two dimensions
COURANT_RADIAL = 0.8


def evolve_quarter(h: np.ndarray, *, size: float, time: float) -> np.ndarray:
    """Return the depths h(time) [n, m, m] from depths h [n, m, m] at rest on [0, size]^2."""
    spacing = size / h.shape[-1]

    def slope(state: np.ndarray) -> np.ndarray:
        along_x = _flux_difference(_extended(state))
        # Along y the same code solves the transposed state, in which the momenta change places.
        turned = state[:, [0, 2, 1]].swapaxes(-1, -2)
        along_y = _flux_difference(_extended(turned)).swapaxes(-1, -2)[:, [0, 2, 1]]
        change: np.ndarray = (along_x + along_y) * (-1 / spacing)
        return change

    state = np.stack([h, np.zeros_like(h), np.zeros_like(h)], axis=1)
    return march(
        state,
        end_time=time,
        stable_step=lambda s: COURANT_QUARTER * spacing / _fastest(s),
        advance=lambda s, step: _heun(s, step[:, None, None, None], slope),
    )[:, 0]


def evolve_radial(h: np.ndarray, *, radius: float, time: float) -> np.ndarray:
    """Return the depths h(time) [n, m] from depths h [n, m] at rest on rings of [0, radius]."""
    # Fluxes are weighted by the length of a face, which is proportional to its radius.
    m = h.shape[-1]
    spacing = radius / m
    face = (np.arange(m + 1) * spacing).astype(h.dtype)
    centre = 0.5 * (face[1:] + face[:-1])

    def slope(state: np.ndarray) -> np.ndarray:
        flux = _fluxes(_extended(state)) * face
        change: np.ndarray = (flux[..., :-1] - flux[..., 1:]) / (centre * spacing)
        change[:, 1] += 0.5 * state[:, 0] ** 2 / centre  # pressure on the sides of a ring's sector
        return change

    return march(
        np.stack([h, np.zeros_like(h)], axis=1),
        end_time=time,
        stable_step=lambda s: COURANT_RADIAL * spacing / _fastest(s),
        advance=lambda s, step: _heun(s, step[:, None, None], slope),
    )[:, 0]


def _heun(
    state: np.ndarray, step: np.ndarray, slope: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    first = state + step * slope(state)
    result: np.ndarray = 0.5 * (state + first + step * slope(first))
    return result


def _fastest(state: np.ndarray) -> np.ndarray:
    """Return the highest wave speed of each sample, [n]."""
    h, momenta = state[:, :1], state[:, 1:]
    speed = np.abs(momenta) / h + np.sqrt(h)
    highest: np.ndarray = speed.reshape(len(state), -1).max(axis=1)
    return highest


def _extended(state: np.ndarray) -> np.ndarray:
    """Add two cells on each side of the last axis.

    The cells before the first one are mirrored, with reversed momentum. The cells after the last
    one repeat it.
    """
    mirrored = state[..., 1::-1].copy()
    mirrored[:, 1] *= -1
    last = state[..., -1:]
    return np.concatenate([mirrored, state, last, last], axis=-1)


def _flux_difference(extended: np.ndarray) -> np.ndarray:
    return np.diff(_fluxes(extended), axis=-1)


def _fluxes(extended: np.ndarray) -> np.ndarray:
    """Return the fluxes through the m + 1 faces along the last axis of [n, c, ..., m + 4]."""
    w = extended.copy()
    w[:, 1:] /= extended[:, :1]
    jump = np.diff(w, axis=-1)
    half = 0.5 * monotonized_central(jump[..., :-1], jump[..., 1:])
    inner = w[..., 1:-1]
    return _hll((inner + half)[..., :-1], (inner - half)[..., 1:])


def _hll(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the HLL flux from the states (h, u) or (h, u, v) on both sides of each face.

    u is normal to the face.
    """
    # Speeds are clipped at 0, so one formula covers supercritical flow too.
    c_l, c_r = np.sqrt(left[:, 0]), np.sqrt(right[:, 0])
    slow = np.minimum(np.minimum(left[:, 1] - c_l, right[:, 1] - c_r), 0.0)[:, None]
    fast = np.maximum(np.maximum(left[:, 1] + c_l, right[:, 1] + c_r), 0.0)[:, None]
    (u_l, f_l), (u_r, f_r) = _conserved_and_flux(left), _conserved_and_flux(right)
    flux: np.ndarray = (fast * f_l - slow * f_r + fast * slow * (u_r - u_l)) / (fast - slow)
    return flux


def _conserved_and_flux(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    conserved = w.copy()
    conserved[:, 1:] *= w[:, :1]
    flux = conserved * w[:, 1:2]
    flux[:, 1] += 0.5 * w[:, 0] ** 2
    return conserved, flux
