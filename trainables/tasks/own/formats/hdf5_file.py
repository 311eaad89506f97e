"""Arrays of HDF5 files, read in slabs. Links and arrays in other files are refused.

Sequences of unequal length may be stored as a vector of variable-length numbers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import h5py
import numpy as np

from trainables.errors import DataError
from trainables.tasks.formats.hdf5 import (
    array_names,
    find_array,
    open_file,
    read_array,
    resolve,
    rows_at_once,
)
from trainables.tasks.own.definition import Key
from trainables.tasks.own.formats.samples import (
    Block,
    NamedArrays,
    SampleArray,
    check_kind,
    choose,
    step_of,
)

SEQUENCE_BYTES = 2**16  # assumed size of a sequence of unknown length, for the size of a block
KINDS = "fiubcSUO"


@dataclass(frozen=True)
class Hdf5File(NamedArrays):
    """An HDF5 file: named arrays in groups."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The paths of all arrays."""
        with open_file(self.path) as file:
            return array_names(file)

    def _samples(self, name: str | None, key: Key, *, text: bool) -> SampleArray:
        if name is None or name.strip("/") not in self.names:
            if name is not None:
                self._refuse_links(name.strip("/"))
            name = choose(self.path, self.names, name, key)
        name, where = name.strip("/"), f"{self.path}: `{name}`"
        with open_file(self.path) as file:
            array = find_array(file, name, kinds=KINDS)
            count, *shape = array.shape or (0,)
            if not array.shape:
                raise DataError(f"{where} is a single value, not an array of samples.")
            if (string := h5py.check_string_dtype(array.dtype)) is not None:
                # HDF5's text of variable length has the kind of objects, which the check refuses.
                check_kind(where, np.dtype("U1"), key, text=text)
                return self._text(name, where, count, tuple(shape), string.encoding)
            if (of := h5py.check_vlen_dtype(array.dtype)) is not None:
                return self._sequences(name, where, array, of, key)
            check_kind(where, array.dtype, key, text=text)
            dtype = array.dtype.newbyteorder("=")

        def read() -> Iterator[Block]:
            yield from self._slabs(name, read_array)

        return SampleArray(where=where, count=count, shape=tuple(shape), dtype=dtype, read=read)

    def _refuse_links(self, name: str) -> None:
        """Raise the error of a link, which says more than that the name is missing."""
        with open_file(self.path) as file:
            node: Any = file
            for part in name.split("/"):
                link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
                if link is None:
                    return
                if not isinstance(link, h5py.HardLink):
                    resolve(file, name)
                node = node[part]

    def _text(
        self, name: str, where: str, count: int, shape: tuple[int, ...], encoding: str
    ) -> SampleArray:
        def decoded(array: Any, rows: Any) -> np.ndarray:
            block = read_array(array, rows)
            try:
                plain = [
                    value.decode(encoding) if isinstance(value, bytes) else str(value)
                    for value in block.ravel()
                ]
            except UnicodeDecodeError as error:
                raise DataError(f"{where} is no text in {encoding} ({error}).") from error
            return np.array(plain).reshape(block.shape)

        return SampleArray(
            where=where,
            count=count,
            shape=shape,
            # The longest text is known only once all are read: a usual length stands for it.
            dtype=np.dtype("U64"),
            read=lambda: self._slabs(name, decoded),
        )

    def _sequences(self, name: str, where: str, array: Any, of: np.dtype, key: Key) -> SampleArray:
        check_kind(where, np.dtype(of), key)
        if array.ndim != 1:
            raise DataError(f"{where}: sequences of unequal length must be a vector [n].")
        lengths = np.concatenate(
            [[len(row) for row in block] for block in self._slabs(name, read_array)]
        ).astype(np.int64)
        return SampleArray(
            where=where,
            count=len(lengths),
            shape=(int(lengths.max(initial=0)),),
            dtype=np.dtype(of),
            read=lambda: ([*block] for block in self._slabs(name, read_array)),
            layout="NL",
            lengths=lengths,
        )

    def _slabs(self, name: str, read: Callable[[Any, Any], np.ndarray]) -> Iterator[np.ndarray]:
        with open_file(self.path) as file:
            array = file[name]
            row = max(1, int(np.prod(array.shape[1:]))) * array.dtype.itemsize
            unequal = array.dtype.kind == "O"
            step = step_of(SEQUENCE_BYTES) if unequal else rows_at_once(array, row)
            for start in range(0, len(array), step):
                yield read(array, slice(start, min(start + step, len(array))))
