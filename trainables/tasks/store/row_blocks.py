"""Reading an array of any size in bounded memory: a block of rows at a time.

Pages of a mapped file count as this process's memory from when they are touched. `release` unmaps
them; the file and the page cache keep what they hold.
"""

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["release", "row_blocks"]

BLOCK_BYTES = 2**26


def row_blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yields all rows, as views of about BLOCK_BYTES; mapped ones are let go once they are used."""
    step = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        yield array[start : start + step]
        release(array)


def release(array: np.ndarray) -> None:
    """Lets go of an array's pages, where it is mapped from a file; they are read again on use."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        if isinstance(owner, np.memmap) and owner.mode == "c":
            return  # its changes are nowhere else
        owner = owner.base
    if isinstance(owner, mmap.mmap):
        owner.madvise(mmap.MADV_DONTNEED)
