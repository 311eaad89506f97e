"""The store of stage results that trials share: where it is, who holds what in it, and its size."""

import hashlib
import shlex
from collections.abc import Callable

from sweeper.config.study_spec import StudySpec
from sweeper.config.sweep import Sweep
from sweeper.ledger import Ledger
from sweeper.planning.catalog import home
from sweeper.text import format_bytes
from trainables.errors import StorageError
from trainables.storage import stage_gc
from trainables.storage.stage_gc import Collection, collect

__all__ = [
    "collection_text",
    "default_place",
    "holder_of",
    "mebibytes",
    "place_of",
    "release",
    "release_command",
]

SHOWN = 10  # results that a message lists


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
            say(collection_text(found, dry_run=False))


def release_command(place: str, holder: str) -> str:
    """Returns what to run where a sweep that is over holds results still."""
    return shlex.join(["sweeper", "gc", place, "--release", holder])


def collection_text(found: Collection, *, dry_run: bool) -> str:
    """Return how much of a store stays and goes, and which sweeps use it."""
    verb = "would be deleted" if dry_run else "deleted"
    lines = [
        f"{len(found.deleted)} stage results {verb} ({mebibytes(found.deleted_bytes)}), "
        f"{len(found.kept)} stay ({mebibytes(found.kept_bytes)})"
    ]
    held = sorted({holder for result in found.kept for holder in result.holders})
    if held:
        more = f" and {len(held) - SHOWN} more" if len(held) > SHOWN else ""
        lines.append(f"held by sweeps that are not over: {', '.join(held[:SHOWN])}{more}")
        lines.append("`sweeper gc --release NAME` gives up what one of them holds")
    return "\n".join(lines)


def mebibytes(count: int) -> str:
    """Return a number of bytes in MiB."""
    return format_bytes(count, "MiB")
