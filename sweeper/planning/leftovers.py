"""Unfinished checkpoints in ./sweeps: what a writer that was killed left, and nobody will read."""

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import SweeperError
from sweeper.ledger.database import LEDGER
from sweeper.planning.checkpoint_paths import CheckpointPaths, discard, size_of
from sweeper.planning.sweep_folder import STORAGE, all_folders, elsewhere, open_ledger


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """Unfinished checkpoints, and the bytes that they take."""

    paths: Sequence[Path]
    bytes: int


def delete_leftovers(*, dry_run: bool) -> Leftovers:
    """Delete what killed writers left in the folders of sweeps that nobody drives, and in stores
    that are folders here; return what it was.

    A sweep that runs, or whose ledger cannot be read, is left alone.
    """
    paths: list[Path] = []
    size = 0
    for folder in all_folders():
        if elsewhere(folder) or not any((folder / name).is_file() for name in (LEDGER, STORAGE)):
            continue
        with suppress(SweeperError, OSError):
            for path, count in _of_sweep(folder, dry_run=dry_run).items():
                paths.append(path)
                size += count
    return Leftovers(paths=paths, bytes=size)


def _of_sweep(folder: Path, *, dry_run: bool) -> dict[Path, int]:
    """Return what was left in a sweep, with its size.

    Raises:
        SweeperError: The sweep is driven, or its ledger cannot be read.
    """
    with closing(open_ledger(folder)) as ledger:
        record = ledger.sweep()
        if record is None or ledger.holder() is not None:
            return {}
        paths = CheckpointPaths.recorded(folder, record.resolved)
        found = {path: _size(path) for path in paths.leftovers()}
        if found and not dry_run:
            with ledger.hold():  # so that no launch begins to write meanwhile
                discard(found)
        return found


def _size(path: Path) -> int:
    return size_of(path) if path.is_dir() else path.stat().st_size
