"""Deletion of a sweep: its folder, its rows in the ledger, and its part of a store.

The sweep's lease is held meanwhile, so that no launch can run it. The folder is deleted last, under
another name: the same command completes a deletion that was interrupted.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from sweeper.commands.result import Message
from sweeper.driver.recorder import make_recorder
from sweeper.errors import BackendUnreachable, Interrupted, NotFound, UsageError
from sweeper.ledger import Ledger, SweepRecord
from sweeper.planning import resuming, stage_store
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.sweep_folder import MARKS, STORAGE, existing, folder_of, open_ledger
from sweeper.spec.sweep import Sweep
from sweeper.text import format_bytes, without_secrets
from sweeper.tracking.mlflow_recorder import MlflowRecorder
from trainables.errors import TrainableError
from trainables.storage import artifacts

T = TypeVar("T")
UNREAD = "the stage results that it uses stay marked as used, and its runs in MLflow stay"
STORE_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Everything that belongs to a sweep, with its size."""

    trials: int
    folder: Path
    bytes: int  # in the folder that its deletion frees
    linked_bytes: int  # in the folder, hard-linked from elsewhere, such as MLflow's artifacts
    ledger: str | None  # URL of a ledger outside the folder
    store: str | None  # the sweep's part of the checkpoint store
    store_bytes: int
    mlflow: str  # its URL
    runs: int  # in MLflow
    takes_runs: bool  # the runs are to be deleted, too

    def lines(self) -> list[str]:
        """Return one line for each thing that is deleted, then for each that stays."""
        gone = [f"{self.folder}: {format_bytes(self.bytes)}, {self.trials} trials"]
        if self.ledger is not None:
            gone.append(f"its rows in the ledger at {self.ledger}")
        if self.store is not None:
            gone.append(f"{self.store}: {format_bytes(self.store_bytes)}")
        stays = ["data, weights and caches; results of stages that it shared, until `sweeper gc`"]
        if self.linked_bytes:
            size = format_bytes(self.linked_bytes)
            stays.append(f"{size} of checkpoints that are linked from elsewhere, such as MLflow")
        where = f"{self.runs} runs in MLflow at {self.mlflow}"
        if self.runs and self.takes_runs:
            gone.append(f"{where}, with the checkpoints that they keep")
            stays.append("the other artifacts of these runs, until `mlflow gc`")
        elif self.runs:
            stays.append(f"{where} (--runs deletes them, too)")
        return [*(f"to be deleted: {line}" for line in gone), *(f"stays: {line}" for line in stays)]


@dataclass(frozen=True, kw_only=True)
class Deleted(Message):
    """The end of a deletion that had been interrupted."""

    sweep: str
    deleted: bool = True


@dataclass(frozen=True, kw_only=True)
class DeletedSweep(Deleted):
    """A deletion from its beginning to its end."""

    trials: int
    folder: Path
    freed_bytes: int
    linked_bytes: int
    store: str | None
    store_bytes: int
    ledger: str | None
    runs: int
    runs_deleted: bool


def delete(
    name: str, *, runs: bool, confirm: Callable[[Sequence[str]], bool], say: Callable[[str], None]
) -> Deleted:
    """Delete a sweep that is not running, and return what was deleted.

    Args:
        name: Name of the sweep.
        runs: Delete its runs in MLflow, too.
        confirm: Called with lines about what is to be deleted and what stays; False keeps all.
        say: Called with each line of warning.

    Raises:
        NotFound: There is no such sweep.
        SweepIsHeld: It is running.
        BackendUnreachable: Its store, its ledger or MLflow does not answer; the folder is kept.
        Interrupted: `confirm` returned False.
    """
    aside = folder_of(name).with_name(f".{name}.deleted")
    if aside.is_dir():  # an interrupted deletion left it
        shutil.rmtree(aside)
        if not folder_of(name).exists():
            return Deleted(message=f"deleted the rest of `{name}`", sweep=name)
    folder = existing(name)
    _check_folder(folder)
    with closing(open_ledger(folder)) as ledger, ledger.hold():
        record = ledger.sweep()
        sweep = _settings(record)
        places = CheckpointPaths.recorded(folder, {} if record is None else record.resolved)
        recorder = None if sweep is None else make_recorder(ledger, sweep, places)
        extent = _measure(folder, ledger, record, recorder, places, takes_runs=runs)
        if record is not None and sweep is None:
            _say_unread(name, say, runs=runs)
        if not confirm(extent.lines()):
            raise Interrupted(f"`{name}` was not deleted.")
        # What is elsewhere goes first. The folder, by which a second call finds it, goes last.
        if recorder is not None and runs:
            recorder.delete_runs()
        _delete_store(ledger, places)
        if sweep is not None:
            stage_store.release(sweep, stage_store.pin_of(ledger), say)
        if extent.ledger is not None:
            ledger.forget()
        # No launch finds the folder under its new name, so the lease may end before the deletion.
        folder.rename(aside)
    shutil.rmtree(aside)
    return DeletedSweep.of(
        extent,
        message=f"deleted `{name}`: {format_bytes(extent.bytes + extent.store_bytes)} freed",
        sweep=name,
        freed_bytes=extent.bytes,
        runs_deleted=runs and extent.runs > 0,
    )


def _say_unread(name: str, say: Callable[[str], None], *, runs: bool) -> None:
    say(f"this version cannot read its settings: {UNREAD}")
    if runs:
        raise UsageError(f"--runs: the settings of `{name}` do not say where its runs are.")


def _settings(record: SweepRecord | None) -> Sweep | None:
    """Return a sweep's settings; None if it never began, or if another version wrote them."""
    try:
        return None if record is None else resuming.from_record(record)
    except UsageError:
        return None


def _check_folder(folder: Path) -> None:
    """Check that a folder is a sweep's own, and so may be deleted.

    Raises:
        NotFound: The folder holds no sweep.
        UsageError: The folder is a symbolic link.
    """
    if folder.is_symlink():
        raise UsageError(
            f"{folder} is a link to {folder.resolve()}, which is not deleted. Move that folder "
            "here, or remove both by hand."
        )
    if not any((folder / mark).is_file() for mark in MARKS):
        raise NotFound(f"{folder} holds no sweep; remove it by hand.")


def _measure(
    folder: Path,
    ledger: Ledger,
    record: SweepRecord | None,
    recorder: MlflowRecorder | None,
    places: CheckpointPaths,
    *,
    takes_runs: bool,
) -> Extent:
    free, linked = _sizes(folder)
    return Extent(
        trials=0 if record is None else len(ledger.trials()),
        folder=folder,
        bytes=free,
        linked_bytes=linked,
        ledger=without_secrets(ledger.url) if (folder / STORAGE).is_file() else None,
        store=places.label,
        store_bytes=sum(
            sum(_ask(partial(artifacts.sizes, place, timeout_s=STORE_TIMEOUT_S)).values())
            for place in _in_store(ledger, places)
        ),
        mlflow="" if recorder is None else recorder.uri,
        runs=0 if recorder is None else len(recorder.runs()),
        takes_runs=takes_runs,
    )


def _sizes(folder: Path) -> tuple[int, int]:
    """Return the bytes that deleting `folder` frees, and those that links from elsewhere keep."""
    inside: dict[tuple[int, int], tuple[os.stat_result, int]] = {}
    for root, _, files in os.walk(folder):
        for file in files:
            found = os.lstat(os.path.join(root, file))
            key = found.st_dev, found.st_ino
            inside[key] = found, inside.get(key, (found, 0))[1] + 1
    # A file is freed only if all of its names are in the folder.
    sizes = [(found.st_size, found.st_nlink <= count) for found, count in inside.values()]
    return sum(s for s, is_all in sizes if is_all), sum(s for s, is_all in sizes if not is_all)


def _in_store(ledger: Ledger, places: CheckpointPaths) -> list[str]:
    """Return the places in the store that hold this sweep's studies and the state of Ray Tune."""
    names = [places.of_study(study.name) for study in ledger.studies()]
    return [place for place in (*names, places.in_store("ray")) if place is not None]


def _delete_store(ledger: Ledger, places: CheckpointPaths) -> None:
    """Delete what the sweep's studies keep in the store, and nothing else."""
    for place in _in_store(ledger, places):
        _ask(partial(artifacts.delete, place, timeout_s=STORE_TIMEOUT_S))
    places.leave_store()


def _ask(question: Callable[[], T]) -> T:
    try:
        return question()
    except TrainableError as error:
        raise BackendUnreachable(f"checkpoints.store: {error}") from error
