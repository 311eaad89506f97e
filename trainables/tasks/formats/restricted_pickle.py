"""Safe readers of untrusted pickles, and of .npy files, which may hold one.

A pickle names the functions that rebuild its objects, so Python's own reader may run any code. Here
nothing runs: the opcodes are interpreted, and arrays, numbers, text and plain containers are made
of their bytes. Every other object is refused, and so are declared sizes without content, because a
pickle of ten bytes can request all memory.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from trainables.errors import DataError
from trainables.tasks.formats.files import BinaryFile, Bounded, open_regular, shown
from trainables.tasks.formats.pickle_machine import read_pickle
from trainables.tasks.formats.pickled_values import check_numbers


def load_pickle(file: Path | BinaryFile) -> Any:
    """Return the content of a pickle of arrays, numbers, strings and containers.

    Arrays may be read-only. Strings of Python 2 are decoded as Latin-1.

    Args:
        file: A path, or a file that is open for reading bytes, for example in an archive.

    Raises:
        DataError: The file is no pickle, is truncated, or requests other objects.
    """
    with _opened(file) as opened, _blamed(opened, "no pickle of arrays and plain containers"):
        return read_pickle(opened)


def load_npy(file: Path | BinaryFile) -> np.ndarray:
    """Return the array of a .npy file. It may hold objects, which NumPy stores as a pickle.

    Raises:
        DataError: The file is no .npy file, is truncated, or its pickle requests other objects.
    """
    with _opened(file) as opened:
        with _blamed(opened, "no .npy file"):
            shape, fortran, dtype = read_head(opened)
            if not dtype.hasobject:
                return _read_numbers(opened, shape, fortran, dtype)
        objects = load_pickle(opened)
        if not isinstance(objects, np.ndarray) or objects.shape != shape:
            raise _unreadable(opened, f"no array of shape {list(shape)}, as its head says")
        return objects


def read_head(file: BinaryFile) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of a .npy file.

    Returns:
        Shape, True for Fortran order, and type.

    Raises:
        ValueError: The file has no valid header.
    """
    version = np.lib.format.read_magic(file)
    # Version 3 differs in the names of fields alone, and arrays with fields are refused anyway.
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its version is {version}")
    one = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if one else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    return shape, fortran, dtype


def _read_numbers(
    file: BinaryFile, shape: tuple[int, ...], fortran: bool, dtype: np.dtype
) -> np.ndarray:
    declared = math.prod(shape) * dtype.itemsize
    if any(length < 0 for length in shape) or not dtype.itemsize:
        raise ValueError(f"its head declares {dtype}{list(shape)}")
    # A read beyond the end would fail without naming the size that the head declares.
    content = file.read(min(file.left, declared) if isinstance(file, Bounded) else declared)
    if len(content) < declared:
        raise ValueError(
            f"it was cut short: its head declares {declared} bytes of numbers, but {len(content)} "
            "are there"
        )
    return check_numbers(np.ndarray(shape, dtype, content, order="F" if fortran else "C"))


@contextmanager
def _opened(file: Path | BinaryFile) -> Iterator[BinaryFile]:
    """Open a file. Reading more than it holds is an error, before memory is allocated."""
    if not isinstance(file, Path):
        yield file
        return
    with open_regular(file) as raw:
        yield Bounded(raw, os.fstat(raw.fileno()).st_size, str(file), "it was cut short")


@contextmanager
def _blamed(file: BinaryFile, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a damaged file may raise anything
        reason = shown(str(error)) or type(error).__name__
        raise _unreadable(file, f"{what} ({reason}; at byte {file.tell()})") from error


def _unreadable(file: BinaryFile, what: str) -> DataError:
    name = getattr(file, "name", "a file in an archive")
    return DataError(f"{name}: it is {what}. Fetch the published file again.")
