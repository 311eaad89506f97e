"""Rows as a ledger stores them: their JSON texts, and checksums that show a flipped bit."""

import json
import math
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import JSON, Column, Connection, Float, String, Table, Text, cast, func, select

from sweeper.ledger import schema
from sweeper.ledger.schema import CHECKSUM

NUMBER_KEY = "$float"  # in JSON, key of a number that is not finite
NUMBERED = ("seq", "id")  # columns that the database fills, outside checksums
ROWS_AT_ONCE = 2000


def sealed(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of `table` with its checksum, as it is written."""
    values = (_as_stored(column, row.get(column.name)) for column in _covered(table))
    return {**row, CHECKSUM: _checksum(values)}


def damage(connection: Connection, sweep: str, *, max_events: float = math.inf) -> str | None:
    """Return what is damaged in the ledger of a connection, or None.

    SQLite finds damage of the file's structure and of an index, and the checksums that of a row.
    Of an SQLite file the rows of all its sweeps are checked.

    Args:
        connection: The database.
        sweep: The sweep.
        max_events: If there are more events, their checksums are not checked.
    """
    is_file = connection.dialect.name == "sqlite"
    mine = {
        table: [] if is_file else [table.c["name" if table is schema.sweeps else "sweep"] == sweep]
        for table in schema.SEALED
    }
    count = select(func.count()).select_from(schema.events).where(*mine[schema.events])
    has_time = (connection.scalar(count) or 0) <= max_events
    if is_file:
        kind = "integrity_check" if has_time else "quick_check"  # of the latter, not the indexes
        found = str(connection.exec_driver_sql(f"PRAGMA {kind}(1)").scalar())
        if found != "ok":
            # SQLite may print a line with the name of the database before the finding.
            return found.splitlines()[-1]
    for table in schema.SEALED:
        if table is schema.events and not has_time:
            continue
        # Checksums are of the stored texts. JSON is not parsed: a damaged text would raise.
        columns = [cast(c, Text) if isinstance(c.type, JSON) else c for c in _covered(table)]
        query = select(table.c[CHECKSUM], *columns).where(*mine[table])
        # The events of a long sweep need not fit into memory.
        in_parts = {"yield_per": ROWS_AT_ONCE}
        with connection.execute(query, execution_options=in_parts) as rows:
            is_whole = all(checksum == _checksum(values) for checksum, *values in rows)
        if not is_whole:
            return f"a row of `{table.name}` does not match its checksum"
    return None


def _covered(table: Table) -> list[Column[Any]]:
    """Return the columns that the checksum of a row covers."""
    return [column for column in table.c if column.name not in (*NUMBERED, CHECKSUM)]


def _as_stored(column: Column[Any], value: Any) -> str | float | int | None:
    if isinstance(column.type, JSON):
        return dump_json(value)
    if value is None:
        return None
    # The database gives back 1.0 where 1 was written, and the checksum is of what it gives back.
    if isinstance(column.type, Float):
        return float(value)
    return str(value) if isinstance(column.type, String) else int(value)


def _checksum(values: Iterable[str | float | int | None]) -> int:
    # SQLite stores a NaN as NULL; both are an empty text here.
    texts = [v if type(v) is str else "" if v is None or v != v else repr(v) for v in values]
    # Without the separator, texts that are cut elsewhere would have the same sum.
    return zlib.crc32("\x1f".join(texts).encode())


def dump_json(value: Any) -> str:
    """Return strict JSON with `{"$float": "nan"}` for a number that is not finite.

    PostgreSQL refuses the words NaN and Infinity.
    """
    try:
        return _compact(value)
    except ValueError:
        return _compact(_wrapped(value))


def load_json(text: str | bytes) -> Any:
    """Return the value of a JSON text of `dump_json`."""
    # Nearly all texts have finite numbers alone, and are read several times faster without a hook.
    text = text if isinstance(text, str) else text.decode()
    return json.loads(text, object_hook=_unwrapped if NUMBER_KEY in text else None)


def _compact(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _wrapped(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {NUMBER_KEY: str(value)}
    if isinstance(value, Mapping):
        return {key: _wrapped(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_wrapped(each) for each in value]
    return value


def _unwrapped(value: dict[str, Any]) -> Any:
    return float(value[NUMBER_KEY]) if value.keys() == {NUMBER_KEY} else value
