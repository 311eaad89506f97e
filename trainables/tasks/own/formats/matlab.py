"""Arrays of MATLAB files: versions 4 to 7 by SciPy, and 7.3, which is HDF5.

Arrays have the axes that they have in MATLAB. A row or a column of labels is a vector. Cell arrays
are read only if they hold text, one label in each cell. Structs, objects and functions are refused.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import h5py
import numpy as np
from scipy.io import loadmat, whosmat

from trainables.errors import DataError, TaskDataError
from trainables.tasks.formats.files import blamed, damaged, open_regular, shown
from trainables.tasks.formats.hdf5 import SLAB_BYTES, array_names, find_array, open_file, read_array
from trainables.tasks.own.definition import Key
from trainables.tasks.own.formats.samples import (
    Block,
    NamedArrays,
    SampleArray,
    check_kind,
    choose,
    sliced,
)

GROWTH, ALWAYS = 1100, 2**26  # maximal ratio of unpacked to packed bytes, and bytes always allowed
MAX_BYTES = 16  # bytes of a number
WAY_OUT = "Save it again by MATLAB or SciPy"
NUMBERS = (
    "double",
    "single",
    "logical",
    "cell",
    "char",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)


@dataclass(frozen=True)
class MatFile(NamedArrays):
    """A .mat file: named arrays."""

    @cached_property
    def _shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and class of each array by its name."""
        # h5py opens a file by its path, and would wait for a pipe.
        open_regular(self.path).close()
        if h5py.is_hdf5(self.path):
            with open_file(self.path) as file:
                # MATLAB stores the contents of cells and objects under names that begin with `#`.
                names = [name for name in array_names(file) if not name.startswith("#")]
                return {name: (file[name].shape[::-1], "hdf5") for name in names}
        with blamed(self.path, "it is no MATLAB file", WAY_OUT), open_regular(self.path) as file:
            return {name: (tuple(shape), kind) for name, shape, kind in whosmat(file)}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arrays."""
        return tuple(self._shapes)

    def _samples(self, name: str | None, key: Key, *, text: bool) -> SampleArray:
        name = choose(self.path, self.names, name, key)
        (shape, kind), where = self._shapes[name], f"{self.path}: `{shown(name)}`"
        if not shape:
            raise DataError(f"{where} is a single value, not an array of samples.")
        if kind == "hdf5":
            found = self._reversed(name, where, key)
            return _vector(found) if text else found
        if kind not in NUMBERS:
            raise TaskDataError(f"{where} is a {shown(kind)}, not an array of numbers.", key)
        # A small file may declare more numbers than the memory holds.
        declared = math.prod(shape) * MAX_BYTES
        if declared > max(ALWAYS, GROWTH * self.path.stat().st_size):
            raise damaged(self.path, f"`{name}` declares {list(shape)} numbers", WAY_OUT)
        array = self._load(name, where, key)
        check_kind(where, array.dtype, key, text=text)
        return _vector(sliced(where, array)) if text else sliced(where, array)

    def _load(self, name: str, where: str, key: Key) -> np.ndarray:
        fault = f"`{name}` cannot be read"
        with blamed(self.path, fault, WAY_OUT), open_regular(self.path) as file:
            array: np.ndarray = loadmat(file, variable_names=[name])[name]
        if array.dtype.kind != "O":
            return array
        # A list of labels is a cell array as a rule, with a text in each cell.
        cells = [np.asarray(cell) for cell in array.ravel()]
        if 1 not in array.shape or any(c.dtype.kind != "U" or c.size != 1 for c in cells):
            raise TaskDataError(
                f"{where} is a cell array, of which only vectors of text are read. Save sequences "
                "of unequal length as one matrix, padded, or as a list column of Parquet.",
                key,
            )
        return np.array([str(cell.reshape(-1)[0]) for cell in cells])

    def _reversed(self, name: str, where: str, key: Key) -> SampleArray:
        """Return an array of version 7.3, whose axes HDF5 has in reverse."""
        with open_file(self.path) as file:
            array = find_array(file, name, kinds="fiubcV")
            # Text and structs are stored as numbers or references; an attribute has their class.
            kind = array.attrs.get("MATLAB_class", b"")
            if bytes(kind) in (b"cell", b"char", b"struct"):
                raise TaskDataError(
                    f"{where} is a {bytes(kind).decode()} of version 7.3. Save labels as numbers, "
                    "or the file as version 7.",
                    key,
                )
            *rest, count = array.shape
            dtype = _complex_of(array.dtype) or array.dtype.newbyteorder("=")
            row = math.prod(rest) * dtype.itemsize
        check_kind(where, dtype, key)

        def read() -> Iterator[Block]:
            with open_file(self.path) as file:
                stored: Any = file[name]
                step = max(1, SLAB_BYTES // max(1, row))
                for start in range(0, count, step):
                    block = read_array(stored, (..., slice(start, start + step)))
                    if dtype.kind == "c":
                        block = block["real"] + 1j * block["imag"]
                    yield np.ascontiguousarray(block.T)

        return SampleArray(
            where=where, count=count, shape=tuple(rest[::-1]), dtype=dtype, read=read
        )


def _complex_of(dtype: np.dtype) -> np.dtype | None:
    """Return the complex type of MATLAB's pairs of numbers, or None for others."""
    if dtype.names != ("real", "imag"):
        return None
    return np.dtype(np.complex64 if dtype["real"].itemsize == 4 else np.complex128)


def _vector(samples: SampleArray) -> SampleArray:
    """Return a row [1, n] of MATLAB as a vector [n]."""
    if samples.count != 1 or len(samples.shape) != 1 or samples.shape[0] == 1:
        return samples
    return sliced(samples.where, samples.values().reshape(-1))
