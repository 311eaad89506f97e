"""The database under the ledger: SQLite in WAL mode by default, or any that SQLAlchemy speaks."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, insert, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from sweeper.errors import BackendUnreachable, UsageError
from sweeper.ledger import schema

BUSY_TIMEOUT_MS = 60_000


class Database:
    """Connections to the database at `url`, with the ledger's tables in it.

    Raises:
        BackendUnreachable: It does not answer.
        UsageError: A newer sweeper wrote it, or the URL has no driver.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = _engine(url)
        with self.transaction() as connection:
            schema.metadata.create_all(connection)
            version = connection.scalar(select(func.max(schema.versions.c.version)))
            if version is None:
                connection.execute(insert(schema.versions).values(version=schema.SCHEMA_VERSION))
            elif version > schema.SCHEMA_VERSION:
                raise UsageError(
                    f"{make_url(url)!r} was written by a newer sweeper (ledger schema {version}); "
                    f"this one knows schema {schema.SCHEMA_VERSION}: upgrade sweeper."
                )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Commits all that is done within, or nothing."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise BackendUnreachable(
                f"the ledger at {make_url(self._url)!r} does not answer: {error.orig}"
            ) from error

    def reading(self) -> AbstractContextManager[Connection]:
        """Returns a connection to read by."""
        return self._engine.connect()

    def close(self) -> None:
        self._engine.dispose()


def _engine(url: str) -> Engine:
    try:
        engine = create_engine(url, pool_pre_ping=True)
    except (NoSuchModuleError, ImportError) as error:
        raise UsageError(f"--storage: no driver for {make_url(url)!r}: {error}") from error
    except (ArgumentError, ValueError) as error:  # the text may hold a password: it is not shown
        raise UsageError(
            "--storage: not the URL of a database; write it as postgresql+psycopg://user@host/name "
            "or sqlite:////folder/ledger.db."
        ) from error
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _configure(connection: Any, _: Any) -> None:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")

    return engine
