"""Garbage collection: stage results that trials share, unfinished checkpoints, plugins' copies."""

import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sweeper.commands.result import Message
from sweeper.errors import (
    BackendUnreachable,
    NotFound,
    SweeperError,
    SweepIsHeld,
    UsageError,
    unknown,
)
from sweeper.planning.catalog import home
from sweeper.planning.plugin_path import delete_copies
from sweeper.planning.plugins import copies_of
from sweeper.planning.stage_store import (
    collection_text,
    default_place,
    delete_leftovers,
    pin_of,
)
from sweeper.planning.sweep_folder import (
    all_folders,
    folder_of,
    has_ledger,
    is_name,
    open_ledger,
    remote_of,
)
from sweeper.spec.schema import num_bytes
from sweeper.text import format_bytes
from trainables.errors import ConfigError, StorageError
from trainables.storage import stage_gc
from trainables.storage.stage_gc import Collection, StoredResult, collect

DEFAULT_SIZE = "20GiB"


@dataclass(frozen=True, kw_only=True)
class Collected(Message):
    """The results that stay in a store, and those that were deleted."""

    place: str
    max_bytes: int | None  # None: no limit
    dry_run: bool
    released: tuple[str, ...]
    kept: tuple[StoredResult, ...]
    kept_bytes: int
    deleted: tuple[StoredResult, ...]
    deleted_bytes: int
    leftovers: tuple[Path, ...]
    leftover_bytes: int
    plugins: tuple[Path, ...]  # deleted copies of `--plugin PATH`
    plugin_bytes: int


def collect_garbage(
    place: str | None,
    max_bytes: str | None,
    *,
    force: bool,
    dry_run: bool,
    released: Sequence[str] = (),
) -> Collected:
    """Delete stage results, the least recently used first, until a store is below `max_bytes`.

    Unfinished checkpoints that killed trials left in ./sweeps are deleted, too, and the copies of
    plugins that neither a running process uses nor a sweep of ./sweeps ran with.

    Args:
        place: The folder or URL of the store; None: that of this machine.
        max_bytes: Such as 20GiB; None: 20GiB, or without a limit if something is `released`.
        force: Delete results that unfinished sweeps use, too.
        dry_run: Delete nothing, and return what would be deleted.
        released: Names of sweeps, as holders of results, that will not be resumed.

    Raises:
        UsageError: `place` cannot be a store, or `max_bytes` is not a size.
        NotFound: One of `released` holds nothing.
        SweepIsHeld: One of them is running.
        BackendUnreachable: The store does not answer.
    """
    where = place or default_place()
    released = tuple(dict.fromkeys(released))
    size = _limit(max_bytes or (None if released else DEFAULT_SIZE))
    found = _collect(where, size, released, force=force, dry_run=dry_run)
    left = delete_leftovers(dry_run=dry_run)
    copies = delete_copies(home(), _recorded_copies(), dry_run=dry_run)
    verb = "would be " if dry_run else ""
    others = (
        ("unfinished checkpoints in ./sweeps", left, sum(left.values())),
        ("unused copies of plugins", copies, sum(copies.values())),
    )
    lines = [
        *(f"what {holder} holds {verb}released" for holder in released),
        collection_text(found, dry_run=dry_run),
        *(f"{len(paths)} {what} {verb}deleted ({format_bytes(freed, 'MiB')})"
          for what, paths, freed in others if paths),
    ]  # fmt: skip
    return Collected.of(
        found,
        place=where,
        max_bytes=size,
        dry_run=dry_run,
        released=released,
        leftovers=tuple(left),
        leftover_bytes=sum(left.values()),
        plugins=tuple(copies),
        plugin_bytes=sum(copies.values()),
        message="\n".join(lines),
    )


def _collect(
    where: str, size: int | None, released: Sequence[str], *, force: bool, dry_run: bool
) -> Collection:
    """Check the released holders, and delete results of a store; errors are those of a command."""
    try:
        known = stage_gc.holders(where) if released else []
        for holder in released:
            _check_holder(holder, known, where)
        limit = sys.maxsize if size is None else size
        return collect(where, limit, force=force, dry_run=dry_run, released=released)
    except ConfigError as error:
        raise UsageError(str(error)) from error
    except StorageError as error:
        raise BackendUnreachable(str(error)) from error


def _limit(size: str | None) -> int | None:
    # 0 is no size of a sweep file, but here it empties the store.
    if size is None or size.strip("0") in ("", "B"):
        return None if size is None else 0
    try:
        return num_bytes(size)
    except ValueError as error:
        raise UsageError(f"--max-bytes {size}: {error}") from error


def _check_holder(holder: str, known: Sequence[str], place: str) -> None:
    """Check that a holder holds something, and is not a running sweep of ./sweeps.

    Raises:
        NotFound, SweepIsHeld: As for `collect_garbage`.
    """
    if holder not in known:
        others = unknown("holder", holder, known)
        raise NotFound(others if known else f"unknown holder `{holder}`: {place} has none.")
    # A holder is NAME-FINGERPRINT, where the name may have hyphens, too.
    name = holder.rpartition("-")[0]
    if not (is_name(name) and (folder := folder_of(name)).is_dir()) or remote_of(folder):
        return  # it was deleted, or lives elsewhere
    with closing(open_ledger(folder)) as ledger:
        # Another sweep may have taken the name since.
        is_it = ledger.sweep() is not None and pin_of(ledger) == holder
        if is_it and (driver := ledger.holder()) is not None:
            raise SweepIsHeld(
                f"sweep `{name}` is running ({driver}), and uses what it holds; end it first: "
                f"sweeper cancel {name}"
            )


def _recorded_copies() -> set[str]:
    """Return the names of the copies of plugins that the sweeps of ./sweeps ran with."""
    found: set[str] = set()
    for folder in filter(has_ledger, all_folders()):
        with suppress(SweeperError, OSError), closing(open_ledger(folder)) as ledger:
            record = ledger.sweep()
            found |= set() if record is None else copies_of(record)
    return found
