"""Arrays of .npy and .npz files, which are mapped. Pickled objects are refused.

The head of an array states its size. It is compared with the size of the file, or of the member of
an archive, before anything is mapped. A member is unpacked to be read, which checks its checksum.
"""

import math
import shutil
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from trainables.errors import DataError
from trainables.tasks.formats.files import damaged, open_regular, shown
from trainables.tasks.formats.restricted_pickle import read_head
from trainables.tasks.own.definition import Key
from trainables.tasks.own.formats.samples import (
    NamedArrays,
    SampleArray,
    check_kind,
    check_number,
    choose,
    step_of,
)
from trainables.tasks.store.arrays import release

GROWTH = 1100  # maximal ratio of unpacked to packed bytes; deflate reaches 1032
SAVE_AGAIN = "Save it again by NumPy"
MAX_ARRAYS = 10_000  # of an archive


@dataclass(frozen=True)
class NpyFile(NamedArrays):
    """A .npy file: one array without a name."""

    def _samples(self, name: str | None, key: Key, *, text: bool) -> SampleArray:
        if name is not None:
            choose(self.path, (), name, key)
        size, whole = self.path.stat().st_size, lambda: nullcontext(self.path)
        with open_regular(self.path) as file:
            found, start, declared = _described(str(self.path), file, whole)
        check_kind(found.where, found.dtype, key, text=text)
        if declared > size - start:
            raise damaged(
                self.path,
                f"it was cut short: its head declares {declared:,} bytes of numbers, but "
                f"{size - start:,} are there",
                SAVE_AGAIN,
            )
        return found


@dataclass(frozen=True)
class NpzFile(NamedArrays):
    """A .npz file: an archive of named arrays."""

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        """The archive, whose list of members is read once. It is closed with this object."""
        file = open_regular(self.path)
        weakref.finalize(self, file.close)
        try:
            return zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
            raise damaged(self.path, f"it is no .npz file ({error})", SAVE_AGAIN) from error

    @cached_property
    def _members(self) -> dict[str, zipfile.ZipInfo]:
        """The members of the archive by the names of their arrays."""
        found = self._archive.infolist()
        check_number(self.path, len(found), MAX_ARRAYS, "arrays")
        return {m.filename.removesuffix(".npy"): m for m in found if m.filename.endswith(".npy")}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arrays."""
        return tuple(self._members)

    def _samples(self, name: str | None, key: Key, *, text: bool) -> SampleArray:
        name = choose(self.path, self._members, name, key)
        member, where = self._members[name], f"{self.path}: `{shown(name)}`"
        packed, size = member.compress_size, member.file_size
        if member.flag_bits & 1:
            raise DataError(f"{where} is encrypted. {SAVE_AGAIN}.")
        if size > GROWTH * max(packed, 1024):
            fault = f"`{name}` unpacks from {packed:,} to {size:,} bytes"
            raise damaged(self.path, fault, SAVE_AGAIN)
        with self._open(member) as file:
            found, start, declared = _described(where, file, lambda: self._unpacked(member))
        check_kind(where, found.dtype, key, text=text)
        if declared != size - start:
            raise damaged(
                self.path,
                f"`{name}` declares {declared:,} bytes of numbers, but its member has "
                f"{size - start:,}",
                SAVE_AGAIN,
            )
        return found

    @contextmanager
    def _unpacked(self, member: zipfile.ZipInfo) -> Iterator[Path]:
        """Yield a file of the content of a member, and delete it at the end."""
        target = self.scratch / f"member-{member.header_offset}-{len([*self.scratch.iterdir()])}"
        with self._open(member) as packed, target.open("xb") as file:
            shutil.copyfileobj(packed, file)
        yield target
        target.unlink()

    @contextmanager
    def _open(self, member: zipfile.ZipInfo) -> Iterator[Any]:
        try:
            with self._archive.open(member) as opened:
                yield opened
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            name = shown(member.filename.removesuffix(".npy"))
            raise damaged(self.path, f"`{name}` cannot be read ({error})", SAVE_AGAIN) from error


def _described(
    where: str, file: Any, whole: Callable[[], AbstractContextManager[Path]]
) -> tuple[SampleArray, int, int]:
    """Return the samples of an open .npy file, and the position and bytes of its numbers.

    Args:
        where: Name for messages.
        file: The open file, of which the head is read.
        whole: A function that returns a file of the whole content, to be mapped.

    Raises:
        DataError: The head is damaged, or that of a single number.
    """
    try:
        shape, fortran, dtype = read_head(file)
        if any(length < 0 for length in shape):
            raise ValueError(f"it declares the shape {list(shape)}")
    except (ValueError, EOFError, SyntaxError, TypeError, RecursionError) as error:
        # NumPy evaluates the head as a literal of Python, which may fail in any of these ways.
        raise damaged(where, f"it is no NumPy array ({error})", SAVE_AGAIN) from error
    if not shape:
        raise damaged(where, "it is a single number, not an array of samples", SAVE_AGAIN)
    start, declared = file.tell(), math.prod(shape) * dtype.itemsize

    def read() -> Iterator[np.ndarray]:
        if not declared:  # nothing can be mapped
            return
        step = step_of(declared // shape[0])
        with whole() as path:
            array = np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")
            for row in range(0, len(array), step):
                yield np.ascontiguousarray(array[row : row + step])
                release(array)

    samples = SampleArray(where=where, count=shape[0], shape=shape[1:], dtype=dtype, read=read)
    return samples, start, declared
