"""Arrays of untrusted HDF5 files, read in parts.

The metadata of an array are checked before its numbers are read: links, storage in another file,
filters, types and sizes. No other file is opened.
"""

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trainables.errors import DataError
from trainables.tasks.formats.files import damaged

SLAB_BYTES = 2**25  # bytes to read at once
MAX_CHUNK_BYTES = 2**28  # published chunks have less than 2 million bytes
MAX_GROWTH = 1100  # maximal ratio of declared bytes to the size of the file; gzip reaches 1032
ALWAYS = 2**26  # bytes that an array may declare in any file
CACHE_BYTES = 2**26  # of decompressed chunks
FILTERS = (1, 2, 3, 4, 5, 6, 32000)  # of HDF5 itself, and lzf
MAX_SHOWN = 8  # maximal number of names in a message
MAX_ARRAYS, DEPTH = 1000, 8  # of a search for the names of arrays
CUT_SHORT = re.compile(r"truncated file: eof = (\d+), .*stored_eof = (\d+)")


def open_file(path: Path) -> Any:
    """Open a file for reading.

    Raises:
        DataError: The file is no HDF5 file, is truncated, or another process is writing to it.
    """
    try:
        return h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES)
    except OSError as error:
        raise _unopened(path, error) from error


def _unopened(path: Path, error: OSError) -> DataError:
    # EACCES also stands for a missing permission, so that the text has to tell of a lock.
    if error.errno in (errno.EAGAIN, errno.EACCES) and "lock" in str(error):
        return DataError(f"{path}: another process is writing to it. Try again once it is done.")
    if error.errno in (errno.ENOLCK, errno.ENOSYS):
        return DataError(
            f"{path}: HDF5 could not lock it. Where nothing writes to it, set "
            "HDF5_USE_FILE_LOCKING=FALSE."
        )
    if found := CUT_SHORT.search(str(error)):
        return damaged(path, f"it was cut short: {found[1]} of {found[2]} bytes are there")
    if path.is_file() and not h5py.is_hdf5(path):
        return damaged(path, f"it is no HDF5 file ({path.stat().st_size} bytes)")
    return damaged(path, f"it cannot be read ({error})")


def array_names(file: Any) -> tuple[str, ...]:
    """Return the paths of all arrays of a file. Links are not followed."""
    found: list[str] = []

    # h5py's `visititems` has no limit of depth: a crafted file ends the process. It also names an
    # array only once, though another name may be the one that a user knows.
    def walk(group: Any, prefix: str) -> None:
        for name in group:
            if len(found) > MAX_ARRAYS or not isinstance(
                group.get(name, getlink=True), h5py.HardLink
            ):
                continue
            node = group[name]
            if isinstance(node, h5py.Dataset):
                found.append(f"{prefix}{name}")
            elif isinstance(node, h5py.Group) and prefix.count("/") < DEPTH:
                walk(node, f"{prefix}{name}/")

    walk(file, "")
    return tuple(found)


def find_array(file: Any, key: str, *ndim: int, kinds: str = "fiu") -> Any:
    """Return the array `key` without reading its numbers.

    Args:
        file: An open file.
        key: Path of the array in it.
        ndim: Allowed numbers of axes; none: any number.
        kinds: Allowed kinds of types, as NumPy's letters.

    Raises:
        DataError: The array is missing or stored in another file, holds no numbers, has another
            number of axes, or declares more bytes than its file can hold.
    """
    array = resolve(file, key)
    if not isinstance(array, h5py.Dataset):
        raise damaged(file.filename, f"`{key}` is a group, not an array")
    if array.external or array.is_virtual:
        raise damaged(file.filename, f"`{key}` is kept in another file, which is not allowed")
    if array.dtype.kind not in kinds:
        raise damaged(file.filename, f"`{key}` is no array of numbers: its type is {array.dtype}")
    # A dataset that h5py calls empty has no shape at all.
    if array.shape is None or (ndim and array.ndim not in ndim) or 0 in array.shape:
        axes, shape = " or ".join(map(str, ndim)) or "one or more", list(array.shape or ())
        raise damaged(file.filename, f"`{key}` must have {axes} axes and a sample, but is {shape}")
    _check_storage(file, key, array)
    return array


def resolve(file: Any, key: str) -> Any:
    """Return the object at the path `key`. Links are not followed.

    Raises:
        DataError: There is no such object, or a link leads to it.
    """
    node, walked = file, ""
    for name in key.split("/"):
        link = node.get(name, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            there = sorted(node)[:MAX_SHOWN] if isinstance(node, h5py.Group) else []
            listed = f"; `{walked or '/'}` has {', '.join(f'`{n!s}`' for n in there)}" * bool(there)
            raise damaged(file.filename, f"it has no array `{key}`{listed}")
        walked = f"{walked}/{name}".strip("/")
        # An external link could open any file of this machine.
        if not isinstance(link, h5py.HardLink):
            raise damaged(file.filename, f"`{walked}` is a link, which is not followed")
        try:
            node = node[name]
        except (KeyError, ValueError, OSError) as error:
            raise damaged(file.filename, f"`{walked}` cannot be read ({error})") from error
    return node


def _check_storage(file: Any, key: str, array: Any) -> None:
    """Check that an array can be decompressed, and that its file can hold its size."""
    item, stored = array.dtype.itemsize, array.id.get_create_plist()
    for number in range(stored.get_nfilters()):
        packed_by = stored.get_filter(number)[0]
        if packed_by not in FILTERS:
            raise DataError(
                f"{file.filename}: `{key}` is packed by filter {packed_by}, which is not read. "
                "Repack it: h5repack -f GZIP=4."
            )
    # As whole numbers of Python, since a hostile shape overflows 64 bits.
    chunk_bytes = int(np.prod(array.chunks or (1,), dtype=object)) * item
    if array.chunks and chunk_bytes > MAX_CHUNK_BYTES:
        raise damaged(file.filename, f"a chunk of `{key}` unpacks to {chunk_bytes:,} bytes")
    declared, size = int(np.prod(array.shape, dtype=object)) * item, os.path.getsize(file.filename)
    if declared > max(ALWAYS, MAX_GROWTH * size):
        raise damaged(
            file.filename, f"`{key}` declares {declared:,} bytes, but the file has {size:,}"
        )


def read_array(array: Any, selection: Any = ()) -> np.ndarray:
    """Read a part of an array.

    Raises:
        DataError: This part of the file is damaged.
    """
    try:
        return np.asarray(array[selection])
    except (OSError, RuntimeError) as error:
        raise damaged(array.file.filename, f"`{array.name}` cannot be read ({error})") from error


def check_points(file: Any, keys: Sequence[str], points: int) -> None:
    """Check that the coordinates of each axis, if stored, fit the fields and increase.

    Args:
        file: An open file.
        keys: Names of the coordinates.
        points: Number of points of the fields along these axes.

    Raises:
        DataError: An axis has another number of points, or does not increase.
    """
    for key in keys:
        if key not in file:
            continue
        axis = find_array(file, key, 1)
        if axis.shape != (points,):
            raise damaged(
                file.filename, f"`{key}` has {axis.size} points, but the fields have {points}"
            )
        if not (np.diff(read_array(axis).astype(np.float64)) > 0).all():
            raise damaged(file.filename, f"`{key}` does not increase from point to point")


def rows_at_once(array: Any, row_bytes: int) -> int:
    """Return the number of rows to read at once: whole chunks that fit in memory."""
    chunk: int = array.chunks[0] if array.chunks else 1
    return max(1, SLAB_BYTES // row_bytes // chunk) * chunk
