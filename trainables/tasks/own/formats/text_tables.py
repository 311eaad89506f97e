"""Tables of text, each converted once to an Arrow file: CSV, ARFF, and the .ts of UCR and UEA.

The delimiter of a CSV file is `;`, tab, `|` or `,`, or else a run of spaces. Whether numbers have a
decimal comma follows from its first lines.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from trainables.tasks.formats.files import blamed, damaged, open_regular
from trainables.tasks.own.formats.endings import CSV, is_sample
from trainables.tasks.own.formats.samples import check_number

BLOCK = 2**24  # bytes of a CSV file whose types are inferred at once
LOOKED_AT = 20  # lines that tell the delimiter
MIN_AXIS = 5  # numbers in steps of one size, which samples hardly have by chance
MAX_COLUMNS = 50_000
MAX_LINE = 2**26  # bytes of a line
MAX_ARFF = 2**28  # bytes of a file that is read at once
ROWS = 1000  # of a batch
MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]  # numbers in CSV
DELIMITERS = (";", "\t", "|", ",")
SPACES = " "  # the delimiter that is a run of spaces
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|nan|na|\?", re.I)
POINT = re.compile(r"[+-]?\d+(\.\d+)?")  # on an axis
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
OTHER_TYPE = re.compile(r"In CSV column #(\d+):.* CSV conversion error")
WAY_OUT = "Correct it, or save it as Parquet"


def to_arrow(path: Path, scratch: Path, *, header: bool = True) -> Path:
    """Convert a table of text to an Arrow file in the scratch folder, and return that.

    Args:
        path: A .csv, .tsv, .arff or .ts file.
        scratch: The folder.
        header: Whether the first line of a CSV file names its columns.

    Raises:
        DataError: The file is no such table.
    """
    target = scratch / f"table-{len(list(scratch.iterdir()))}.arrow"
    suffix = path.suffix.lower()
    with blamed(path, "it cannot be read as a table", WAY_OUT, most=300):
        if suffix in CSV:
            _convert_csv(path, target, header=header)
        else:
            _write(target, _read_ts(path) if suffix == ".ts" else _read_arff(path))
    return target


def _write(target: Path, batches: Iterator[pa.RecordBatch]) -> None:
    if (first := next(batches, None)) is None:
        raise ValueError("it has no rows")
    with pa.ipc.new_file(str(target), first.schema) as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)


# CSV


@dataclass(frozen=True)
class _Dialect:
    """The form of a CSV file, and the fields of its first lines."""

    delimiter: str
    decimal: str
    rows: Sequence[Sequence[str]]


def _dialect(path: Path) -> _Dialect:
    with open_regular(path) as file:
        read = [file.readline(2**20).decode("utf-8-sig", "replace") for _ in range(LOOKED_AT)]
    lines = [line.strip("\r\n") for line in read if line.strip()] or [""]
    # Signs within quotes are no delimiters. A delimiter occurs equally often in all lines.
    plain = [re.sub('"[^"]*"', "", line) for line in lines]
    steady = [d for d in DELIMITERS if d in plain[0] and len({p.count(d) for p in plain}) == 1]
    words = {len(line.split()) for line in lines}
    if path.suffix.lower() == ".tsv":
        delimiter = "\t"
    elif steady or any(each in plain[0] for each in DELIMITERS):
        delimiter = steady[0] if steady else max(DELIMITERS, key=plain[0].count)
    else:
        delimiter = SPACES if len(words) == 1 and words != {1} else ","
    rows = [line.split() for line in lines]
    if delimiter != SPACES:
        rows = [*csv.reader(lines, delimiter=delimiter)]
    fields = [field.strip() for row in rows for field in row]
    # 1,5 is one number only where the comma does not separate fields.
    has_commas = delimiter != "," and any(map(DECIMAL_COMMA.fullmatch, fields))
    has_points = any("." in field and NUMBER.fullmatch(field) for field in fields)
    # Beside `;` a comma is a decimal one, as spreadsheets write both where it is.
    with_comma = [field for field in fields if DECIMAL_COMMA.fullmatch(field)]
    is_unclear = has_commas and not has_points and delimiter != ";"
    if is_unclear and all(map(THOUSANDS.fullmatch, with_comma)):
        raise damaged(
            path,
            f"`{with_comma[0]}` may be a whole number or one with a fraction",
            "Write numbers without separators of thousands, and fractions with a point",
        )
    return _Dialect(delimiter, "," if has_commas and not has_points else ".", rows)


def decimal_of(path: Path) -> str:
    """Return the decimal separator of the numbers in a table."""
    return _dialect(path).decimal if path.suffix.lower() in CSV else "."


def has_header(path: Path) -> bool:
    """Return whether the first line of a table seems to name its columns: True if it is no CSV."""
    if path.suffix.lower() not in CSV:
        return True
    dialect = _dialect(path)

    def is_value(field: str) -> bool:
        plain = field.strip().replace(dialect.decimal, ".")
        return bool(NUMBER.fullmatch(plain)) or is_sample(Path(plain))

    first, *others = dialect.rows
    # pandas writes 0, 1, 2 and so on as the names of columns that have none, after the row's.
    names = first[1:] if first[:1] == [""] else first
    if names == [str(number) for number in range(len(names))]:
        return True
    if others and _is_axis(first) and not any(map(_is_axis, others)):
        return True
    for name, *values in zip(*dialect.rows, strict=False):
        # An empty cell names nothing, so that it may be a missing number.
        if name and not is_value(name) and all(is_value(value) for value in values if value):
            return True
    return not any(map(is_value, first))


def _is_axis(fields: Sequence[str]) -> bool:
    """Return whether the numbers in a line are steps of one size, as years or wavelengths are."""
    points = np.array([float(field) for field in fields if POINT.fullmatch(field.strip())])
    steps = np.diff(points)
    return len(points) >= MIN_AXIS and steps[0] != 0 and bool(np.allclose(steps, steps[0]))


def first_line(path: Path) -> list[str]:
    """Return the fields in the first line of a CSV file; none of another file."""
    is_csv = path.suffix.lower() in CSV
    return [field.strip() for field in _dialect(path).rows[0]] if is_csv else []


def _convert_csv(path: Path, target: Path, *, header: bool) -> None:
    """Convert a CSV file.

    Types are inferred from the first 16 MB. In longer files whole numbers are read as numbers with
    a fraction, which may follow later. Values such as "" and "NA" are missing numbers.
    """
    _check_text(path)
    dialect, source = _dialect(path), path
    check_number(path, len(dialect.rows[0]), MAX_COLUMNS, "columns")
    if dialect.delimiter == SPACES:
        # Arrow's reader takes one sign as the delimiter, no run of spaces.
        source = target.with_suffix(".tsv")
        with open_regular(path) as file, source.open("wb") as aligned:
            aligned.writelines(b"\t".join(line.split()) + b"\n" for line in file)
    options: dict[str, Any] = {
        "read_options": pa.csv.ReadOptions(block_size=BLOCK, autogenerate_column_names=not header),
        "parse_options": pa.csv.ParseOptions(delimiter=dialect.delimiter.replace(SPACES, "\t")),
        "convert_options": pa.csv.ConvertOptions(
            null_values=MISSING, strings_can_be_null=False, decimal_point=dialect.decimal
        ),
    }
    stored, types = list[str](), dict[str, pa.DataType]()
    if path.stat().st_size > BLOCK:
        with open_regular(source) as file, pa.csv.open_csv(file, **options) as reader:
            whole = [each.name for each in reader.schema if pa.types.is_integer(each.type)]
            stored = reader.schema.names
        types |= dict.fromkeys(whole, pa.float64())
    while True:
        options["convert_options"].column_types = types
        try:
            _write_csv(source, target, options, header=header)
        except pa.ArrowInvalid as error:
            # A cell behind the first 16 MB is no number: the column is text, as in a short file.
            found = OTHER_TYPE.search(str(error))
            if not found or not stored or types.get(stored[int(found[1])]) == pa.string():
                raise
            types[stored[int(found[1])]] = pa.string()
        else:
            return


def _write_csv(source: Path, target: Path, options: dict[str, Any], *, header: bool) -> None:
    with open_regular(source) as file, pa.csv.open_csv(file, **options) as reader:
        names = reader.schema.names if header else [str(i) for i in range(len(reader.schema))]
        # Spreadsheets write empty columns without a name beside a table.
        kept = [i for i, f in enumerate(reader.schema) if f.name or not pa.types.is_null(f.type)]
        _write(target, (batch.rename_columns(names).select(kept) for batch in reader))


def _check_text(path: Path) -> None:
    """Check what spreadsheets put before a table.

    Raises:
        DataError: The file is UTF-16, or its first line names the delimiter.
    """
    with open_regular(path) as file:
        start = file.read(16)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise damaged(path, "it is UTF-16, as Excel's Unicode text", "Save it as CSV in UTF-8")
    if start.removeprefix(codecs.BOM_UTF8).startswith(b"sep="):
        raise damaged(path, "its first line names the delimiter, as Excel's", "Delete this line")


# ARFF and .ts


def _read_arff(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of an ARFF file: numbers, text of nominal values, and nested lists."""
    from scipy.io import arff

    if path.stat().st_size > MAX_ARFF:
        raise damaged(path, f"{path.stat().st_size:,} bytes are too many for ARFF", WAY_OUT)
    with open_regular(path) as file:
        rows, _ = arff.loadarff(io.StringIO(file.read().decode("utf-8")))
    columns: dict[str, Any] = {}
    for name in rows.dtype.names:
        values = rows[name]
        if values.dtype.kind == "S":
            text = np.char.decode(values, "utf-8")
            columns[name] = np.where(text == "?", "", text)  # missing
        elif values.dtype.kind == "O":  # a relation: a row of it is a channel
            columns[name] = [[list(channel) for channel in sample] for sample in values]
        else:
            columns[name] = values if values.dtype.kind in "fiu" else values.astype(str)
    yield from pa.table(columns).to_batches(ROWS)


def _read_ts(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a .ts file: a list for each channel, and `class` or `target`."""
    head: dict[str, str] = {}
    with open_regular(path) as file:
        # A line without an end would fill the memory.
        lines = enumerate(iter(lambda: file.readline(MAX_LINE), b""), start=1)
        for _, line in lines:
            word, _, rest = line.decode("utf-8").strip().partition(" ")
            if word.lower() == "@data":
                break
            if word.startswith("@"):
                head[word[1:].lower()] = rest.strip().lower()
        if head.get("timestamps", "false") != "false":
            raise damaged(path, "its points have times, which are not read", WAY_OUT)
        kinds = ("class", "target")
        label = next((k for k in kinds if head.get(f"{k}label", "").startswith("true")), None)
        rows = ((number, text) for number, line in lines if (text := line.decode("utf-8").strip()))
        while part := [*islice(rows, ROWS)]:
            yield _ts_batch(path, part, label)


def _ts_batch(path: Path, rows: Sequence[tuple[int, str]], label: str | None) -> pa.RecordBatch:
    channels, labels = list[list[np.ndarray]](), list[Any]()
    for number, text in rows:
        sample = text.split(":")
        try:
            if label is not None:
                word = sample.pop().strip()
                labels.append(word if label == "class" else float(word))
            channels.append(
                [np.array(each.replace("?", "nan").split(","), np.float64) for each in sample]
            )
        except ValueError as error:
            raise damaged(path, f"line {number}: {error}", WAY_OUT) from error
        if len(channels[-1]) != len(channels[0]) or not sample:
            raise damaged(path, f"line {number} has {len(sample)} channels", WAY_OUT)
    check_number(path, len(channels[0]), MAX_COLUMNS, "channels")
    names = [f"x{i}" for i in range(len(channels[0]))] if len(channels[0]) > 1 else ["x"]
    columns: dict[str, Any] = dict(zip(names, zip(*channels, strict=True), strict=True))
    return pa.RecordBatch.from_pydict(columns | ({} if label is None else {label: labels}))
