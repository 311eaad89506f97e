"""Arrays of .npy and .npz files, which are streamed. Pickled objects are refused.

The head of an array states its size. It is compared with the size of the file, or of the member of
an archive, before memory is allocated. The checksum of a member is checked while it is read.
"""

import math
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from trainables.errors import DataError
from trainables.tasks.formats.files import BinaryFile, damaged, open_regular, shown
from trainables.tasks.formats.restricted_pickle import read_head
from trainables.tasks.own.formats.samples import (
    NamedArrays,
    SampleArray,
    check_kind,
    check_number,
    choose,
    step_of,
)
from trainables.tasks.store.arrays import release, scratch_array

__all__ = ["NpyFile", "NpzFile"]

GROWTH = 1100  # maximal ratio of unpacked to packed bytes; deflate reaches 1032
SAVE_AGAIN = "Save it again by NumPy"
BLOCK = 2**22
MOST_ARRAYS = 10_000  # of an archive
Open = Callable[[], Any]  # a context that yields the open file


@dataclass(frozen=True)
class _Head:
    """Shape, order and type of an array, and the position of its numbers."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    start: int

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class NpyFile(NamedArrays):
    """A .npy file: one array without a name."""

    path: Path
    scratch: Path

    def _samples(
        self, name: str | None, key: tuple[str, ...], *, text: bool = False
    ) -> SampleArray:
        if name is not None:
            choose(self.path, (), name, key)
        size = self.path.stat().st_size
        with _opened(self.path) as file:
            head = _read_head(str(self.path), file)
        check_kind(str(self.path), head.dtype, key, text=text)
        if head.bytes > size - head.start:
            raise damaged(
                self.path,
                f"it was cut short: its head declares {head.bytes:,} bytes of numbers, but "
                f"{size - head.start:,} are there",
                SAVE_AGAIN,
            )
        return _array(str(self.path), lambda: _opened(self.path), head, self.scratch)


@dataclass(frozen=True)
class NpzFile(NamedArrays):
    """A .npz file: an archive of named arrays."""

    path: Path
    scratch: Path

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
        check_number(self.path, len(found), MOST_ARRAYS, "arrays")
        return {m.filename.removesuffix(".npy"): m for m in found if m.filename.endswith(".npy")}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arrays."""
        return tuple(self._members)

    def _samples(
        self, name: str | None, key: tuple[str, ...], *, text: bool = False
    ) -> SampleArray:
        name = choose(self.path, self._members, name, key)
        member, where = self._members[name], f"{self.path}: `{shown(name)}`"
        if member.flag_bits & 1:
            raise DataError(f"{where} is encrypted. {SAVE_AGAIN}.")
        if member.file_size > GROWTH * max(member.compress_size, 1024):
            raise damaged(
                self.path,
                f"`{name}` unpacks from {member.compress_size:,} to {member.file_size:,} bytes",
                SAVE_AGAIN,
            )
        with self._open(member) as file:
            head = _read_head(where, file)
        check_kind(where, head.dtype, key, text=text)
        if head.bytes != member.file_size - head.start:
            raise damaged(
                self.path,
                f"`{name}` declares {head.bytes:,} bytes of numbers, but its member has "
                f"{member.file_size - head.start:,}",
                SAVE_AGAIN,
            )
        return _array(where, lambda: self._open(member), head, self.scratch)

    @contextmanager
    def _open(self, member: zipfile.ZipInfo) -> Iterator[Any]:
        try:
            with self._archive.open(member) as opened:
                yield opened
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            name = shown(member.filename.removesuffix(".npy"))
            raise damaged(self.path, f"`{name}` cannot be read ({error})", SAVE_AGAIN) from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with open_regular(path) as file:
        yield file


def _read_head(where: str, file: BinaryFile) -> _Head:
    try:
        shape, fortran, dtype = read_head(file)
        if any(length < 0 for length in shape):
            raise ValueError(f"it declares the shape {list(shape)}")
        return _Head(shape, fortran, dtype, file.tell())
    except (ValueError, EOFError, SyntaxError, TypeError, RecursionError) as error:
        raise damaged(where, f"it is no NumPy array ({error})", SAVE_AGAIN) from error


def _array(where: str, open_: Open, head: _Head, scratch: Path) -> SampleArray:
    if not head.shape:
        raise damaged(where, "it is a single number, not an array of samples", SAVE_AGAIN)
    count, *rest = head.shape
    row_bytes = math.prod(rest) * head.dtype.itemsize

    def read() -> Iterator[np.ndarray]:
        if not count or not row_bytes:
            return
        if head.fortran and len(head.shape) > 1:
            yield from _transposed(where, open_, head, scratch)
            return
        step = step_of(row_bytes)
        with open_() as file:
            file.read(head.start)  # a seek would skip the checksum
            for start in range(0, count, step):
                rows = min(step, count - start)
                block = np.empty((rows, *rest), head.dtype)
                _fill(where, file, block)
                yield block
            file.read(1)  # at the end of a member, its checksum is compared

    return SampleArray(where=where, count=count, shape=tuple(rest), dtype=head.dtype, read=read)


def _fill(where: str, file: Any, block: np.ndarray) -> None:
    """Read the numbers of a block.

    Raises:
        DataError: The file ends before.
    """
    space = memoryview(block.reshape(-1).view(np.uint8).data)
    while space:
        got = file.readinto(space)
        if not got:
            raise damaged(where, "it was cut short", SAVE_AGAIN)
        space = space[got:]


def _transposed(where: str, open_: Open, head: _Head, scratch: Path) -> Iterator[np.ndarray]:
    """Yield the rows of an array that is stored column by column."""
    path = scratch / f"columns-{len(list(scratch.iterdir()))}.raw"
    flat = scratch_array(path, (head.bytes,), np.uint8)
    with open_() as file:
        file.read(head.start)  # a seek would skip the checksum
        for start in range(0, head.bytes, BLOCK):
            _fill(where, file, flat[start : start + BLOCK])
            release(flat)
    array = flat.view(head.dtype).reshape(head.shape, order="F")
    step = step_of(math.prod(head.shape[1:]) * head.dtype.itemsize)
    for start in range(0, head.shape[0], step):
        yield np.ascontiguousarray(array[start : start + step])
        release(flat)
    path.unlink()
