"""Where a sweep lives: `./sweeps/NAME` holds its ledger, lease, checkpoints and report."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import make_url

from sweeper.errors import NotFound, UsageError, unknown
from sweeper.ledger import Ledger, SweepRecord

SWEEPS = Path("sweeps")
STORAGE = "storage.txt"  # the ledger's URL, without a password, where it is not in the folder
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def folder_of(name: str) -> Path:
    """Returns the folder of the sweep `name`, whether or not it exists.

    Raises:
        UsageError: `name` could leave ./sweeps.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"sweep name {name!r}: use a-z, 0-9, '-' and '_', at most 63 characters.")
    return SWEEPS.resolve() / name


def existing(name: str) -> Path:
    """Returns the folder of a sweep that has been launched.

    Raises:
        NotFound: There is none of that name in ./sweeps.
    """
    folder = folder_of(name)
    if not folder.is_dir():
        known = [f.name for f in all_folders()]
        hint = (
            unknown("sweep", name, known)
            if known
            else f"unknown sweep `{name}`: ./sweeps is empty."
        )
        raise NotFound(hint)
    return folder


def all_folders() -> list[Path]:
    """Returns the folders of all sweeps, by name."""
    if not SWEEPS.is_dir():
        return []
    return sorted(f for f in SWEEPS.resolve().iterdir() if f.is_dir() and NAME.fullmatch(f.name))


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
