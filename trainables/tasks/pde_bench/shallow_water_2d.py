"""A radial dam break in shallow water on [-2.5, 2.5]^2: depth h(0) -> h(T).

`RadialDamBreak` is the published problem: the dam, depth 2 within a radius R ~ U(0.3, 0.7) and 1
outside, is drawn on the pixels, of which at 128 x 128 there are only 81 different pictures: each
is solved once. `OffsetDamBreak` moves and fills the dam at random, draws it with partly
covered pixels, and samples the solution of the radial equation, so that resolution does not enter.

The schemes are in `shallow_flow`. No wave reaches the boundary by T = 1 (of the offset dams, a few
leave through it, undisturbed).

Shapes: n = samples, m = cells a side.
"""

from dataclasses import dataclass

import numpy as np

from trainables.errors import ConfigError
from trainables.tasks.pde_bench.shallow_flow import evolve_quarter, evolve_radial
from trainables.tasks.pde_bench.streams import uniforms
from trainables.tasks.problem import Problem, Samples, cell_centres

__all__ = ["COMPAT", "HARD", "OffsetDamBreak", "RadialDamBreak"]

HALF_WIDTH = 2.5
AT_ONCE = 4  # pictures: what fits the processor's cache
NUM_RINGS = 512
MAX_RADIUS = 3.0  # of the radial solution: further out the water is still at rest


@dataclass(frozen=True, kw_only=True)
class RadialDamBreak(Problem):
    """The published dam: one random number, its radius."""

    inner_depth: float = 2.0
    radius_range: tuple[float, float] = (0.3, 0.7)
    end_time: float = 1.0

    chunk = 4096  # so that each picture is solved once
    footprint = 3  # since pictures are few
    test_first = False

    def grid(self, resolution: int) -> tuple[int, ...]:
        """A square of cells."""
        return (resolution, resolution)

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> Samples:
        """Returns h(0) -> h(end_time).

        Raises:
            ConfigError: `resolution` is odd, so that the plane has no quarters.
        """
        if resolution % 2:
            raise ConfigError(
                f"shallow_water_2d needs an even resolution, but got {resolution}. "
                f"Take {resolution + 1}."
            )
        radius = _between(self.radius_range, uniforms(indices, seed=seed, count=1)[:, 0])
        r = cell_centres(resolution // 2, 0.0, HALF_WIDTH)
        inside = np.hypot(r[:, None], r) <= radius[:, None, None]
        masks, which = np.unique(inside.reshape(len(inside), -1), axis=0, return_inverse=True)
        depth = np.where(masks.reshape(-1, len(r), len(r)), self.inner_depth, 1.0)
        solved = np.empty_like(depth)
        for first in range(0, len(depth), AT_ONCE):
            block = slice(first, first + AT_ONCE)
            solved[block] = evolve_quarter(depth[block], size=HALF_WIDTH, time=self.end_time)
        start, end = (_unfolded(quarter)[which][:, None] for quarter in (depth, solved))
        return Samples(x=start, y=end, params={"radius": radius})


@dataclass(frozen=True, kw_only=True)
class OffsetDamBreak(Problem):
    """A dam of random radius, depth and centre."""

    depth_range: tuple[float, float] = (1.5, 2.5)
    radius_range: tuple[float, float] = (0.3, 0.7)
    max_offset: float = 1.0  # of the centre, in x and in y
    end_time: float = 1.0

    chunk = 16
    test_first = False

    def grid(self, resolution: int) -> tuple[int, ...]:
        """A square of cells."""
        return (resolution, resolution)

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> Samples:
        """Returns h(0) -> h(end_time)."""
        drawn = uniforms(indices, seed=seed, count=4)
        radius = _between(self.radius_range, drawn[:, 0])[:, None]
        depth = _between(self.depth_range, drawn[:, 1])[:, None]
        centre = _between((-self.max_offset, self.max_offset), drawn[:, 2:])

        ring = cell_centres(NUM_RINGS, 0.0, MAX_RADIUS)
        width = MAX_RADIUS / NUM_RINGS
        dam = _dam(ring, radius, depth, width).astype(np.float32)
        profile = evolve_radial(dam, radius=MAX_RADIUS, time=self.end_time)
        x = cell_centres(resolution, -HALF_WIDTH, HALF_WIDTH)
        distance = np.hypot((x - centre[:, :1])[:, :, None], (x - centre[:, 1:])[:, None, :])
        start = _dam(distance, radius[..., None], depth[..., None], 2 * HALF_WIDTH / resolution)
        end = (
            np.stack([np.interp(r, ring, h) for r, h in zip(distance, profile, strict=True)])
            if len(indices)
            else start
        )
        params = {"radius": radius[:, 0], "depth": depth[:, 0], "centre": centre}
        return Samples(x=start[:, None], y=end[:, None], params=params)


def _between(bounds: tuple[float, float], uniform: np.ndarray) -> np.ndarray:
    low, high = bounds
    return low + (high - low) * uniform


def _dam(r: np.ndarray, radius: np.ndarray, depth: np.ndarray, width: float) -> np.ndarray:
    """Returns the depth in cells of `width` at distance r: those on the rim are partly covered."""
    covered = np.clip(0.5 + (radius - r) / width, 0.0, 1.0)
    water: np.ndarray = 1 + (depth - 1) * covered
    return water


def _unfolded(quarter: np.ndarray) -> np.ndarray:
    """Mirrors [n, m, m] into [n, 2m, 2m]."""
    half = np.concatenate([quarter[..., ::-1], quarter], axis=-1)
    return np.concatenate([half[:, ::-1], half], axis=1)


COMPAT = RadialDamBreak()
HARD = OffsetDamBreak()
