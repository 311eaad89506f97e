"""Folders in which each file is one sample: images and sounds.

The label of a file is the name of its folder, a row of a table (`target.source: csv`), or a group
of a regular expression over its name (`pattern`). Other columns of the table, or other groups of
the expression, are available for `splits.group` and `splits.column`.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import regex

from trainables.errors import DataError, TaskDataError
from trainables.tasks.formats.files import shown
from trainables.tasks.own.definition import InputData, Key, TargetData
from trainables.tasks.own.formats.samples import SampleArray, joined, sliced
from trainables.tasks.own.formats.tables import ColumnTable

PATTERN_SECONDS = 30  # for the names of all files; 100,000 names take about one
SOURCES = "folder, csv or pattern"


@dataclass(frozen=True)
class SampleFiles:
    """Files of one kind, each of which is one sample."""

    path: Path  # the folder or the first file, for messages
    files: Sequence[Path]
    describe: Callable[[Sequence[Path], InputData], SampleArray]  # the inputs, from their heads
    target: TargetData
    table: ColumnTable | None = None  # of labels; its rows are in the order of the files

    def inputs(self, wanted: InputData) -> SampleArray:
        return self.describe(self.files, wanted)

    def targets(self, wanted: TargetData) -> SampleArray:
        if self.table is not None:
            if wanted.columns:
                return self._rows(self.table.targets(wanted))
            return self.column(wanted.label_column, ("target", "label_column"))
        if wanted.source == "folder":
            return self._text([path.parent.name for path in self.files], "names of folders")
        if wanted.source == "pattern":
            return self.column("label", ("target", "pattern"))
        raise TaskDataError(
            f"{self.path}: each file is one sample. Set `target.source` to {SOURCES}, which says "
            "where the labels are.",
            ("target", "source"),
        )

    def column(self, name: str, key: Key) -> SampleArray:
        if self.table is not None:
            return self._rows(self.table.column(name, key))
        groups = self._groups
        if name not in groups:
            has = f"`target.pattern` has {joined([*groups])}" if groups else "it has no columns"
            raise TaskDataError(
                f"{self.path}: no `{name}`: {has}. Name a group (?P<{name}>…) of the pattern, or "
                "list the files in a table with such a column.",
                key,
            )
        return self._text(groups[name], f"`{name}` of the pattern")

    @cached_property
    def _groups(self) -> Mapping[str, list[str]]:
        """The values of each group of the pattern."""
        if self.target.source != "pattern":
            return {}
        key = ("target", "pattern")
        if not self.target.pattern:
            raise TaskDataError("`source: pattern` needs a `pattern`.", key)
        # A user's pattern may take exponential time, and `re` has no timeout.
        try:
            pattern = regex.compile(self.target.pattern)
        except regex.error as error:
            raise TaskDataError(f"`pattern` is no regular expression ({error}).", key) from error
        found: dict[str, list[str]] = {group: [] for group in pattern.groupindex}
        if "label" not in found:
            raise TaskDataError("`pattern` needs a group (?P<label>…).", key)
        end = time.monotonic() + PATTERN_SECONDS
        for path in self.files:
            match = self._match(pattern, path, end)
            if match is None or any(match[group] is None for group in found):
                raise TaskDataError(f"{path}: `pattern` does not match the name of this file.", key)
            for group, values in found.items():
                values.append(match[group])
        return found

    def _match(self, pattern: Any, path: Path, end: float) -> Any:
        try:
            return pattern.search(path.name, timeout=max(0.01, end - time.monotonic()))
        except TimeoutError as error:
            count = f"{len(self.files)} file{'s' * (len(self.files) > 1)}"
            raise TaskDataError(
                f"{path}: `pattern` takes more than {PATTERN_SECONDS} seconds for the names of "
                f"{count}. Repeat no group that repeats something, such as (a+)+.",
                ("target", "pattern"),
            ) from error

    def _rows(self, samples: SampleArray) -> SampleArray:
        """Return the rows of the table, which are one for each file."""
        if samples.count != len(self.files):
            raise DataError(f"{samples.where}: {samples.count} rows for {len(self.files)} files.")
        return samples

    def _text(self, values: Sequence[str], what: str) -> SampleArray:
        return sliced(f"{self.path}: {what}", np.array(values, dtype=np.str_))


def listed_files(
    table: ColumnTable, files: Sequence[Path], roots: Sequence[Path], column: str
) -> list[Path]:
    """Return the files that a table of labels lists, in its order.

    Args:
        table: The table.
        files: The files that the task file names.
        roots: Folders that the names in the table may be relative to.
        column: Column of the names.

    Raises:
        DataError: The table lists a file that is not there, or one twice, or leaves out a file.
    """
    key = ("target", "file_column")
    names = [str(name) for name in table.column(column, key).values().tolist()]
    allowed = {path.resolve() for path in files}
    found: list[Path] = []
    for row, name in enumerate(names):
        where = f"{table.path}, row {row} (counted from 0)"
        posix = PurePosixPath(name.replace("\\", "/"))
        if posix.is_absolute() or ".." in posix.parts or not posix.parts:
            raise TaskDataError(
                f"{where}: `{shown(name)}` leaves the folder. Names must be relative, and below "
                "the folder of the files.",
                key,
            )
        # A table must not lead to other files than those that the task file names.
        place = next((p for root in roots if (p := (root / posix)).resolve() in allowed), None)
        if place is None:
            raise TaskDataError(
                f"{where}: `{shown(name)}` is none of the {len(files)} files that `input.path` or "
                f"`splits` name, relative to {roots[0]}.",
                key,
            )
        found.append(place)
    twice, times = Counter(found).most_common(1)[0] if found else (table.path, 1)
    if times > 1:
        raise TaskDataError(f"{table.path}: {twice} is listed twice.", key)
    if left_out := allowed - {path.resolve() for path in found}:
        raise TaskDataError(
            f"{table.path}: {len(left_out)} files have no row, such as {min(left_out)}. Add rows, "
            "or name only the files that have a label.",
            key,
        )
    return found
