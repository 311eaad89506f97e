"""Tables: Parquet, Arrow and Feather files, and CSV. Columns become channels or outputs.

    columns of numbers         the points of one sequence      [k]
    columns of lists           one channel each                [k, l]
    one column of tensors or   an array per sample             [...]
    of nested lists

If `input.sample` names a column, each row is one point, and rows with the same value are a sequence
(`LongTable`). Tables of text are converted once (`text_tables`). All are read batch by batch.

Shapes: k = columns, l = points.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from trainables.errors import DataError, TaskDataError
from trainables.tasks.formats.files import damaged, open_regular, shown
from trainables.tasks.own.definition import InputData, Key, TargetData
from trainables.tasks.own.formats.endings import TEXT_TABLES
from trainables.tasks.own.formats.samples import (
    Block,
    SampleArray,
    check_number,
    choose,
    joined,
    step_of,
)
from trainables.tasks.own.formats.text_tables import (
    DECIMAL_COMMA,
    MAX_COLUMNS,
    MISSING,
    decimal_of,
    to_arrow,
)

GROWTH, ALWAYS = 1100, 2**26  # maximal ratio of unpacked to packed bytes, and bytes always allowed
ROW_BYTES = 2**10  # assumed size of a row of unknown size
MAX_BAD_SHARE = 0.5  # share of the values of a column of text above which the others are bad cells
Batches = Callable[[Sequence[str]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class ColumnTable:
    """A table that is open for reading, one row per sample."""

    path: Path
    schema: pa.Schema
    count: int
    batches: Batches  # of the named columns, in order
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # names, by column
    decimal: str = "."  # of numbers among text
    images: frozenset[str] = frozenset()  # columns of images
    added: frozenset[str] = frozenset()  # columns that no file has, which patterns do not mean

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.schema.names)

    def inputs(self, wanted: InputData) -> SampleArray:
        if wanted.key in self.images and not wanted.columns:
            return self._pictures(str(wanted.key), wanted.size)
        key = ("input", "columns" if wanted.columns else "key")
        names = self.selected(wanted.columns, wanted.key, key)
        return self.samples(names, key, wanted.missing)

    def targets(self, wanted: TargetData) -> SampleArray:
        key = ("target", "columns" if wanted.columns else "key")
        names = self.selected(wanted.columns, wanted.key, key)
        type_ = self.schema.field(names[0]).type
        is_one_value = not is_list(type_) and not isinstance(type_, pa.FixedShapeTensorType)
        if len(names) == 1 and not wanted.columns and is_one_value:
            return self.column(names[0], key)
        return self.samples(names, key)

    def column(self, name: str, key: Key) -> SampleArray:
        name = choose(self.path, self.names, name, key, "column")
        type_, where = self.schema.field(name).type, f"{self.path}: `{shown(name)}`"
        classes = self.classes.get(name)
        is_time = pa.types.is_temporal(type_)
        text = classes is not None or is_text(type_) or is_time
        # Integers stay as they are: ids may exceed what a real number holds exactly.
        is_whole = pa.types.is_integer(type_)
        if not text and not is_number(type_):
            raise TaskDataError(f"{where} holds {type_}, neither numbers nor text.", key)

        def read() -> Iterator[Block]:
            start = 0
            for batch in self.batches([name]):
                values = batch.column(0)
                if is_time:
                    values = values.cast(pa.string())
                if values.null_count:
                    row = start + values.is_null().to_pylist().index(True)
                    raise TaskDataError(
                        f"{where}: the value of row {row} (counted from 0) is missing.", key
                    )
                start += len(values)
                if classes is not None:
                    yield _named(where, values.to_pylist(), classes, key)
                elif text:
                    yield np.array([str(value) for value in values.to_pylist()], dtype=np.str_)
                else:
                    yield values.to_numpy(zero_copy_only=False) if is_whole else numbers(values)

        dtype = np.dtype(type_.to_pandas_dtype()) if is_whole else number_type(type_)
        # The longest text is not known before all are read: a usual length estimates the memory.
        dtype = np.dtype("U16") if text else dtype
        return SampleArray(where=where, count=self.count, shape=(), dtype=dtype, read=read)

    def selected(self, columns: Sequence[str], name: str | None, key: Key) -> tuple[str, ...]:
        """Return the columns that a task file means.

        Raises:
            TaskDataError: It names none, or one that is not there.
        """
        if columns:
            stored = [each for each in self.names if each not in self.added]
            return matching(self.path, stored, columns, key)
        if name is None:
            raise TaskDataError(
                f"{self.path}: it has {joined(self.names)}. Name columns by `{key[0]}.columns`.",
                (key[0], "columns"),
            )
        return (choose(self.path, self.names, name, key, "column"),)

    def bad_cells(self, name: str) -> str:
        """Return which cells of a column of text are no numbers, if most are numbers; else "".

        Raises:
            DataError: Such a cell is a number with a comma, which the first lines did not have.
        """
        if name in self.classes or not is_text(self.schema.field(name).type):
            return ""
        # One cell that is no number makes a whole column of numbers into text.
        bad, good, row, first, comma = 0, 0, 0, "", ""
        for batch in self.batches([name]):
            texts = batch.column(0).to_pandas().astype(str).str.strip()
            known = ~np.isnan(self._parsed(batch.column(0)))
            strange = np.flatnonzero(~known & ~texts.isin(MISSING).to_numpy())
            if len(strange) and not bad:
                first = f"`{shown(texts.iloc[strange[0]], 40)}` in row {row + strange[0]}"
            with_comma = [i for i in strange if DECIMAL_COMMA.fullmatch(texts.iloc[i])]
            if with_comma and not comma:
                comma = f"`{texts.iloc[with_comma[0]]}` in row {row + with_comma[0]}"
            bad, good, row = bad + len(strange), good + int(known.sum()), row + len(known)
        verb = "is no number" if bad == 1 else "are no numbers, the first"
        is_mostly_numbers = bad and good > MAX_BAD_SHARE * (good + bad)
        if is_mostly_numbers and comma:
            raise damaged(
                self.path,
                f"column {shown(name)}: {comma} (counted from 0) has a comma, others have none",
                "Write points for fractions and no separators of thousands, or commas throughout",
            )
        found = f"{bad} of {row} values {verb}: {first} (counted from 0)"
        return found if is_mostly_numbers else ""

    def _parsed(self, column: Any) -> np.ndarray:
        """Return text as numbers; what is none becomes NaN."""
        texts = column.to_pandas().astype(str).str.strip()
        if self.decimal != ".":
            texts = texts.str.replace(self.decimal, ".", regex=False)
        parsed: np.ndarray = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64)
        return parsed

    def samples(self, names: Sequence[str], key: Key, missing: str = "refuse") -> SampleArray:
        """Return columns as samples of numbers.

        Args:
            names: The columns.
            key: Key of the task file that names them, for faults.
            missing: What replaces missing values, as which the bad cells count.

        Raises:
            DataError: They hold no numbers, or not the same kind.
        """
        where = f"{self.path}: {joined(names)}"
        types = [self.schema.field(name).type for name in names]
        bad = {name: cells for name in names if (cells := self.bad_cells(name))}
        if all(is_number(type_) or name in bad for name, type_ in zip(names, types, strict=True)):
            notes = tuple(f"column {shown(name)}: {cells}" for name, cells in bad.items())
            if bad and missing == "refuse":
                text, is_input = f"{self.path}: {'; '.join(notes)}. Correct it", key[0] == "input"
                if is_input:  # outputs are never imputed
                    text += (
                        ", or set `input: {missing: zero | mean | interpolate}`, which replaces it"
                    )
                raise TaskDataError(f"{text}.", ("input", "missing") if is_input else key)
            return replace(self._points(where, names, types), notes=notes)
        if len(names) == 1 and (nested := nested_shape(types[0])) is not None:
            return self._arrays(where, names[0], nested, key)
        if all(is_list(type_) and is_number(type_.value_type) for type_ in types):
            return self._sequences(where, names, types, key)
        strange = next((n for n, t in zip(names, types, strict=True) if not is_number(t)), names[0])
        raise TaskDataError(
            f"{self.path}: `{shown(strange)}` holds {self.schema.field(strange).type}. Inputs and "
            "outputs are columns of numbers, or columns of lists of numbers.",
            key,
        )

    def _pictures(self, name: str, size: tuple[int, int] | None) -> SampleArray:
        from trainables.tasks.own.formats.images import describe_stored

        def contents() -> Iterator[bytes | None]:
            for batch in self.batches([name]):
                yield from ((each or {}).get("bytes") for each in batch.column(0).to_pylist())

        return describe_stored(f"{self.path}: `{shown(name)}`", self.count, contents, size)

    def _points(self, where: str, names: Sequence[str], types: Sequence[Any]) -> SampleArray:
        dtype = np.result_type(*map(number_type, types))

        def read() -> Iterator[Block]:
            for batch in self.batches(names):
                yield np.stack([self._numbers(batch.column(n)) for n in names], 1).astype(dtype)

        return SampleArray(
            where=where,
            count=self.count,
            shape=(len(names),),
            dtype=dtype,
            read=read,
            layout="NL",
            names=tuple(names),
        )

    def _numbers(self, column: Any) -> np.ndarray:
        return self._parsed(column) if is_text(column.type) else numbers(column)

    def _sequences(
        self, where: str, names: Sequence[str], types: Sequence[Any], key: Key
    ) -> SampleArray:
        dtype = np.result_type(*(number_type(type_.value_type) for type_ in types))
        # The shape of the samples is that of the longest one, so all lengths are read before.
        lengths = self._lengths(where, names, key)
        single = len(names) == 1

        def read() -> Iterator[Block]:
            for batch in self.batches(names):
                channels = [list_rows(batch.column(name)) for name in names]
                if single:
                    yield channels[0]
                else:
                    yield [np.stack(rows).astype(dtype) for rows in zip(*channels, strict=True)]

        longest = int(lengths.max(initial=0))
        return SampleArray(
            where=where,
            count=self.count,
            shape=(longest,) if single else (len(names), longest),
            dtype=dtype,
            read=read,
            layout="NL" if single else "NCL",
            lengths=lengths,
            names=tuple(names),
        )

    def _lengths(self, where: str, names: Sequence[str], key: Key) -> np.ndarray:
        """Return the points of each sequence [n].

        Raises:
            TaskDataError: A sequence is missing, or its channels differ in length.
        """
        found = [np.empty(0, np.int64)]
        for batch in self.batches(names):
            columns = [batch.column(name) for name in names]
            if any(column.null_count for column in columns):
                raise TaskDataError(f"{where}: a sequence is missing (null).", key)
            each = [np.asarray(column.value_lengths()) for column in columns]
            for lengths in each[1:]:
                if (lengths != each[0]).any():
                    row = sum(map(len, found)) + int((lengths != each[0]).argmax())
                    raise TaskDataError(
                        f"{where}: the channels of row {row} (counted from 0) have unequal "
                        "numbers of points.",
                        key,
                    )
            found.append(each[0].astype(np.int64))
        return np.concatenate(found)

    def _arrays(self, where: str, name: str, shape: tuple[int, ...], key: Key) -> SampleArray:
        def read() -> Iterator[np.ndarray]:
            for batch in self.batches([name]):
                yield nested_rows(where, batch.column(0), key)

        # The type of a list does not tell its length, so that the first batch tells the shape.
        first = next(read(), np.empty((0, *shape)))

        def checked() -> Iterator[Block]:
            for block in read():
                if block.shape[1:] != first.shape[1:]:
                    raise TaskDataError(
                        f"{where}: arrays are {list(first.shape[1:])} and "
                        f"{list(block.shape[1:])}. All samples need one shape.",
                        key,
                    )
                yield block

        return SampleArray(
            where=where,
            count=self.count,
            shape=first.shape[1:],
            dtype=first.dtype,
            read=checked,
        )


def matching(
    path: Path, names: Sequence[str], patterns: Sequence[str], key: Key
) -> tuple[str, ...]:
    """Return the columns that names or globs mean, in the order of the patterns.

    Raises:
        TaskDataError: A pattern matches no column, or a column is meant twice.
    """
    found: list[str] = []
    exact = {*names}
    for pattern in patterns:
        # The name of a column may have signs of a glob, such as `x[0]`.
        meant = [pattern] if pattern in exact else [n for n in names if fnmatchcase(n, pattern)]
        if not meant:
            raise TaskDataError(f"{path}: no column `{pattern}`. It has {joined(names)}.", key)
        found += meant
    if twice := _repeated(found):
        raise TaskDataError(f"{path}: column `{twice}` is named twice.", key)
    return tuple(found)


def _is_one_of(*kinds: str) -> Callable[[Any], bool]:
    """Return a function that tells whether a type of Arrow is of one of these kinds."""
    tests = [getattr(pa.types, f"is_{kind}") for kind in kinds]
    return lambda type_: any(test(type_) for test in tests)


is_number = _is_one_of("integer", "floating", "boolean", "decimal")
is_list = _is_one_of("list", "large_list", "fixed_size_list")
_is_string = _is_one_of("string", "large_string", "string_view")


def is_text(type_: Any) -> bool:
    """Return whether a type of Arrow is text, perhaps with a dictionary."""
    return _is_string(type_.value_type if pa.types.is_dictionary(type_) else type_)


def nested_shape(type_: Any) -> tuple[int, ...] | None:
    """Return (0, ...) for each axis of a tensor or a nested list of numbers; None for others."""
    if isinstance(type_, pa.FixedShapeTensorType):
        return (0,) * len(type_.shape)
    axes = 0
    while is_list(type_):
        type_, axes = type_.value_type, axes + 1
    return (0,) * axes if axes > 1 and is_number(type_) else None


def number_type(type_: Any) -> np.dtype:
    """Return NumPy's type of numbers, of which any may be missing."""
    if pa.types.is_float32(type_) or pa.types.is_float16(type_):
        return np.dtype(np.float32)
    return np.dtype(np.float64)


def numbers(column: Any) -> np.ndarray:
    """Return a column of numbers; missing ones become NaN."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    # NumPy's integers have no value for a missing one.
    if pa.types.is_decimal(column.type) or pa.types.is_integer(column.type):
        column = column.cast(pa.float64(), safe=False)
    array: np.ndarray = column.to_numpy(zero_copy_only=False)
    return array


def list_rows(column: Any) -> list[np.ndarray]:
    """Return the numbers of each list of a column."""
    lengths = np.asarray(column.value_lengths(), dtype=np.int64)
    flat = numbers(column.flatten())
    return np.split(flat, np.cumsum(lengths)[:-1]) if len(lengths) else []


def nested_rows(where: str, column: Any, key: Key) -> np.ndarray:
    """Return the arrays [m, ...] of a column of tensors or of nested lists.

    Raises:
        TaskDataError: An array is missing, or the lists of an axis have unequal lengths.
    """
    if column.null_count:
        raise TaskDataError(f"{where}: an array is missing (null).", key)
    if isinstance(column, pa.FixedShapeTensorArray):
        array: np.ndarray = column.to_numpy_ndarray()
        return array
    shape = [len(column)]
    while is_list(column.type):
        lengths = np.unique(np.asarray(column.value_lengths()))
        if not len(lengths):
            raise TaskDataError(f"{where}: its arrays are empty.", key)
        if len(lengths) != 1 or column.null_count:
            raise TaskDataError(
                f"{where}: the lists of an axis have {lengths.min()} to {lengths.max()} entries. "
                "All samples need one shape.",
                key,
            )
        shape.append(int(lengths[0]))
        column = column.flatten()
    # Images of bytes stay bytes, which take a quarter of single precision.
    keep = column.to_numpy() if pa.types.is_uint8(column.type) and not column.null_count else None
    return (numbers(column) if keep is None else keep).reshape(shape)


def _named(where: str, values: Sequence[Any], classes: Sequence[str], key: Key) -> np.ndarray:
    if strange := [v for v in values if not isinstance(v, int) or not 0 <= v < len(classes)]:
        raise TaskDataError(f"{where}: {strange[0]} is none of {len(classes)} classes.", key)
    return np.array([classes[value] for value in values], dtype=np.str_)


def open_table(path: Path, scratch: Path, *, header: bool = True) -> ColumnTable:
    """Open a table by its ending.

    Args:
        path: A .parquet, .pq, .arrow, .feather, .ipc, .csv, .tsv, .arff or .ts file.
        scratch: Folder for the Arrow file of a table of text.
        header: Whether the first line of a CSV file names its columns.

    Raises:
        DataError: The file is damaged, or two columns have one name.
    """
    suffix = path.suffix.lower()
    # Arrow opens a file by its path, and would wait for a pipe.
    open_regular(path).close()
    try:
        if suffix in (".parquet", ".pq"):
            table = _open_parquet(path)
        elif suffix in TEXT_TABLES:
            converted = to_arrow(path, scratch, header=header)
            table = replace(arrow_table(path, [converted]), decimal=decimal_of(path))
        else:
            table = arrow_table(path, [path])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    check_number(path, len(table.names), MAX_COLUMNS, "columns")
    if twice := _repeated(table.names):
        raise DataError(f"{path}: two columns have the name `{shown(twice)}`. Rename one.")
    return table


def _repeated(names: Sequence[str]) -> str | None:
    """Return the first name that occurs twice, in the order of the alphabet."""
    return min((name for name, times in Counter(names).items() if times > 1), default=None)


def _unreadable(path: Path, error: Exception) -> DataError:
    kind = path.suffix.lstrip(".")
    return damaged(path, f"it cannot be read as {kind} ({shown(str(error))})", "Save it again")


def _open_parquet(path: Path) -> ColumnTable:
    with pa.parquet.ParquetFile(path) as file:
        head, schema = file.metadata, file.schema_arrow
    # A small file may unpack to more than the memory holds, and is refused by its head alone.
    declared = sum(head.row_group(i).total_byte_size for i in range(head.num_row_groups))
    size = path.stat().st_size
    if declared > max(ALWAYS, GROWTH * size):
        raise damaged(path, f"it unpacks from {size:,} to {declared:,} bytes", "Save it again")
    step = step_of(declared // max(1, head.num_rows) or ROW_BYTES)

    def batches(names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        try:
            with pa.parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=step, columns=[*names]):
                    yield batch.select([*names])
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error

    return ColumnTable(path, schema, head.num_rows, batches)


def arrow_table(
    path: Path, stored: Sequence[Path], classes: Mapping[str, Sequence[str]] | None = None
) -> ColumnTable:
    """Return the table in Arrow files or streams of one schema.

    Args:
        path: Name for messages.
        stored: The files, in order.
        classes: Names of classes, by column.

    Raises:
        DataError: A file is damaged, or their columns differ.
    """
    schema, count = None, 0
    for file in stored:
        for number, batch in enumerate(_arrow_batches(file)):
            if schema is None:
                schema = batch.schema
            # All batches of a file have its schema.
            if number == 0 and not batch.schema.equals(schema):
                raise DataError(f"{file}: its columns differ from those of {stored[0]}.")
            count += len(batch)
    if schema is None:
        raise DataError(f"{path}: it has no rows.")

    def batches(names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for file in stored:
            for batch in _arrow_batches(file):
                chosen = batch.select([*names])
                # A single batch may be as large as its file.
                step = step_of(chosen.nbytes // max(1, len(chosen)))
                for start in range(0, len(chosen), step):
                    yield chosen.slice(start, step)

    return ColumnTable(path, schema, count, batches, classes or {})


def _arrow_batches(path: Path) -> Iterator[pa.RecordBatch]:
    try:
        with pa.memory_map(str(path)) as source:
            # A stream, as `datasets` writes it, does not begin like a file of Arrow.
            if source.read(6) == b"ARROW1":
                reader = pa.ipc.open_file(source)
                for number in range(reader.num_record_batches):
                    yield _plain(reader.get_batch(number))
            else:
                source.seek(0)
                yield from map(_plain, pa.ipc.open_stream(source))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _plain(batch: Any) -> Any:
    """Return a batch with the stored form of types that other packages register with Arrow."""
    columns = [
        column.storage
        if isinstance(column.type, pa.BaseExtensionType)
        and not isinstance(column.type, pa.FixedShapeTensorType)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
