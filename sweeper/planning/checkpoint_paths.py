"""The paths of checkpoints, in the sweep's folder or in the store that its file names."""

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.errors import BackendUnreachable, UsageError
from sweeper.ledger.records import name_in
from sweeper.model import Trial
from sweeper.text import JsonObject
from trainables.errors import TrainableError
from trainables.storage import artifacts
from trainables.storage.files import TIMEOUT_S, ask, file_system
from trainables.storage.urls import ArtifactUrl

PATIENCE_S = 10.0
DIAGNOSTICS_FOLDER = "diagnostics"  # in a trial's folder: the output of `sweeper diagnose`
STAGE_RESULT = "stage-" + "[0-9a-f]" * 32  # a stage result in transfer between a node and a store
CHECKPOINT = re.compile(r"[A-Za-z][A-Za-z0-9_]*-[0-9]{4,}")  # a stage and an epoch
WRITTEN = re.compile(  # files of attempts, finished or not; no other files are deleted
    rf"attempt-[0-9]+/(\.?({CHECKPOINT.pattern}|{STAGE_RESULT})((\.[0-9a-f]+)?\.partial|\.former)?|\.fetched)"
)
LEFTOVER = re.compile(rf"\..*\.partial|\.fetched|{STAGE_RESULT}")  # from killed writers


@dataclass(frozen=True)
class CheckpointPaths:
    """The paths of the sweep in `folder`. A shared `store` has one folder for each sweep."""

    folder: Path
    store: str | None = None  # a URL in the form of `trainables.storage.urls`

    @classmethod
    def recorded(cls, folder: Path, resolved: JsonObject) -> "CheckpointPaths":
        """Return the paths of the sweep in `folder`, given the resolved form of its file."""
        return cls(folder, (resolved.get("checkpoints") or {}).get("store"))

    def of_trial(self, trial: Trial) -> str:
        """Return the place of the checkpoints of all attempts at a trial."""
        place = self.in_store(f"{_name(trial.study)}/{trial.number:04d}")
        return place or str(folder_of_trial(self.folder, trial))

    def of_study(self, study: str) -> str | None:
        """Return the place of a study's trials in the store, if there is one."""
        return self.in_store(_name(study))

    @property
    def label(self) -> str | None:
        """The place of this sweep in the store, for messages."""
        if self.store is None:
            return None
        return (ArtifactUrl.parse(self.store) / self.folder.name).label

    @property
    def _shared(self) -> Path | None:
        """The store, if it is a folder of this machine."""
        return None if self.store is None else ArtifactUrl.parse(self.store).folder

    def leave_store(self) -> None:
        """Remove this sweep's folder in the store if the store is a folder and nothing is left."""
        if self._shared is not None:
            with suppress(OSError):
                (self._shared / self.folder.name).rmdir()

    def scratch(self, trial: Trial) -> Path:
        """Return the folder of the current attempt on its node."""
        return folder_of_trial(self.folder, trial) / f"attempt-{trial.attempt}"

    def store_of_attempt(self, trial: Trial) -> str | None:
        """Return the place of the current attempt's checkpoints in the store, if there is one."""
        return self.in_store(f"{_name(trial.study)}/{trial.number:04d}/attempt-{trial.attempt}")

    def of_checkpoint(self, trial: Trial, checkpoint: str) -> str:
        """Return the place of a checkpoint, given its name or a place that ends with its name.

        A recorded place may be outdated, because the sweep may have moved.
        """
        name = name_in(checkpoint)
        if name.startswith("/") or "://" in name:  # an arbitrary path, not a name
            return checkpoint
        return str(ArtifactUrl.parse(self.of_trial(trial)) / name)

    def checkpoint(self, trial: Trial) -> str | None:
        """Return the place of the checkpoint in the ledger, if there is one."""
        return None if trial.checkpoint is None else self.of_checkpoint(trial, trial.checkpoint)

    def placed(self, trial: Trial) -> Trial:
        """Return the trial with the place of its checkpoint instead of the name."""
        return replace(trial, checkpoint=self.checkpoint(trial))

    def written(self, trial: Trial, *, timeout_s: float = TIMEOUT_S) -> dict[str, int]:
        """Return the bytes of all checkpoints of a trial, finished or not, by place.

        Raises:
            StorageError: The store does not answer.
        """
        found: dict[str, int] = {}
        place = ArtifactUrl.parse(self.of_trial(trial))
        for name, size in artifacts.sizes(str(place), timeout_s=timeout_s).items():
            # A checkpoint is the folder attempt-N/STAGE-EPOCH below the trial's place; a plain file
            # at this depth is none.
            folder = "/".join(name.split("/")[:2])
            if WRITTEN.fullmatch(folder) and folder != name:
                there = str(place / folder)
                found[there] = found.get(there, 0) + size
        return found

    def leftovers(self, trial: Trial | None = None) -> list[Path]:
        """Return unfinished files on local disks, of one trial or of all.

        These are files of killed writers, and files that running attempts are writing.
        """
        roots = [self.folder / "trials"]
        if self._shared is not None:
            roots.append(self._shared / self.folder.name)
        place = "*/*" if trial is None else f"{_name(trial.study)}/{trial.number:04d}"
        found = []
        for path in (p for root in roots for p in root.glob(f"{place}/attempt-*/*")):
            if LEFTOVER.fullmatch(path.name):
                found.append(path)
            # A store that is a folder has unfinished uploads inside of the checkpoint's folder.
            elif CHECKPOINT.fullmatch(path.name):
                found += path.glob(".*.partial")
        return found

    def checkpoints(self, trial: Trial, *, timeout_s: float = TIMEOUT_S) -> tuple[str, ...]:
        """Return the checkpoints of all attempts at a trial, newest first.

        Raises:
            StorageError: The store does not answer.
        """
        return tuple(artifacts.list_checkpoints(self.of_trial(trial), timeout_s=timeout_s))

    def folders(self) -> tuple[Path, ...]:
        """Return the folders on local disks into which the sweep writes."""
        return (self.folder,) if self._shared is None else (self.folder, self._shared)

    def storage(self) -> tuple[Any, str] | None:
        """Return the store as a file system of pyarrow and a path in it, if there is one.

        Raises:
            BackendUnreachable: The store does not answer, refuses access, or has no such bucket.
        """
        if self.store is None:
            return None
        place = ArtifactUrl.parse(self.store) / self.folder.name
        # A folder in a bucket comes into being with its first object; the bucket itself has to
        # exist.
        bucket = place.path.partition("/")[0]
        try:
            # The answer does not matter: the question fails if the store is away or refuses access.
            artifacts.exists(self.store, timeout_s=PATIENCE_S)
            is_there = place.folder is not None or ask(
                place,
                lambda files: files.get_file_info(bucket).type.name != "NotFound",
                PATIENCE_S,
            )
        except TrainableError as error:
            raise BackendUnreachable(f"checkpoints.store: {error}") from error
        if not is_there:
            raise BackendUnreachable(
                f"checkpoints.store: {place.label}: the store has no bucket `{bucket}`: create it, "
                "or name another."
            )
        return file_system(place), place.path

    def forget(self, name: str) -> None:
        """Delete the folder `name` of the sweep, here and in the store; ignore errors."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        if (place := self.in_store(name)) is not None:
            with suppress(OSError, TrainableError):
                artifacts.delete(place, timeout_s=PATIENCE_S)

    def in_store(self, name: str) -> str | None:
        """Return the place `name` in this sweep's part of the store."""
        if self.store is None:
            return None
        return str(ArtifactUrl.parse(self.store) / f"{self.folder.name}/{name}")


@contextmanager
def fetched(trial: Trial) -> Iterator[Path]:
    """Yield the folder of a trial's checkpoint, or of a temporary copy if that is in a store.

    Args:
        trial: A trial with the place of its checkpoint, as `CheckpointPaths.placed` returns it.

    Raises:
        UsageError: The trial has no checkpoint, it is not on this machine, or the store does not
            answer.
    """
    place = trial.checkpoint
    if place is None:
        why = f": {trial.reason}" if trial.reason else "."
        raise UsageError(f"{trial.name} is {trial.state} and has no checkpoint{why}")
    if "://" not in place:
        if not Path(place).is_dir():
            raise UsageError(f"{trial.name}: no checkpoint on this machine in {place}")
        yield Path(place)
        return
    with tempfile.TemporaryDirectory(prefix="sweeper-") as scratch:
        copy = Path(scratch) / "checkpoint"
        try:
            artifacts.fetch(place, copy)
        except TrainableError as error:
            raise UsageError(str(error)) from error
        yield copy


def folder_of_trial(sweep_folder: Path, trial: Trial) -> Path:
    """Return a trial's folder on this machine."""
    return sweep_folder / "trials" / _name(trial.study) / f"{trial.number:04d}"


def discard(paths: Iterable[Path]) -> None:
    """Delete files and folders; ignore errors."""
    for path in paths:
        # rmtree refuses a link, and the target of a link has to stay.
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _name(study: str) -> str:
    return study.replace("/", "-").replace("@", "-")


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder; 0 if the folder is not on this machine.

    A file counts once, however many names it has.
    """
    # Unchanged best weights are one file with a name in each of two checkpoints.
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum({(each.st_dev, each.st_ino): each.st_size for each in found}.values())
