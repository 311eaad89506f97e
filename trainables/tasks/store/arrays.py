"""Arrays that do not fit in memory: mapped scratch files, and blocks of rows.

The pages of a mapped file count as memory of this process after their first use. `release` unmaps
them. The file and the page cache keep their content.
"""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

__all__ = ["put_rows", "release", "row_blocks", "scratch_array"]

BLOCK_BYTES = 2**26
LARGE_ROW = 2**12  # bytes from which a call to the kernel is cheaper than clearing new pages


def row_blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield all rows as views of about BLOCK_BYTES. Release mapped rows after their use."""
    step = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        yield array[start : start + step]
        release(array)


def release(array: np.ndarray) -> None:
    """Unmap the pages of an array that is mapped from a file. The next use reads them again."""
    # A view refers to its array by `base`, perhaps through other views. The map is at the end of
    # this chain.
    owner: Any = array
    while isinstance(owner, np.ndarray):
        if isinstance(owner, np.memmap) and owner.mode == "c":
            return  # copy-on-write: its changes exist only in memory
        owner = owner.base
    if isinstance(owner, mmap.mmap):
        owner.madvise(mmap.MADV_DONTNEED)


def put_rows(array: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    """Write `values` [m, ...] to the rows [m] of a scratch array.

    Large rows are written to the file: the kernel clears each page that is first used by its map.
    """
    size = values[:1].nbytes
    if size < LARGE_ROW or not isinstance(array, np.memmap):
        array[rows] = values
        return
    assert array.filename is not None
    with open(array.filename, "r+b", buffering=0) as file:
        for row, value in zip(rows.tolist(), np.ascontiguousarray(values), strict=True):
            written = os.pwrite(file.fileno(), value, row * size)
            assert written == size, "the space is reserved"


def scratch_array(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike, *, in_memory: int = 0
) -> np.ndarray:
    """Map a new file of zeros with reserved disk space.

    Without the reservation, a full disk would kill the process at the first use of a page.

    Up to `in_memory` bytes the array is in memory instead, where it is faster.

    Raises:
        OSError: The disk is full.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size <= in_memory:
        return np.zeros(shape, dtype)
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, max(1, size))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
    return np.memmap(path, dtype, "r+", shape=shape)
