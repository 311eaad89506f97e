"""A real PostgreSQL cluster of a test's own, on loopback."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import psycopg
import pytest

from tests.support.servers.ports import free_port
from tests.support.servers.process import Process

BINARIES = Path("/usr/lib/postgresql")
USER, DATABASE = "sweeper", "sweeper"
STRANGER = "postgres"  # who runs it where we are root, as whom it refuses to run
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",  # what we end is processes, not the machine
    "max_connections": "100",
}
MODES = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class Postgres:
    """A cluster whose data and port stay through restarts; whoever is on loopback may connect."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self._binaries, self._data, self._log = binaries, folder / "data", folder / "server.log"
        self.port = free_port()
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """The URL of the first database, for SQLAlchemy."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Create another database, and return its URL."""
        with self._connect() as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url_of(database)

    def initialise(self) -> None:
        """Make the cluster."""
        command = [
            *_as_stranger(), str(self._binaries / "initdb"), "--pgdata", str(self._data),
            "--username", USER, "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=self._log.parent, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start the server, and wait until it has recovered and takes connections."""
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        command = [
            *_as_stranger(), str(self._binaries / "postgres"), "-D", str(self._data),
            f"--port={self.port}", *settings,
        ]  # fmt: skip
        self._process = Process(command, log=self._log, cwd=self._log.parent)
        self._process.wait_until(self._answers)

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "immediate") -> None:
        """Stop the server: `immediate` as in a crash, `fast` in order, `smart` once all left."""
        if self._process is not None:
            self._process.signal(MODES[mode])
            self._process.wait(30)
            self._process.kill()
            self._process = None

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            dbname="postgres",
            autocommit=True,
            connect_timeout=5,
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Yield a running cluster with an empty database; skip where PostgreSQL is not installed.

    Its folder is not in pytest's, which other users cannot enter.
    """
    versions = sorted(BINARIES.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not versions:
        pytest.skip(f"no PostgreSQL in {BINARIES}: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="sweeper-postgres-"))
    if _is_root():
        shutil.chown(folder, STRANGER, STRANGER)
    server = Postgres(folder, versions[-1].parent)
    try:
        server.initialise()
        server.start()
        server.create(DATABASE)
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def _is_root() -> bool:
    return os.geteuid() == 0


def _as_stranger() -> list[str]:
    """Return what a command begins with to run as somebody who is not root."""
    if not _is_root():
        return []
    return ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "--"]
