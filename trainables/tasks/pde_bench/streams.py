"""One random stream a sample, none of which knows of another.

Philox is counter-based (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): the
key (seed, sample index) alone says what is drawn, whatever was drawn before and by whom.
"""

import numpy as np

__all__ = ["normals", "stream", "uniforms"]


def stream(seed: int, index: int) -> np.random.Generator:
    """Returns the generator of one sample."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))


def uniforms(indices: np.ndarray, *, seed: int, count: int) -> np.ndarray:
    """Draws `count` numbers from U(0, 1) for each sample: [n, count]."""
    drawn = np.empty((len(indices), count))
    for row, index in enumerate(indices):
        drawn[row] = stream(seed, int(index)).random(count)
    return drawn


def normals(indices: np.ndarray, *, seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Draws an array of N(0, 1) for each sample: [n, *shape]."""
    drawn = np.empty((len(indices), *shape))
    for row, index in enumerate(indices):
        drawn[row] = stream(seed, int(index)).standard_normal(shape)
    return drawn
