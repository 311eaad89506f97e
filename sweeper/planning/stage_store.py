"""The store of stage results that trials share, and the unfinished files of killed writers.

A sweep pins the results that it uses under a unique name, and releases them when it is over.
"""

import shlex
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from sweeper.errors import SweeperError
from sweeper.ledger import Ledger
from sweeper.planning.catalog import home
from sweeper.planning.checkpoint_paths import CheckpointPaths, discard, size_of
from sweeper.planning.sweep_folder import all_folders, has_ledger, open_ledger
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep
from sweeper.text import format_bytes
from trainables.errors import StorageError
from trainables.storage import stage_gc
from trainables.storage.stage_gc import Collection, collect

MAX_SHOWN = 10  # results that a message lists


def default_place() -> str:
    """Return the default place of stage results."""
    return str(home() / "cache" / "stages")


def pin_of(ledger: Ledger) -> str:
    """Return the unique name under which a sweep pins stage results."""
    record = ledger.sweep()
    assert record is not None
    # Sweeps of one name in other folders may share a store.
    return f"{record.name}-{record.fingerprint[:12]}"


def place_of(sweep: Sweep, study: StudySpec) -> str | None:
    """Return the place of stage results that a study's trials share; None if they share none."""
    store = sweep.stage_store_of(study)
    return store.place or default_place() if store is not None and store.use else None


def release(sweep: Sweep, holder: str, say: Callable[[str], None]) -> None:
    """Release the stage results of a finished sweep, and keep the stores below their size."""
    # Studies share stores, and each store is released once.
    stores = {place_of(sweep, study): sweep.stage_store_of(study) for study in sweep.studies}
    for place, store in stores.items():
        if place is None or store is None:
            continue
        # The sweep has succeeded. A store that is away must not turn it into a failure.
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
    """Return the command that releases the results of a finished sweep."""
    return shlex.join(["sweeper", "gc", place, "--release", holder])


def collection_text(found: Collection, *, dry_run: bool) -> str:
    """Return a text on the kept and deleted results of a store, and on the sweeps that use it."""
    verb = "would be deleted" if dry_run else "deleted"
    lines = [
        f"{len(found.deleted)} stage results {verb} ({format_bytes(found.deleted_bytes, 'MiB')}), "
        f"{len(found.kept)} stay ({format_bytes(found.kept_bytes, 'MiB')})"
    ]
    held = sorted({holder for result in found.kept for holder in result.holders})
    if held:
        more = f" and {len(held) - MAX_SHOWN} more" if len(held) > MAX_SHOWN else ""
        lines.append(f"held by sweeps that are not over: {', '.join(held[:MAX_SHOWN])}{more}")
        lines.append("`sweeper gc --release NAME` gives up what one of them holds")
    return "\n".join(lines)


def delete_leftovers(*, dry_run: bool) -> dict[Path, int]:
    """Delete unfinished files of killed writers, of all sweeps; return them with their bytes.

    Running sweeps and sweeps with an unreadable ledger are skipped, and so are remote stores.
    """
    found: dict[Path, int] = {}
    for folder in filter(has_ledger, all_folders()):
        with suppress(SweeperError, OSError):
            found |= _of_sweep(folder, dry_run=dry_run)
    return found


def _of_sweep(folder: Path, *, dry_run: bool) -> dict[Path, int]:
    """Return the unfinished files of a sweep with their sizes; none if the sweep is running.

    Raises:
        SweeperError: Another launch holds the sweep, or its ledger cannot be read.
    """
    with closing(open_ledger(folder)) as ledger:
        record = ledger.sweep()
        if record is None or ledger.holder() is not None:
            return {}
        paths = CheckpointPaths.recorded(folder, record.resolved)
        found = {
            path: size_of(path) if path.is_dir() else path.stat().st_size
            for path in paths.leftovers()
        }
        if found and not dry_run:
            with ledger.hold():  # so that no launch starts to write meanwhile
                discard(found)
        return found
