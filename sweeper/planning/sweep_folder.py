"""The folder of a sweep: `./sweeps/NAME`, with its ledger, lease, checkpoints and report.

If the sweep was sent to a cluster, its folder has a note about that cluster instead.
"""

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from sweeper.address import sqlite_file
from sweeper.errors import NotFound, SweeperError, UsageError, unknown
from sweeper.ledger import Ledger, SweepRecord
from sweeper.ledger.backup import TRIALS, copy_of
from sweeper.ledger.database import LEDGER, url_in
from sweeper.spec.faults import shown
from sweeper.spec.schema import NAME, RULES

SWEEPS = "SWEEPER_SWEEPS"  # names the folder that holds the sweeps, instead of ./sweeps
MAX_SHOWN = 3  # sweeps of another folder that a message lists
CRASHED = "crashed"  # of a sweep that is `running` without a driver
DATABASES = ("sqlite", "postgresql")
SECRETS = ("password", "secret")  # endings of libpq options that must not be stored
STORAGE = "storage.txt"  # URL (without password) of a ledger outside the folder
FILES_OF_LEDGER = (LEDGER, *(f"{LEDGER}-{part}" for part in ("journal", "wal", "shm")))
SLURM_SCRIPT = "slurm.sh"  # in the folder of a sweep that was submitted to SLURM
NOTE = "remote.json"  # in the local folder of a sweep on a cluster
IN_JOB, OWN_CLUSTER = "SWEEPER_ADDRESS", "auto"  # set on the cluster; users name other addresses
CHEAP_EVENTS = 150_000  # are checked in about 0.3 s
MARKS = (LEDGER, STORAGE, NOTE)  # each begun sweep has one of these in its folder


@dataclass(frozen=True, kw_only=True)
class Remote:
    """The note about a sweep that was sent to a cluster."""

    name: str
    address: str  # of the dashboard, http://HEAD:8265
    workdir: str  # on the cluster
    job: str  # the Ray Job that launched the sweep
    insecure: bool = False  # the cluster is reachable by others and asks for no token
    programs: Sequence[str] = ()  # folders that each job which runs trials takes along


class IsElsewhere(SweeperError):
    """The named sweep is on a cluster, so the command must run there."""

    def __init__(self, remote: Remote, folder: Path) -> None:
        super().__init__(f"sweep `{remote.name}` is on the cluster at {remote.address}.")
        self.remote, self.folder = remote, folder


def is_name(text: str) -> bool:
    """Return whether a sweep can have this name."""
    return re.fullmatch(NAME, text) is not None


def sweeps_folder() -> Path:
    """Return the folder that holds the sweeps: SWEEPER_SWEEPS, else ./sweeps."""
    return _named_folder().resolve()


def _named_folder() -> Path:
    """Return the unresolved path of the folder of sweeps, which may be a link."""
    return Path(os.environ.get(SWEEPS) or "sweeps")


def name_of(text: str) -> str:
    """Return the name of a sweep that a user gives by its name or by the path of its folder.

    Any other path is returned unchanged; it is not a valid name.
    """
    if "/" not in text or "\0" in text:
        return text
    path = Path(text)
    return path.name if path.parent.resolve() == sweeps_folder() else text


def folder_of(name: str) -> Path:
    """Return the folder of the sweep `name`, whether or not it exists.

    Raises:
        UsageError: `name` is not a valid name, or a link on the path is broken. A launch would
            create the target of the link, perhaps on an unmounted disk.
    """
    if not is_name(name):
        raise UsageError(f"sweep name {shown(name)} {RULES[NAME]}.")
    place = _named_folder()
    for link in (place, place / name):
        if link.is_symlink() and not link.exists():
            raise UsageError(
                f"{link.absolute()} is a link to {link.readlink()}, which is not there: mount or "
                "make that folder, or remove the link."
            )
    return place.resolve() / name


def existing(name: str, *, to_drive: bool = False) -> Path:
    """Return the folder of a sweep that has been launched.

    A command that continues the sweep, `to_drive`, must run on the sweep's cluster. For others a
    folder that is shared with the cluster is enough.

    Raises:
        NotFound: There is no such sweep. The message names the folder of sweeps.
        IsElsewhere: The sweep is on a cluster.
    """
    folder = folder_of(name)
    remote = note_of(folder) if to_drive else remote_of(folder)
    if remote is not None:
        raise IsElsewhere(remote, folder)
    if not folder.is_dir():
        raise NotFound(f"{_unknown(name)}{hint_above(name)}")
    return folder


def _unknown(name: str) -> str:
    known = [f.name for f in all_folders()]
    place = sweeps_folder()
    if known:
        return f"{unknown('sweep', name, known)} Looked in {place}."
    return f"unknown sweep `{name}`: {place} {'is empty' if place.is_dir() else 'does not exist'}."


def hint_above(name: str | None = None) -> str:
    """Return a sentence about sweeps in parent folders; "" if there are none.

    Args:
        name: The wanted sweep. If it is found, the sentence names it alone.
    """
    here, is_named = sweeps_folder(), bool(os.environ.get(SWEEPS))
    for above in (Path.cwd(), *Path.cwd().parents):
        place = above / "sweeps"
        found = [f.name for f in folders_in(place) if any((f / mark).is_file() for mark in MARKS)]
        if place.resolve() == here or not found:
            continue
        first = [n for n in found if n == name] or found
        more = (
            f" and {len(found) - MAX_SHOWN} more"
            if first is found and len(found) > MAX_SHOWN
            else ""
        )
        way = (
            f"{SWEEPS}={shlex.quote(str(place))}"
            if is_named
            else f"sweeper -C {shlex.quote(str(above))} ..."
        )
        return f" In {place}: {', '.join(first[:MAX_SHOWN])}{more}; use `{way}`."
    return ""


def remote_of(folder: Path) -> Remote | None:
    """Return the note about a sweep on a cluster; None if its ledger can be read here.

    A ledger in a folder other than that of the note is an earlier one of the same name.
    """
    note = note_of(folder)
    is_here = (
        note is not None and Path(note.workdir, "sweeps", note.name).resolve() == folder.resolve()
    )
    return None if is_here and has_ledger(folder) else note


def forget(folder: Path, name: str) -> None:
    """Remove a file, all that is left of a sweep here, and its folder if empty."""
    (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def note_of(folder: Path) -> Remote | None:
    """Return the note of a sweep that was sent to a cluster; None on the cluster itself.

    Raises:
        UsageError: The note is damaged.
    """
    note = folder / NOTE
    if os.environ.get(IN_JOB) == OWN_CLUSTER or not note.is_file():
        return None
    try:
        return Remote(**json.loads(note.read_text()))
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{note}: no note of where the sweep is ({error}). Remove {folder}, and launch its "
            "file again: it continues on the cluster."
        ) from error


def check_here(folder: Path) -> None:
    """Check that the sweep of this folder was not sent to a cluster: it would run twice.

    Raises:
        UsageError: The sweep is on a cluster. The message names the cluster and the commands.
    """
    remote = note_of(folder)
    if remote is not None:
        name, address = remote.name, remote.address
        raise UsageError(
            f"sweep `{name}` is on the cluster at {address}, in {remote.workdir}. Go on with it "
            f"there by `sweeper resume {name}` or --address {address}, control it from here by "
            f"`sweeper status {name}`, `logs -f` or `stop`, or launch under another --name."
        )


def has_ledger(folder: Path) -> bool:
    """Return whether the sweep of this folder has a ledger, either in the folder or elsewhere."""
    return any((folder / file).is_file() for file in (LEDGER, STORAGE))


def all_folders() -> list[Path]:
    """Return the folders of all sweeps, by name."""
    return folders_in(sweeps_folder())


def folders_in(place: Path) -> list[Path]:
    """Return the folders of the sweeps in `place`, by name; none if `place` cannot be read."""
    try:
        return sorted(f for f in place.iterdir() if f.is_dir() and is_name(f.name))
    except OSError:
        return []


def check_storage(url: str) -> None:
    """Check that a ledger's URL names a supported database and has no secret in its options.

    Raises:
        UsageError: The URL is refused. The message never shows it: it may contain a password.
    """
    try:
        parsed = make_url(url)
    # A port that is no number is a ValueError.
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.get_backend_name() not in DATABASES:
        raise UsageError(
            "--storage: not the URL of a database that a ledger can be in; write it as "
            "postgresql+psycopg://user@host/name or sqlite:////folder/ledger.db."
        )
    if parsed.get_backend_name() == "sqlite" and _is_in_memory(parsed):
        raise UsageError(
            "--storage: a ledger has to outlive its process, and this URL names no file: write "
            "sqlite:////folder/ledger.db, or leave --storage out."
        )
    if any(name.lower().endswith(SECRETS) for name in parsed.query):
        raise UsageError(
            "--storage: a password among the options of a URL would be written down: leave it out, "
            "and set PGPASSWORD, or name a PGPASSFILE or PGSERVICEFILE that only you can read."
        )


def _is_in_memory(url: URL) -> bool:
    """Return whether an SQLite URL names no file, or names it in SQLite's own URI form."""
    name = url.database or ":memory:"
    return name == ":memory:" or name.startswith("file:") or url.query.get("mode") == "memory"


def check_place(folder: Path, storage: str | None) -> None:
    """Check that the ledger of a begun sweep is at `storage`.

    Raises:
        UsageError: The ledger is at another place. With a second ledger, all trials would start
            again in the same folders.
    """
    # Passwords are not compared: they may change, and the note never has one.
    note, file = folder / STORAGE, folder / LEDGER
    if note.is_file():
        begun, says = without_password(note.read_text()), f" ({note} says so)"
    elif file.is_file():
        begun, says = without_password(url_in(folder)), ""
    else:
        return
    if storage is not None and without_password(storage) != begun:
        raise UsageError(
            f"sweep `{folder.name}` has its ledger at {begun}{says}, and goes on in no other: "
            "leave --storage out, or launch under another --name."
        )


def open_ledger(folder: Path, storage: str | None = None) -> Ledger:
    """Open the ledger of the sweep in `folder`; create ledger and folder if necessary.

    Raises:
        UsageError: The ledger is damaged, or is not at the place that the sweep's folder names.
    """
    note = folder / STORAGE
    if note.exists():
        begun = without_password(note.read_text())
        _check_is_there(begun, note)
        storage = begun if storage is None else storage
    return Ledger.in_folder(folder) if storage is None else Ledger(storage, folder.name)


def _check_is_there(storage: str, note: Path) -> None:
    """Check that the SQLite file of a begun sweep exists: a move may have left it behind."""
    if (file := sqlite_file(storage)) is not None and not file.exists():
        raise UsageError(
            f"the ledger of sweep `{note.parent.name}` is not at {storage}, as {note} says: put it "
            "back, or write into that file where it is now."
        )


def check_not_lost(ledger: Ledger, folder: Path) -> None:
    """Check that a sweep which the ledger lacks is new.

    Raises:
        UsageError: The folder has trials of the sweep, so the ledger has lost their rows.
    """
    if ledger.sweep() is None and (folder / TRIALS).is_dir():
        raise ledger.damaged(f"holds nothing of `{folder.name}`, whose trials are in {folder}")


def remember(folder: Path, storage: str) -> None:
    """Write the URL of a sweep's ledger into its folder, unless the ledger is in the folder.

    The caller holds the lease of the sweep. The URL is written without its password, which
    PGPASSWORD supplies later.

    Raises:
        UsageError: Another launch has begun the sweep in another ledger.
    """
    check_place(folder, storage)
    if storage == url_in(folder):
        return
    folder.mkdir(parents=True, exist_ok=True)
    # A file that exists keeps its permissions. A new one is its owner's alone before anything is in
    # it.
    aside = folder / f".{STORAGE}"
    aside.unlink(missing_ok=True)
    aside.touch(0o600)
    aside.write_text(without_password(storage))
    aside.replace(folder / STORAGE)


def without_password(storage: str) -> str:
    """Return a ledger's URL without a password."""
    return make_url(storage)._replace(password=None).render_as_string()  # `set` ignores None


def discard_unstarted(folder: Path, storage: str | None) -> None:
    """Remove the files that a refused launch wrote for a sweep that never started.

    The function holds the lease meanwhile, so that no other launch uses a file that is being
    removed. A copy of the ledger exists only if the sweep has started.

    Raises:
        SweepIsHeld: Another launch holds the sweep.
    """
    with closing(open_ledger(folder, storage)) as ledger, ledger.hold():
        has_trials = (folder / TRIALS).is_dir()
        if has_trials or copy_of(folder / LEDGER).is_file() or not ledger.forget_unstarted():
            return
        unfinished = folder.glob(f".{Path(LEDGER).stem}.copy*")  # unfinished copies
        for file in (*(folder / name for name in (*FILES_OF_LEDGER, STORAGE)), *unfinished):
            file.unlink(missing_ok=True)
    shutil.rmtree(folder / "ray", ignore_errors=True)
    with suppress(OSError):  # other files are in the folder
        folder.rmdir()


@contextmanager
def started(
    folder: Path, *, checked: float | None = CHEAP_EVENTS
) -> Iterator[tuple[Ledger, SweepRecord]]:
    """Open the ledger of a sweep that has begun, and close it at the end.

    Args:
        folder: The folder of the sweep.
        checked: Check the ledger for damage; if it has more events, check all but these. None:
            check nothing, for commands that are called often or show no results.

    Raises:
        NotFound: The sweep was never started. Nothing is written.
        UsageError: The ledger is damaged or missing.
    """
    # A sweep whose ledger is gone did start: opening the ledger then reports the damage.
    has_begun = copy_of(folder / LEDGER).is_file() or (folder / TRIALS).is_dir()
    if not (has_ledger(folder) or has_begun):
        raise _never_started(folder)
    with closing(open_ledger(folder)) as ledger:
        if checked is not None:
            ledger.check(max_events=checked)
        record = ledger.sweep()
        if record is None:
            raise _never_started(folder)
        yield ledger, record


def living_state(record: SweepRecord, ledger: Ledger) -> str:
    """Return the state of a sweep, which may be `CRASHED`."""
    crashed = record.state == "running" and ledger.holder() is None
    return CRASHED if crashed else record.state


def _never_started(folder: Path) -> NotFound:
    if (folder / SLURM_SCRIPT).is_file():
        return NotFound(
            f"sweep `{folder.name}` has not begun: its job of SLURM waits, starts, or has ended; "
            f"see squeue, and {folder}/slurm-*.out."
        )
    return NotFound(f"sweep `{folder.name}` was never started; launch its file again.")
