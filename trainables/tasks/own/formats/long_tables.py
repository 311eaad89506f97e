"""Long tables: each row is one point, and rows with the same value of a column are a sequence.

Sequences are in the order of their first rows, and their points in the order of the rows. Labels
and groups must be equal in all rows of a sequence.

Shapes: r = rows, n = sequences, c = channels, l = points.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from trainables.errors import TaskDataError
from trainables.tasks.own.definition import InputData, Key, TargetData
from trainables.tasks.own.formats.samples import Block, SampleArray, names_of, sliced, step_of
from trainables.tasks.own.formats.tables import ColumnTable
from trainables.tasks.store.arrays import release, scratch_array


@dataclass(frozen=True)
class LongTable:
    """A table with one row per point."""

    table: ColumnTable
    sample: str  # column that tells the sequences apart
    scratch: Path

    @property
    def path(self) -> Path:
        """The file."""
        return self.table.path

    @cached_property
    def _codes(self) -> np.ndarray:
        """The number of the sequence of each row [r]."""
        key = ("input", "sample")
        values = names_of(self.table.column(self.sample, key).values(), f"`{self.sample}`", key)
        # NaN would get the code -1 otherwise, which `bincount` refuses.
        found: np.ndarray = pd.factorize(values, use_na_sentinel=False)[0]
        return found

    def inputs(self, wanted: InputData) -> SampleArray:
        rows = self.table.inputs(wanted)
        if rows.layout != "NL" or rows.lengths is not None:
            raise TaskDataError(
                f"{rows.where}: with `input.sample`, columns must hold numbers, not lists.",
                ("input", "columns"),
            )
        codes, channels = self._codes, rows.shape[0]
        lengths = np.bincount(codes)
        # A stable sort keeps the points of a sequence in the order of their rows.
        place = np.empty(len(codes), np.int64)
        place[np.argsort(codes, kind="stable")] = np.arange(len(codes))

        def read() -> Iterator[Block]:
            # The rows of a sequence may lie anywhere in the table: the disk puts them in order.
            path = self.scratch / f"points-{len(list(self.scratch.iterdir()))}.raw"
            points = scratch_array(path, (len(codes), channels), rows.dtype)
            start = 0
            for block in rows.read():
                points[place[start : start + len(block)]] = block
                release(points)
                start += len(block)
            ends = np.cumsum(lengths)
            step = step_of(int(lengths.max(initial=1)) * channels * rows.dtype.itemsize)
            for first in range(0, len(lengths), step):
                last = min(first + step, len(lengths))
                yield [
                    np.array(points[ends[i] - lengths[i] : ends[i]].T) for i in range(first, last)
                ]
                release(points)
            path.unlink()

        return SampleArray(
            where=rows.where,
            count=len(lengths),
            shape=(channels, int(lengths.max(initial=0))),
            dtype=rows.dtype,
            read=read,
            layout="NCL",
            lengths=lengths,
            names=rows.names,
        )

    def targets(self, wanted: TargetData) -> SampleArray:
        return self._of_sequences(
            self.table.targets(wanted), ("target", "columns" if wanted.columns else "key")
        )

    def column(self, name: str, key: Key) -> SampleArray:
        return self._of_sequences(self.table.column(name, key), key)

    def _of_sequences(self, rows: SampleArray, key: Key) -> SampleArray:
        """Return one value per sequence from one per row.

        Raises:
            TaskDataError: The rows of a sequence differ.
        """
        values = rows.values()
        first = values[np.unique(self._codes, return_index=True)[1]]
        differ = (first[self._codes] != values).reshape(len(values), -1).any(axis=1)
        if differ.any():
            raise TaskDataError(
                f"{rows.where}: row {int(differ.argmax())} (counted from 0) differs from an "
                f"earlier row with the same `{self.sample}`. Each sequence has one value.",
                key,
            )
        return replace(sliced(rows.where, first), layout=rows.layout, names=rows.names)
