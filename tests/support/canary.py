"""Canaries: secrets that only a test knows, and a search for them in all that a sweep leaves.

canaries = Canaries.hatch()
...                                   # run something with canaries.environment
assert canaries.found_in(folder, out, err) == []
"""

import base64
import secrets
import sqlite3
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil

NAMES = (  # of the secrets that a sweep may be given, all by the environment
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "PGPASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "HF_TOKEN",
    "SWEEPER_CANARY",  # that a file may refer to by ${env:SWEEPER_CANARY}
)
SQLITE = b"SQLite format 3\x00"


@dataclass(frozen=True)
class Canaries:
    """Secrets by the name of their environment variable."""

    environment: Mapping[str, str]

    @classmethod
    def hatch(cls, *names: str) -> "Canaries":
        """Return new secrets under `NAMES`, or under `names` alone."""
        return cls({name: f"canary{secrets.token_hex(12)}" for name in names or NAMES})

    def found_in(self, *places: Path | str) -> list[str]:
        """Return where secrets are: in folders and files, or in texts; each as `where: name`.

        Databases of SQLite are read row by row, since a value may lie on two pages; archives are
        looked into.
        """
        hits: list[str] = []
        for place in places:
            if isinstance(place, str):
                hits += self._named("text", place.encode())
            else:
                for where, content in _contents(place):
                    hits += self._named(where, content)
        return sorted(set(hits))

    def found_in_arguments(self) -> list[str]:
        """Return the processes of this machine whose command line shows a secret."""
        hits = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                words = " ".join(process.cmdline())
                hits += self._named(f"process {process.pid} ({process.name()})", words.encode())
        return hits

    def _named(self, where: str, content: bytes) -> list[str]:
        return [
            f"{where}: {name}"
            for name, value in self.environment.items()
            if any(form in content for form in _forms(value))
        ]


def _forms(value: str) -> tuple[bytes, ...]:
    """A secret as it is, as UTF-16, and as base64 whatever stands before it."""
    plain = value.encode()
    shifted = (base64.b64encode(bytes(shift) + plain)[4:-4] for shift in range(3))
    return plain, quote(value).encode(), value.encode("utf-16-le"), *shifted


def _contents(place: Path) -> Iterator[tuple[str, bytes]]:
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    for path in files:
        content = path.read_bytes()
        yield str(path), str(path).encode() + b"\n" + content
        if content.startswith(SQLITE):
            with closing(sqlite3.connect(path)) as connection:
                rows = "\n".join(connection.iterdump())
            yield f"{path} (its rows)", rows.encode(errors="replace")
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    yield f"{path}/{name}", name.encode() + b"\n" + archive.read(name)
