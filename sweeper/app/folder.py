"""Where a sweep lives: `./sweeps/NAME` holds its ledger, lease, checkpoints and report."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy import make_url

from sweeper.app.elsewhere import IsElsewhere, Remote, note_of
from sweeper.errors import NotFound, UsageError, unknown
from sweeper.ledger import Ledger, SweepRecord
from sweeper.ledger.database import copy_of
from sweeper.space.faults import shown
from sweeper.space.naming import NAME, RULES

SWEEPS = Path("sweeps")
LEDGER = "ledger.db"
DATABASES = ("sqlite", "postgresql")
STORAGE = "storage.txt"  # the ledger's URL, without a password, where it is not in the folder


def is_name(text: str) -> bool:
    """Returns whether a sweep can be called so."""
    return re.fullmatch(NAME, text) is not None


def folder_of(name: str) -> Path:
    """Returns the folder of the sweep `name`, whether or not it exists.

    Raises:
        UsageError: `name` could leave ./sweeps.
    """
    if not is_name(name):
        raise UsageError(f"sweep name {shown(name)} {RULES[NAME]}.")
    return SWEEPS.resolve() / name


def existing(name: str, *, to_drive: bool = False) -> Path:
    """Returns the folder of a sweep that has been launched.

    Args:
        to_drive: It is to be gone on with, which has to be where it runs; without, a folder that
            is shared with the cluster will do.

    Raises:
        NotFound: There is none of that name in ./sweeps.
        IsElsewhere: It lives on a cluster.
    """
    folder = folder_of(name)
    remote = note_of(folder) if to_drive else elsewhere(folder)
    if remote is not None:
        raise IsElsewhere(remote)
    if not folder.is_dir():
        known = [f.name for f in all_folders()]
        hint = (
            unknown("sweep", name, known)
            if known
            else f"unknown sweep `{name}`: ./sweeps is empty."
        )
        raise NotFound(hint)
    return folder


def elsewhere(folder: Path) -> Remote | None:
    """Returns where a sweep is that was sent to a cluster, unless its ledger can be read here."""
    has_ledger = any((folder / file).is_file() for file in (LEDGER, STORAGE))
    return None if has_ledger else note_of(folder)


def all_folders() -> list[Path]:
    """Returns the folders of all sweeps, by name."""
    if not SWEEPS.is_dir():
        return []
    return sorted(f for f in SWEEPS.resolve().iterdir() if f.is_dir() and is_name(f.name))


def check_storage(url: str) -> None:
    """Sees that a ledger's URL is that of a database of a kind that is tested.

    Raises:
        UsageError: It is not. The text never shows the URL, which may hold a password.
    """
    kind = url.partition(":")[0].partition("+")[0]
    if kind not in DATABASES:
        raise UsageError(
            "--storage: not the URL of a database that a ledger can be in; write it as "
            "postgresql+psycopg://user@host/name or sqlite:////folder/ledger.db."
        )


def open_ledger(folder: Path, storage: str | None = None) -> Ledger:
    """Opens the ledger of the sweep in `folder`, creating it (and the folder) at need.

    A URL given as `storage` is remembered without its password, which PGPASSWORD then supplies.
    """
    note = folder / STORAGE
    if storage is not None:
        ledger = Ledger(storage, folder.name)
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(make_url(storage).set(password=None).render_as_string())
        return ledger
    if note.exists():
        return Ledger(note.read_text(), folder.name)
    return Ledger.in_folder(folder)


def back_up(folder: Path) -> None:
    """Copies an SQLite ledger aside as it is now, for the day on which it is damaged."""
    file, aside = folder / LEDGER, folder / ".ledger.copy"
    if not file.is_file():
        return
    with suppress(sqlite3.Error, OSError):  # a sweep without a copy is better than none
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(aside)) as target:
            source.backup(target)
        aside.replace(copy_of(file))


@contextmanager
def started(folder: Path) -> Iterator[tuple[Ledger, SweepRecord]]:
    """Lends the ledger of a sweep that has begun, and closes it.

    Raises:
        NotFound: It never did.
    """
    with closing(open_ledger(folder)) as ledger:
        record = ledger.sweep()
        if record is None:
            raise NotFound(f"sweep `{folder.name}` was never started; launch its file again.")
        yield ledger, record
