"""The copy of an SQLite ledger in the same folder, and the recovery of a damaged ledger."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy import create_engine, insert, select
from sqlalchemy.exc import SQLAlchemyError

from sweeper.address import sqlite_url
from sweeper.ledger import schema
from sweeper.ledger.rows import damage, sealed

INTERVAL_S = 60.0  # between two copies of a changing ledger
FIRST_S = 2.0  # between two checks of a ledger without a copy: its sweep is about to start
MAX_SHARE = 0.02  # largest share of time for copies: a large ledger is copied less often
TRIALS = "trials"  # folder of a sweep's trials, beside its ledger
RESTORED = ("copy", "restored")  # recorder and entity of the mark of a copy in `mirrors`


def copy_of(file: Path) -> Path:
    """Return the path of the copy of an SQLite ledger."""
    return file.with_suffix(".backup.db")


def log_of(file: Path) -> Path:
    """Return the path of the log with the latest commits to an SQLite ledger."""
    return file.with_name(f"{file.name}-wal")


def back_up(file: Path) -> None:
    """Copy an SQLite ledger, so that it can be restored after damage.

    The copy has a mark. It tells a recorder that MLflow may have more records than the copy. A
    ledger without a started sweep is not copied. If the ledger is damaged, the existing copy stays.
    """
    # Written aside and renamed, so that the copy is whole at any time.
    aside = file.with_name(f".{file.stem}.copy")
    if not file.is_file():
        return
    with suppress(SQLAlchemyError, sqlite3.Error, OSError):  # a sweep without one is better
        aside.unlink(missing_ok=True)
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(aside)) as target:
            # SQLite's own backup reads one consistent state, log included, while others write.
            source.backup(target)
        if _marked(aside):
            aside.replace(copy_of(file))
    aside.unlink(missing_ok=True)


def _marked(copy: Path) -> bool:
    """Mark a copy as one; return whether it is of use: a sweep has begun, and no row is damaged."""
    engine = create_engine(sqlite_url(copy))
    recorder, entity = RESTORED
    mark = {"recorder": recorder, "entity": entity, "ref": f"{time.time():.0f}"}
    try:
        with engine.begin() as connection:
            states = connection.execute(select(schema.sweeps.c.name, schema.sweeps.c.state)).all()
            for name, _ in states:
                # A ledger that was itself restored from a copy has such a row already.
                row = sealed(schema.mirrors, {"sweep": name, **mark})
                connection.execute(insert(schema.mirrors).prefix_with("or replace").values(row))
            # Of a file the rows of all sweeps are checked, so no name is needed.
            return any(s != "new" for _, s in states) and damage(connection, "") is None
    finally:
        engine.dispose()


@contextmanager
def kept(file: Path | None, *, interval_s: float = INTERVAL_S) -> Iterator[None]:
    """Copy a ledger at the beginning, at intervals while it changes, and at the end.

    `file` is the SQLite file; None for a database that has backups of its own.
    """
    if file is None:
        yield
        return
    finished = threading.Event()
    thread = threading.Thread(
        target=_copy_at_intervals,
        args=(file, interval_s, finished),
        name="ledger copy",
        daemon=True,
    )
    back_up(file)
    thread.start()
    try:
        yield
    finally:
        # The thread writes the same file aside, so it has to end before the last copy.
        finished.set()
        thread.join()
        back_up(file)


def _copy_at_intervals(file: Path, interval_s: float, finished: threading.Event) -> None:
    pause, before = interval_s, _signature(file)
    while not finished.wait(pause if copy_of(file).is_file() else min(pause, FIRST_S)):
        if (now := _signature(file)) == before and copy_of(file).is_file():
            continue
        # The signature is older than the copy: a commit in between leads to another copy.
        start, before = time.monotonic(), now
        back_up(file)
        pause = max(interval_s, (time.monotonic() - start) / MAX_SHARE)


def _signature(file: Path) -> tuple[tuple[int, int], ...]:
    """Return the times and sizes of the file and its journal, which change with every commit."""
    found = []
    for path in (file, log_of(file)):
        with suppress(OSError):
            stat = path.stat()
            found.append((stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def loss(file: Path) -> str | None:
    """Return the damage of an SQLite ledger that has lost all its content, or None.

    A missing file or a file of 0 bytes is a new ledger, unless a copy or a folder of trials is
    beside it.
    """
    # If a lost ledger passed for a new one, all would be trained again, and its copy replaced.
    if not (copy_of(file).is_file() or (file.parent / TRIALS).is_dir()):
        return None
    if not file.is_file():
        return "is missing"
    return None if file.stat().st_size > 0 else "is empty (0 bytes)"


def way_back(file: Path) -> str:
    """Return the instructions to continue from the copy of a damaged SQLite ledger."""
    copy = copy_of(file)
    if not copy.is_file():
        return "Restore it from a backup, or launch the sweep under another --name."
    at = copy.stat().st_mtime
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
    return (
        f"A copy of {when} ({_age(time.time() - at)} old) is in {copy}: move {file}, its -wal and "
        "its -shm away, put the copy in its place, and resume: later results are trained again."
    )


def _age(seconds: float) -> str:
    """Return an age in the largest unit that gives at least 2, or in seconds."""
    for unit, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(0, seconds):.0f} seconds"
