"""Random initial states of the problems: the stream of each sample, and fields of a few sine waves.

A stream is counter-based (Philox; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
SC 2011). The key (seed, sample index) alone determines its draws.

A field in one dimension is a sum of a few sine waves, with or without a window:

    u(x) = s w(x) |sum_j A_j sin(2 pi j c_j x / L + phi_j)|   (bars with probability p_absolute)

where j = 1..num_waves, A ~ U(0, 1), phi ~ U(0, 2 pi), and s is a random sign. c_j is the number of
occurrences of j in `num_drawn` draws with replacement. A wave that was not drawn (c_j = 0) becomes
the constant A_j sin(phi_j), so the fields have a mean. The window has probability p_window. It is
(tanh((x - a) / w) - tanh((x - b) / w)) / 2 with w = 0.01, a ~ U(0.1, 0.45), b ~ U(0.55, 0.9).
The distribution is that of PDEBench's data (Takamoto et al., NeurIPS 2022). Unlike there, the
fields are exactly periodic and the draws are independent.

A smooth field in two dimensions is a Gaussian one without flux through the boundary of a square:

    f(x, y) = sum_ij g_ij c_ij cos(pi i x) cos(pi j y),    g_ij ~ exp(-(i^2 + j^2) / (2 w^2))

where c_ij ~ N(0, 1), w is the number of `waves`, and the mean variance over the square is 1.

Shapes: n = samples, k = waves, m = points.
"""

import math
from dataclasses import dataclass

import numpy as np

from trainables.tasks.problem import cell_centres

WINDOW_WIDTH = 0.01


@dataclass(frozen=True, kw_only=True)
class FourierFields:
    """n functions of x, one per row. Calling the object evaluates them."""

    amplitude: np.ndarray  # [n, k]
    harmonic: np.ndarray  # [n, k], in units of 2 pi / L
    phase: np.ndarray  # [n, k]
    absolute: np.ndarray  # [n], 0 or 1
    sign: np.ndarray  # [n], -1 or 1
    windowed: np.ndarray  # [n], 0 or 1
    edges: np.ndarray  # [n, 2]
    length: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the values [n, m] at the points x, [m] or [n, m]."""
        total = np.zeros((len(self.sign), x.shape[-1]))
        for j in range(self.amplitude.shape[1]):
            amplitude, harmonic, phase = (
                part[:, j, None] for part in (self.amplitude, self.harmonic, self.phase)
            )
            total += amplitude * np.sin(2 * np.pi / self.length * harmonic * x + phase)
        total = np.where(self.absolute[:, None] > 0, np.abs(total), total) * self.sign[:, None]
        left, right = self.edges[:, :1], self.edges[:, 1:]
        window = 0.5 * (np.tanh((x - left) / WINDOW_WIDTH) - np.tanh((x - right) / WINDOW_WIDTH))
        values: np.ndarray = np.where(self.windowed[:, None] > 0, total * window, total)
        return values

    def params(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Return all random numbers by name, [n] or [n, k]."""
        names = ("amplitude", "harmonic", "phase", "absolute", "sign", "windowed", "edges")
        return {prefix + name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class FourierSpec:
    """The distribution of `FourierFields`."""

    num_waves: int = 4
    num_drawn: int = 2
    p_absolute: float = 0.1
    p_window: float = 0.1
    length: float = 1.0

    @property
    def num_uniforms(self) -> int:
        """The number of random numbers of one field."""
        return self.num_drawn + 2 * self.num_waves + 5

    def fields(self, uniforms: np.ndarray) -> FourierFields:
        """Map uniform numbers [n, num_uniforms] to n fields."""
        # Every field takes the same number of uniforms, whatever its parts, so that the meaning of
        # each draw is fixed.
        k = self.num_waves
        slots, amplitude, phase, rest = np.split(
            uniforms, np.cumsum([self.num_drawn, k, k]), axis=1
        )
        drawn = 1 + (slots * k).astype(int)  # [n, num_drawn], in 1..k
        waves = np.arange(1, k + 1)
        counts = (drawn[:, :, None] == waves).sum(axis=1)
        return FourierFields(
            amplitude=amplitude,
            harmonic=(waves * counts).astype(float),
            phase=2 * np.pi * phase,
            absolute=(rest[:, 0] < self.p_absolute).astype(float),
            sign=np.where(rest[:, 1] < 0.5, -1.0, 1.0),
            windowed=(rest[:, 2] < self.p_window).astype(float),
            # As in PDEBench, the window has its place in x, and not in units of the length.
            edges=np.stack([0.1 + 0.35 * rest[:, 3], 0.55 + 0.35 * rest[:, 4]], axis=1),
            length=self.length,
        )


FOURIER = FourierSpec()  # the published distribution of the scalar problems


def rescaled(field: FourierFields, x: np.ndarray, *, reference: np.ndarray) -> np.ndarray:
    """Return the values of `field` at x, rescaled to [0, 1] by their range over `reference`.

    The range comes from fixed points, so that it does not depend on the resolution.

    Args:
        field: n periodic fields.
        x: [m].
        reference: [r].

    Returns:
        [n, m].
    """
    full = field(reference)
    low, high = full.min(axis=1, keepdims=True), full.max(axis=1, keepdims=True)
    # A point between those of the reference may lie slightly outside of their range.
    scaled: np.ndarray = np.clip((field(x) - low) / (high - low), 0.0, 1.0)
    return scaled


def stream(seed: int, index: int) -> np.random.Generator:
    """Return the random generator of one sample."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))


def uniforms(indices: np.ndarray, *, seed: int, count: int) -> np.ndarray:
    """Draw `count` numbers from U(0, 1) for each sample: [n, count]."""
    drawn = np.empty((len(indices), count))
    for row, index in enumerate(indices):
        drawn[row] = stream(seed, int(index)).random(count)
    return drawn


def normals(indices: np.ndarray, *, seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Draw an array of N(0, 1) for each sample: [n, *shape]."""
    drawn = np.empty((len(indices), *shape))
    for row, index in enumerate(indices):
        drawn[row] = stream(seed, int(index)).standard_normal(shape)
    return drawn


def num_cosines(waves: float) -> int:
    """Return the number of cosines of a smooth field in each direction; the rest are faint."""
    return int(np.ceil(3 * waves))


def smooth_fields(coefficients: np.ndarray, x: np.ndarray, *, waves: float) -> np.ndarray:
    """Return smooth fields at the points (x_a, x_b) of a square: [..., m, m].

    Args:
        coefficients: N(0, 1), [..., k, k] with k = `num_cosines(waves)`.
        x: Points in [0, 1], [m].
        waves: w, which decides how far the cosines reach.
    """
    k = np.arange(num_cosines(waves))
    damping = np.exp(-((k / waves) ** 2) / 2)
    # sqrt 2 gives all cosines but the constant one the mean square of 1.
    cosines = np.cos(np.pi * np.outer(k, x)) * np.where(k == 0, 1.0, 2**0.5)[:, None]
    # Divided by its norm in each direction, the damping gives fields with a mean variance of 1.
    weighted = cosines * (damping / np.linalg.norm(damping))[:, None]
    fields: np.ndarray = weighted.T @ coefficients @ weighted
    return fields


def drawn_smooth(
    indices: np.ndarray, *, seed: int, resolution: int, waves: float, of: tuple[int, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Draw smooth fields [n, *of, m, m] for each sample; return also their coefficients [n, k]."""
    count = num_cosines(waves)
    drawn = normals(indices, seed=seed, shape=(*of, count, count))
    fields = smooth_fields(drawn, cell_centres(resolution, 0.0, 1.0), waves=waves)
    return fields, drawn.reshape(len(drawn), math.prod(drawn.shape[1:]))
