"""Arrays of an HDF5 file, of which only what is asked for is read. Files are material to judge."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trainables.errors import DataError

__all__ = ["damaged", "find_array", "open_file", "read_array", "rows_at_once"]

SLAB_BYTES = 2**25  # read together
MOST_CHUNK_BYTES = 2**28  # as published they are below 2 million
CACHE_BYTES = 2**26  # of chunks that were decompressed


def open_file(path: Path) -> Any:
    """Opens a file to be read.

    Raises:
        DataError: It is no HDF5 file, or was cut short.
    """
    try:
        return h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES)
    except OSError as error:
        raise damaged(path, f"it is no whole HDF5 file ({error})") from error


def find_array(file: Any, key: str, ndim: int) -> Any:
    """Returns the array `key`, unread.

    Raises:
        DataError: There is none, it is in another file, does not hold numbers, or not along `ndim`
            axes.
    """
    try:
        array = file[key]
    except (KeyError, ValueError, OSError) as error:
        raise damaged(file.filename, f"it has no array `{key}`") from error
    if isinstance(array, h5py.Dataset) and _is_elsewhere(array, file):
        raise damaged(file.filename, f"`{key}` refers to another file, which is not allowed")
    if not isinstance(array, h5py.Dataset) or array.dtype.kind not in "fiu":
        raise damaged(file.filename, f"`{key}` is no array of numbers")
    chunk_bytes = int(np.prod(array.chunks or (1,))) * array.dtype.itemsize
    if array.chunks and chunk_bytes > MOST_CHUNK_BYTES:
        raise damaged(file.filename, f"a chunk of `{key}` unpacks to {chunk_bytes} bytes")
    if array.ndim != ndim or 0 in array.shape:
        shape = list(array.shape)
        raise damaged(file.filename, f"`{key}` must have {ndim} axes and a sample, but is {shape}")
    return array


def _is_elsewhere(array: Any, file: Any) -> bool:
    """Returns whether an array's numbers come from another file: a link, or storage of its own."""
    return array.file.filename != file.filename or bool(array.external) or array.is_virtual


def read_array(array: Any, selection: Any = ()) -> np.ndarray:
    """Reads a part of an array.

    Raises:
        DataError: The file is damaged there.
    """
    try:
        return np.asarray(array[selection])
    except (OSError, RuntimeError) as error:
        raise damaged(array.file.filename, f"`{array.name}` cannot be read ({error})") from error


def rows_at_once(array: Any, row_bytes: int) -> int:
    """Returns how many rows to read together: whole chunks, within memory."""
    chunk: int = array.chunks[0] if array.chunks else 1
    return max(1, SLAB_BYTES // row_bytes // chunk) * chunk


def damaged(path: Path | str, fault: str) -> DataError:
    """Returns the error for a file that is not as published."""
    return DataError(f"{path}: {fault}. Fetch the published file again.")
