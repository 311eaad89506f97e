"""The database of the ledger: SQLite by default, or any other one of SQLAlchemy.

A statement that fails because the database is unreachable, locked or full is retried. Thus a
restart of PostgreSQL only makes a sweep wait.
"""

import math
import os
import random
import time
from collections.abc import Callable
from json import JSONDecodeError
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
)

from sweeper.address import sqlite_url
from sweeper.errors import BackendUnreachable, StorageFull, SweeperError, UsageError
from sweeper.ledger import backup, schema
from sweeper.ledger.backup import log_of
from sweeper.ledger.file_systems import is_on_network
from sweeper.ledger.rows import dump_json, load_json
from sweeper.text import without_secrets

T = TypeVar("T")
# An address that never answered may be wrong, and users should hear of it soon. Later, an outage
# such as a restart of the server is worth a wait.
PATIENCE_S = 60.0  # of retries, after the database has answered once
FIRST_PATIENCE_S = 5.0
MAX_PAUSE_S = 2.0
FULL = ("disk is full", "disk I/O error", "readonly database", "No space left", "could not extend")
DAMAGED = (  # signs of a damaged file, or of a row in it
    "malformed",
    "not a database",
    "unsupported file format",
    "Could not decode",
    "no such table",
    "no such column",
)
NOTICE = {  # options that detect a silent or disconnected server
    "connect_timeout": 5,  # s
    "tcp_user_timeout": 30_000,  # ms
    "keepalives_idle": 10,  # s
}
LIBPQ = ("psycopg", "psycopg2")  # drivers with these options
NO_COPY = "Restore it from a backup."
LEDGER = "ledger.db"  # file in a sweep's folder
TABLES_LOCK = 5_091_733  # number of an advisory lock of PostgreSQL, ours by convention


def url_in(folder: Path) -> str:
    """Return the URL of the SQLite ledger in the folder of a sweep."""
    return sqlite_url(folder / LEDGER)


class Mark(Protocol):
    """The mark of a transaction, which shows later whether it was committed."""

    def leave(self, connection: Connection) -> None: ...

    def is_there(self, connection: Connection) -> bool: ...


class Database:
    """Connections to the database at `url`, with the ledger's tables in it.

    Attributes:
        trouble: A function that receives one line when the database stops answering, and one when
            it answers again.
        patience_s: The seconds for which a failed statement is retried.

    Raises:
        BackendUnreachable: The database does not answer.
        StorageFull: The database cannot be written to.
        UsageError: A newer sweeper wrote the database, it is damaged, or the URL has no driver.
        SweeperError: The database answers, but refuses a record.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._shown = without_secrets(f"{make_url(url)!r}")
        self._file = None if self.is_shared else Path(make_url(url).database or "")
        if self.file is not None and (loss := backup.loss(self.file)) is not None:
            self.close()
            raise self.damaged(loss)
        self.trouble: Callable[[str], None] = lambda line: None
        self.patience_s = FIRST_PATIENCE_S
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise
        self.patience_s = PATIENCE_S

    @property
    def is_shared(self) -> bool:
        """True if other hosts can write to it."""
        return self._engine.dialect.name != "sqlite"

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database; None for another database."""
        return self._file

    def write(
        self,
        do: Callable[[Connection], T],
        *,
        mark: Mark | None = None,
        patience_s: float = math.inf,
    ) -> T:
        """Run `do` in one transaction; retry while the database is unreachable.

        Args:
            do: The function that writes.
            mark: A mark that shows whether a commit with a lost answer has arrived, so that no
                write is done twice.
            patience_s: The maximum seconds of retries.
        """
        done: list[T] = []

        def once() -> T:
            with self._engine.begin() as connection:
                # Only a retry has something in `done`: its first try came as far as the commit,
                # whose answer may be all that was lost.
                if done and mark is not None and mark.is_there(connection):
                    return done[-1]
                if mark is not None:
                    mark.leave(connection)
                done[:] = [do(connection)]
            return done[-1]

        return self._patiently(once, patience_s)

    def read(self, query: Callable[[Connection], T]) -> T:
        """Return the result of `query`; retry while the database is unreachable."""

        def once() -> T:
            # `_begin` then leaves out BEGIN IMMEDIATE, which would lock out writers.
            with self._engine.connect().execution_options(reads=True) as connection:
                return query(connection)

        return self._patiently(once)

    def now(self, connection: Connection) -> float:
        """Return the time by the common clock of all users, in seconds since the Unix epoch."""
        # `now()` would be the time at which the transaction
        # began, perhaps before it waited for a lock.
        if self.is_shared:
            return float(connection.scalar(text("select extract(epoch from clock_timestamp())")))
        return time.time()

    def close(self) -> None:
        self._engine.dispose()

    def _patiently(self, once: Callable[[], T], patience_s: float = math.inf) -> T:
        deadline, pause = time.monotonic() + min(patience_s, self.patience_s), 0.05
        waited = False
        while True:
            try:
                result = once()
            except (JSONDecodeError, UnicodeDecodeError) as error:
                raise self.damaged(f"is damaged ({error})") from error
            except (InterfaceError, DatabaseError) as error:
                if not _may_pass(error) or time.monotonic() > deadline:
                    raise self._explained(error) from error
                # One line for each outage, however many statements are tried.
                if not waited:
                    self.trouble(f"{self._explained(error)} Waiting for it.")
                waited = True
                time.sleep(pause * random.uniform(0.5, 1.0))  # not all at once
                pause = min(2 * pause, MAX_PAUSE_S)
                continue
            if waited:
                self.trouble("the ledger answers again.")
            return result

    def _explained(self, error: DBAPIError) -> SweeperError:
        # Drivers add lines with the statement, or with a hint.
        why = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "no reason"
        if any(sign in why for sign in FULL):
            return StorageFull(f"the ledger at {self._shown} cannot be written to: {why}.")
        if any(sign in why for sign in DAMAGED):
            return self.damaged(f"is damaged ({why})")
        if not _is_connection_error(error):
            return SweeperError(f"the ledger at {self._shown} does not take a record: {why}.")
        return BackendUnreachable(f"the ledger at {self._shown} does not answer: {why}.")

    def damaged(self, how: str) -> UsageError:
        """Return an error with the damage of the database, and with instructions for recovery."""
        advice = NO_COPY if self.file is None else backup.way_back(self.file)
        return UsageError(f"the ledger at {self._shown} {how}. {advice}")

    def _prepare(self) -> None:
        """Create the tables of a new ledger, and check the schema of any other one.

        A table that a begun ledger lacks is not created: its rows would be lost silently.
        """
        version = self.read(_version)
        if version is None:
            self.write(_create)
        elif version > schema.SCHEMA_VERSION:
            raise UsageError(
                f"{self._shown} was written by a newer sweeper (ledger schema {version}); "
                f"this one knows schema {schema.SCHEMA_VERSION}: upgrade sweeper."
            )
        elif version < schema.SCHEMA_VERSION:
            raise UsageError(
                f"{self._shown} was written by an unreleased sweeper (ledger schema {version}); "
                f"this one knows schema {schema.SCHEMA_VERSION}: launch the sweep under another "
                "--name, with a ledger of its own."
            )


def _version(connection: Connection) -> int | None:
    """Return the version of a ledger's schema; None for a new ledger."""
    if not inspect(connection).has_table(schema.versions.name):
        return None
    version: int | None = connection.scalar(select(func.max(schema.versions.c.version)))
    return version


def _create(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # two processes may create tables at once
        connection.execute(text(f"select pg_advisory_xact_lock({TABLES_LOCK})"))
    schema.metadata.create_all(connection)
    # The process that had the lock before may have written the version.
    if _version(connection) is None:
        connection.execute(insert(schema.versions).values(version=schema.SCHEMA_VERSION))


def _may_pass(error: DBAPIError) -> bool:
    """Return whether a retry may succeed: the database is unreachable, locked or full."""
    why = str(error.orig)
    # SQLite reports these as operational errors, too, but waiting mends none of them.
    if any(sign in why for sign in ("readonly database", *DAMAGED, "syntax error")):
        return False
    return _is_connection_error(error)


def _is_connection_error(error: DBAPIError) -> bool:
    """Return whether the database, and not the statement, is the cause of an error."""
    return isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated


def driver_options(url: URL) -> dict[str, int]:
    """Return options for the driver. Options in the URL have priority."""
    if url.get_backend_name() != "postgresql" or url.get_driver_name() not in LIBPQ:
        return {}
    return {name: value for name, value in NOTICE.items() if name not in url.query}


def _unwritable(url: URL) -> URL | None:
    """Return the URL that only reads an SQLite file of a begun ledger which cannot be written.

    An archive, a snapshot or another user's folder takes none of the files that WAL needs. Without
    them a file can be read if it is immutable, which it is not while its log has commits.
    """
    file = Path(url.database or "")
    is_begun = url.get_backend_name() == "sqlite" and file.is_file() and file.stat().st_size > 0
    if not is_begun or all(os.access(path, os.W_OK) for path in (file, file.parent)):
        return None
    log = log_of(file)
    has_log = log.is_file() and log.stat().st_size > 0
    options = {"mode": "ro", "uri": "true", **({} if has_log else {"immutable": "1"})}
    return url.set(database=f"file:{quote(str(file.absolute()))}", query=options)


def _engine(url: str) -> Engine:
    try:
        asked = make_url(url)
        reading = _unwritable(asked)
        # A restart of the server leaves dead connections in the pool: each is tested first.
        engine = create_engine(
            reading or asked,
            connect_args=driver_options(asked),
            pool_pre_ping=True,
            json_serializer=dump_json,
            json_deserializer=load_json,
        )
    except (NoSuchModuleError, ImportError) as error:
        shown = without_secrets(f"{make_url(url)!r}")
        raise UsageError(f"--storage: no driver for {shown}: {error}") from error
    except (ArgumentError, ValueError) as error:  # never show the text: it may have a password
        raise UsageError(
            "--storage: not the URL of a database; write it as postgresql+psycopg://user@host/name "
            "or sqlite:////folder/ledger.db."
        ) from error
    if engine.dialect.name == "sqlite" and reading is None:
        # The log of WAL is in memory that processes of one machine share. A file that others can
        # open, such as on NFS, has a rollback journal: all that it needs are locks.
        is_shared = is_on_network(Path(engine.url.database or ""))
        # In WAL mode NORMAL keeps the file whole if power fails, although the last commits may be
        # lost. A rollback journal needs FULL for it.
        journal, synchronous = ("DELETE", "FULL") if is_shared else ("WAL", "NORMAL")

        # Writes lock the database at once (BEGIN IMMEDIATE): a later lock could fail in between.
        @event.listens_for(engine, "connect")
        def _configure(connection: Any, _: Any) -> None:
            connection.isolation_level = None  # this module emits BEGIN itself
            connection.execute(f"PRAGMA busy_timeout = {int(PATIENCE_S * 1000)}")
            connection.execute(f"PRAGMA journal_mode = {journal}")
            connection.execute(f"PRAGMA synchronous = {synchronous}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            if not connection.get_execution_options().get("reads"):
                connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
