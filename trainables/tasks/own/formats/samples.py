"""The samples of one array, column or folder, as every format presents them.

A format opens a file as a `Container` of named arrays. Each array is read in order and in blocks,
so that memory stays bounded. Nothing is converted here.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from trainables.errors import DataError, TaskDataError
from trainables.tasks.own.definition import InputData, Key, Layout, TargetData

READ_BYTES = 2**22  # of a block, which stays in the processor's cache
MAX_EXACT = 2.0**53  # beyond it two whole numbers may be one real number
MAX_SHOWN = 12  # maximal number of names in a message
REAL, COMPLEX, TEXT = "buif", "c", "SU"

# One array [m, ...], or arrays of m samples whose numbers of points differ.
Block = np.ndarray | Sequence[np.ndarray]


@dataclass(frozen=True, kw_only=True)
class SampleArray:
    """Samples in the order of their file. n = samples."""

    where: str  # file and array, for messages
    count: int
    shape: tuple[int, ...]  # of a sample; if their numbers of points differ, of the longest
    dtype: np.dtype
    read: Callable[[], Iterator[Block]]  # all blocks, in order
    layout: Layout | None = None  # order of the axes, if the format has only one
    lengths: np.ndarray | None = None  # points of each sample [n], if they differ
    names: tuple[str, ...] = ()  # of channels or of outputs
    facts: Mapping[str, Any] = field(default_factory=dict)  # for the manifest
    notes: tuple[str, ...] = ()  # on what was changed, for the manifest

    def values(self) -> np.ndarray:
        """Return all samples in memory: labels, groups and the like.

        Raises:
            DataError: They are too large for labels.
        """
        if self.count * self.row_bytes > 2**30:
            size = f"{self.count} values of {self.row_bytes} bytes"
            raise DataError(f"{self.where}: {size} are too many for labels, groups or ids.")
        blocks = [np.array(block) for block in self.read()]
        return np.concatenate(blocks) if blocks else np.empty((0, *self.shape), self.dtype)

    @property
    def row_bytes(self) -> int:
        """The size of a sample as stored."""
        return max(1, math.prod(self.shape) * self.dtype.itemsize)


@runtime_checkable
class Container(Protocol):
    """A file or folder that is open for reading."""

    @property
    def path(self) -> Path: ...

    def inputs(self, wanted: InputData) -> SampleArray:
        """Return the inputs.

        Raises:
            DataError: They are missing, or no numbers.
        """
        ...

    def targets(self, wanted: TargetData) -> SampleArray:
        """Return the outputs.

        Raises:
            DataError: They are missing, or neither numbers nor text.
        """
        ...

    def column(self, name: str, key: Key) -> SampleArray:
        """Return one value per sample: a group, or the name of a split.

        Args:
            name: Name of the array or column.
            key: Key of the task file that names it.

        Raises:
            DataError: It is missing.
        """
        ...


def step_of(row_bytes: int) -> int:
    """Return the number of rows of a block."""
    return max(1, READ_BYTES // max(1, row_bytes))


def joined(names: Collection[str]) -> str:
    """Return names for a message."""
    more = f" and {len(names) - MAX_SHOWN} more" * (len(names) > MAX_SHOWN)
    return ", ".join(f"`{name}`" for name in islice(names, MAX_SHOWN)) + more


def check_number(path: Path, number: int, most: int, what: str) -> None:
    """Check that a file has no more arrays or columns than can be handled.

    Raises:
        DataError: It has more than `most`.
    """
    if number > most:
        raise DataError(
            f"{path}: it has more than {most:,} {what}, which is the limit. Join them to arrays "
            "[n, ...] of n samples, in a .npy or .h5 file."
        )


def choose(
    path: Path, names: Collection[str], name: str | None, key: Key, what: str = "array"
) -> str:
    """Return the array that a task file means: the named one, or the only one.

    Raises:
        TaskDataError: There is no such array, or several are possible.
    """
    if name is None:
        if len(names) == 1:
            return next(iter(names))
        has = f"it has {joined(names)}" if names else f"it has no {what}"
        raise TaskDataError(f"{path}: {has}. Name one by `{'.'.join(key)}`.", key)
    if name not in names:
        has = f"It has {joined(names)}." if names else f"It has no {what}."
        raise TaskDataError(f"{path}: no {what} `{name}`. {has}", key)
    return name


def check_kind(where: str, dtype: np.dtype, key: Key, *, text: bool = False) -> None:
    """Check that an array holds numbers, or text where it is allowed.

    Raises:
        TaskDataError: It holds objects or other things.
    """
    if dtype.kind == "O":
        raise TaskDataError(
            f"{where} holds Python objects, which only a pickle can store and which may run code: "
            "they are never read. Save it as an array of numbers (sequences of unequal length: as "
            "a list column of a Parquet file).",
            key,
        )
    if dtype.kind not in REAL + COMPLEX + TEXT * text or not dtype.itemsize:
        wanted = "numbers or text" if text else "numbers"
        raise TaskDataError(f"{where} is no array of {wanted}, but of {dtype}.", key)


def check_as_many(inputs: SampleArray, outputs: SampleArray) -> None:
    """Check that there are as many outputs as inputs.

    Raises:
        DataError: The numbers differ.
    """
    if inputs.count != outputs.count:
        raise DataError(
            f"{inputs.where} has {inputs.count} samples, but {outputs.where} has {outputs.count} "
            "outputs. Each sample needs its output."
        )


def sliced(
    where: str, array: Any, numbers: Callable[[Any], np.ndarray] = np.ascontiguousarray
) -> SampleArray:
    """Return samples [n, ...] that are in memory, or mapped from a file.

    Args:
        where: File and array, for messages.
        array: The samples, of NumPy or torch.
        numbers: A function that returns a slice of them as an array.
    """
    shape, dtype = tuple(array.shape[1:]), numbers(array[:0]).dtype
    step = step_of(math.prod(shape) * dtype.itemsize)
    return SampleArray(
        where=where,
        count=len(array),
        shape=shape,
        dtype=dtype,
        read=lambda: (numbers(array[i : i + step]) for i in range(0, len(array), step)),
    )


def blocks_of(
    files: Sequence[Path], step: int, decode: Callable[[Path], np.ndarray], *, equal: bool
) -> Iterator[Block]:
    """Yield decoded files: stacked if they have one shape, and else as a list."""
    for start in range(0, len(files), step):
        block = [decode(path) for path in files[start : start + step]]
        yield np.stack(block) if equal else block


@dataclass(frozen=True)
class NamedArrays(ABC):
    """A container of arrays by name: a key of the task file names each."""

    path: Path
    scratch: Path  # folder for parts that do not fit in memory

    def inputs(self, wanted: InputData) -> SampleArray:
        return self._samples(wanted.key, ("input", "key"), text=False)

    def targets(self, wanted: TargetData) -> SampleArray:
        return self._samples(wanted.key, ("target", "key"), text=True)

    def column(self, name: str, key: Key) -> SampleArray:
        return self._samples(name, key, text=True)

    @abstractmethod
    def _samples(self, name: str | None, key: Key, *, text: bool) -> SampleArray:
        """Return the array `name`, or the only one; `key` is that of the task file, for faults."""


def names_of(values: np.ndarray, where: str, key: Key) -> np.ndarray:
    """Return the values of a column that tell samples or groups apart, text without outer blanks.

    Raises:
        TaskDataError: Two of its numbers may be one by rounding.
    """
    if values.dtype.kind == "U":
        stripped: np.ndarray = np.char.strip(values)
        return stripped
    if values.dtype.kind == "f" and (np.abs(values) >= MAX_EXACT).any():
        raise TaskDataError(
            f"{where}: numbers as large as {np.nanmax(np.abs(values)):.17g} were read as real "
            "numbers, which may coincide. Save the table as Parquet, or put a letter before them.",
            key,
        )
    return values
