"""The store of stage results that trials share: where it is, who holds what in it, and its size."""

import hashlib
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from sweeper.config.schema import num_bytes
from sweeper.config.study_spec import StudySpec
from sweeper.config.sweep import Sweep
from sweeper.errors import BackendUnreachable, NotFound, SweepIsHeld, UsageError, unknown
from sweeper.ledger import Ledger
from sweeper.planning.catalog import home
from sweeper.planning.leftovers import Leftovers, delete_leftovers
from sweeper.planning.sweep_folder import elsewhere, folder_of, is_name, open_ledger
from trainables.errors import ConfigError, StorageError
from trainables.storage import stage_gc
from trainables.storage.stage_gc import Collection, StoredResult, collect

__all__ = [
    "collect_garbage",
    "default_place",
    "holder_of",
    "place_of",
    "release",
    "release_command",
]

SHOWN = 10  # results that a message lists
DEFAULT_SIZE = "20GiB"


def default_place() -> str:
    """Returns where stage results are kept unless a file says otherwise."""
    return str(home() / "cache" / "stages")


def holder_of(ledger: Ledger) -> str:
    """Returns the name by which a sweep holds what it uses: of all sweeps of its name, its own."""
    record = ledger.sweep()
    assert record is not None
    known = hashlib.sha256(f"{record.name} {record.created_at!r}".encode()).hexdigest()[:12]
    return f"{record.name}-{known}"


def place_of(sweep: Sweep, study: StudySpec) -> str | None:
    """Returns where trials of a study share results of stages; None: they share none."""
    store = sweep.stage_store_of(study)
    return store.place or default_place() if store is not None and store.use else None


def release(sweep: Sweep, holder: str, say: Callable[[str], None]) -> None:
    """Lets go of what a sweep that is over used, if it has not, and keeps the stores below their
    size."""
    stores = {place_of(sweep, study): sweep.stage_store_of(study) for study in sweep.studies()}
    for place, store in stores.items():
        if place is None or store is None:
            continue
        try:
            stage_gc.release(place, holder)
            found = None if store.max_bytes is None else collect(place, store.max_bytes)
        except StorageError as error:
            later = release_command(place, holder)
            say(f"stage results were not released ({error}); `{later}` does it later.")
            continue
        if found is not None and found.deleted:
            say(_message(found, dry_run=False))


def release_command(place: str, holder: str) -> str:
    """Returns what to run where a sweep that is over holds results still."""
    return shlex.join(["sweeper", "gc", place, "--release", holder])


def collect_garbage(
    place: str | None,
    max_bytes: str | None,
    *,
    force: bool,
    dry_run: bool,
    released: Sequence[str] = (),
) -> dict[str, Any]:
    """Keeps a store below `max_bytes`, such as 20GiB, and returns what stays and what went.

    Unfinished checkpoints that killed writers left in ./sweeps go too.

    Args:
        max_bytes: None: 20GiB, or whatever there is where something is `released`.
        released: Holders that give up what they use, sweeps which will not go on.

    Raises:
        UsageError: `place` is no place of a store, or `max_bytes` no size.
        NotFound: One of `released` holds nothing.
        SweepIsHeld: One of them is running.
        BackendUnreachable: The store does not answer.
    """
    where = place or default_place()
    released = tuple(dict.fromkeys(released))
    most = max_bytes or (None if released else DEFAULT_SIZE)
    try:
        size = None if most is None else _size(most)
    except ValueError as error:
        raise UsageError(f"--max-bytes {max_bytes}: {error}") from error
    try:
        if released:
            known = stage_gc.holders(where)
            for holder in released:
                _check_holder(holder, known, where)
        limit = sys.maxsize if size is None else size
        found = collect(where, limit, force=force, dry_run=dry_run, released=released)
    except ConfigError as error:
        raise UsageError(str(error)) from error
    except StorageError as error:
        raise BackendUnreachable(str(error)) from error
    left = delete_leftovers(dry_run=dry_run)
    lines = [*_told(released, dry_run), _message(found, dry_run=dry_run)]
    return {
        "place": where,
        "max_bytes": size,
        "dry_run": dry_run,
        "released": released,
        "kept": [_record(result) for result in found.kept],
        "kept_bytes": found.kept_bytes,
        "deleted": [_record(result) for result in found.deleted],
        "deleted_bytes": found.deleted_bytes,
        "leftovers": [str(path) for path in left.paths],
        "leftover_bytes": left.bytes,
        "message": "\n".join([*lines, *_told_of_leftovers(left, dry_run)]),
    }


def _size(text: str) -> int:
    return 0 if text.strip("0") in ("", "B") else num_bytes(text)


def _check_holder(holder: str, known: Sequence[str], place: str) -> None:
    """Sees that a holder holds something, and is no sweep of ./sweeps that runs.

    Raises:
        NotFound, SweepIsHeld: As for `collect_garbage`.
    """
    if holder not in known:
        others = unknown("holder", holder, known)
        raise NotFound(others if known else f"unknown holder `{holder}`: {place} has none.")
    name = holder.rpartition("-")[0]
    if not (is_name(name) and (folder := folder_of(name)).is_dir()) or elsewhere(folder):
        return  # it was deleted, or lives elsewhere
    with closing(open_ledger(folder)) as ledger:
        is_it = ledger.sweep() is not None and holder_of(ledger) == holder
        if is_it and (driver := ledger.holder()) is not None:
            raise SweepIsHeld(
                f"sweep `{name}` is running ({driver}), and uses what it holds; end it first: "
                f"sweeper cancel {name}"
            )


def _told_of_leftovers(left: Leftovers, dry_run: bool) -> list[str]:
    verb = "would be deleted" if dry_run else "deleted"
    text = f"{len(left.paths)} unfinished checkpoints in ./sweeps {verb} ({_mib(left.bytes)})"
    return [text] if left.paths else []


def _told(released: Sequence[str], dry_run: bool) -> list[str]:
    verb = "would be released" if dry_run else "released"
    return [f"what {holder} holds {verb}" for holder in released]


def _record(result: StoredResult) -> dict[str, Any]:
    return {
        "key": result.key,
        "bytes": result.bytes,
        "used_at": result.used_at,
        "holders": list(result.holders),
    }


def _message(found: Collection, *, dry_run: bool) -> str:
    verb = "would be deleted" if dry_run else "deleted"
    lines = [
        f"{len(found.deleted)} stage results {verb} ({_mib(found.deleted_bytes)}), "
        f"{len(found.kept)} stay ({_mib(found.kept_bytes)})"
    ]
    held = sorted({holder for result in found.kept for holder in result.holders})
    if held:
        more = f" and {len(held) - SHOWN} more" if len(held) > SHOWN else ""
        lines.append(f"held by sweeps that are not over: {', '.join(held[:SHOWN])}{more}")
        lines.append("`sweeper gc --release NAME` gives up what one of them holds")
    return "\n".join(lines)


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
