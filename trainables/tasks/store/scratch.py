"""Arrays on disk for what does not fit in memory, while data are being imported."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

__all__ = ["scratch_array"]


def scratch_array(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Maps a new file of zeros, for which the disk has set room aside: where there is none, a
    process that touches a mapped page would be ended without a word.

    Raises:
        OSError: The disk is full.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, max(1, size))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
    return np.memmap(path, dtype, "r+", shape=shape)
