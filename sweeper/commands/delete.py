"""Deletion of a sweep: its folder, its rows in the ledger, and its part of a store.

The sweep's lease is held meanwhile, so that nobody runs it. What is elsewhere goes first and the
folder last, under another name: a deletion that was interrupted is taken up by the same command.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sweeper.config.sweep import Sweep
from sweeper.driver.recorder import make_recorder
from sweeper.errors import BackendUnreachable, Interrupted, NotFound, UsageError
from sweeper.ledger import Ledger, SweepRecord
from sweeper.planning import load, stage_store
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.sweep_folder import MARKS, STORAGE, existing, folder_of, open_ledger
from sweeper.text import number_of_bytes, without_secrets
from sweeper.tracking.mlflow_recorder import MlflowRecorder
from trainables.errors import TrainableError
from trainables.storage import artifacts

T = TypeVar("T")
UNREAD = "results of stages that it holds stay held, and its runs in MLflow stay"
PATIENCE_S = 60.0  # with a store


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The extent of a sweep, and its places."""

    name: str
    trials: int
    folder: Path
    bytes: int  # of the folder that are free once it is gone
    linked_bytes: int  # that other folders hold too, MLflow's artifacts say
    ledger: str | None  # the URL of a ledger that is not in the folder
    store: str | None  # the sweep's part of it
    store_bytes: int
    mlflow: str  # its address
    runs: int  # there
    takes_runs: bool  # these are to be deleted, too

    def lines(self) -> list[str]:
        """Return what is deleted, then what stays, a line each."""
        gone = [f"{self.folder}: {number_of_bytes(self.bytes)}, {self.trials} trials"]
        if self.ledger is not None:
            gone.append(f"its rows in the ledger at {self.ledger}")
        if self.store is not None:
            gone.append(f"{self.store}: {number_of_bytes(self.store_bytes)}")
        stays = ["data, weights and caches; results of stages that it shared, until `sweeper gc`"]
        if self.linked_bytes:
            size = number_of_bytes(self.linked_bytes)
            stays.append(f"{size} of checkpoints that are linked from elsewhere, such as MLflow")
        where = f"{self.runs} runs in MLflow at {self.mlflow}"
        if self.runs and self.takes_runs:
            gone.append(f"{where}, with the checkpoints that they keep")
            stays.append("the other artifacts of these runs, until `mlflow gc`")
        elif self.runs:
            stays.append(f"{where} (--runs deletes them, too)")
        return [*(f"to be deleted: {line}" for line in gone), *(f"stays: {line}" for line in stays)]


def delete(
    name: str, *, runs: bool, confirm: Callable[[Sequence[str]], bool], say: Callable[[str], None]
) -> dict[str, Any]:
    """Delete a sweep that nobody runs, and return what was deleted and what stayed.

    Args:
        runs: Delete its runs in MLflow, too.
        confirm: Is shown what is to be deleted and what stays; False leaves all of it.

    Raises:
        NotFound: There is no such sweep.
        SweepIsHeld: It is running.
        BackendUnreachable: Its store, its ledger or MLflow does not answer; nothing of the folder
            is deleted.
        Interrupted: The user does not want it.
    """
    aside = folder_of(name).with_name(f".{name}.deleted")
    if aside.is_dir():  # an earlier deletion did not come to its end
        shutil.rmtree(aside)
        if not folder_of(name).exists():
            return {"message": f"deleted the rest of `{name}`", "sweep": name, "deleted": True}
    folder = existing(name)
    _check_folder(folder)
    with closing(open_ledger(folder)) as ledger, ledger.hold():
        record = ledger.sweep()
        sweep = _settings(record)
        places = CheckpointPaths(folder, _store_of(record))
        recorder = None if sweep is None else make_recorder(ledger, sweep, places)
        extent = _measure(folder, ledger, record, recorder, places, takes_runs=runs)
        if record is not None and sweep is None:
            say(f"its settings are none that this version reads: {UNREAD}")
            if runs:
                raise UsageError(f"--runs: where `{name}` is recorded cannot be read.")
        if not confirm(extent.lines()):
            raise Interrupted(f"`{name}` was not deleted.")
        if recorder is not None and runs:
            recorder.delete_runs()
        _delete_store(ledger, places)
        if sweep is not None:
            stage_store.release(sweep, stage_store.holder_of(ledger), say)
        if extent.ledger is not None:
            ledger.forget()
        folder.rename(aside)
    shutil.rmtree(aside)
    return {
        "message": f"deleted `{name}`: {number_of_bytes(extent.bytes + extent.store_bytes)} freed",
        "sweep": name,
        "deleted": True,
        "trials": extent.trials,
        "folder": str(folder),
        "freed_bytes": extent.bytes,
        "linked_bytes": extent.linked_bytes,
        "store": extent.store,
        "store_bytes": extent.store_bytes,
        "ledger": extent.ledger,
        "runs": extent.runs,
        "runs_deleted": runs and extent.runs > 0,
    }


def _settings(record: SweepRecord | None) -> Sweep | None:
    """Return a sweep's settings; None where it never began, or another version wrote them."""
    try:
        return None if record is None else load.from_record(record)
    except UsageError:
        return None


def _store_of(record: SweepRecord | None) -> str | None:
    """Return where its checkpoints are, of whatever version the settings are."""
    kept = {} if record is None else record.resolved.get("checkpoints") or {}
    store = kept.get("store")
    return store if isinstance(store, str) else None


def _check_folder(folder: Path) -> None:
    """Check that a folder is a sweep's own: what is not sweeper's is not its to delete.

    Raises:
        NotFound: It holds no sweep.
        UsageError: It is a link.
    """
    if folder.is_symlink():
        raise UsageError(
            f"{folder} is a link to {folder.resolve()}: what it leads to is not deleted. Move the "
            "folder to its place, or remove both by hand."
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
        name=folder.name,
        trials=0 if record is None else len(ledger.trials()),
        folder=folder,
        bytes=free,
        linked_bytes=linked,
        ledger=without_secrets(ledger.url) if (folder / STORAGE).is_file() else None,
        store=places.label,
        store_bytes=sum(
            _ask(partial(artifacts.size_bytes, place, timeout_s=PATIENCE_S))
            for place in _in_store(ledger, places)
        ),
        mlflow="" if recorder is None else recorder.uri,
        runs=0 if recorder is None else len(recorder.runs()),
        takes_runs=takes_runs,
    )


def _sizes(folder: Path) -> tuple[int, int]:
    """Return the bytes that are free once `folder` is gone, and those that other links hold."""
    inside: dict[tuple[int, int], tuple[os.stat_result, int]] = {}
    for root, _, files in os.walk(folder):
        for file in files:
            found = os.lstat(os.path.join(root, file))
            key = found.st_dev, found.st_ino
            inside[key] = found, inside.get(key, (found, 0))[1] + 1
    sizes = [(found.st_size, found.st_nlink <= count) for found, count in inside.values()]
    return sum(s for s, is_all in sizes if is_all), sum(s for s, is_all in sizes if not is_all)


def _in_store(ledger: Ledger, places: CheckpointPaths) -> list[str]:
    """Return the places in the store that are of this sweep's studies, and of Tune."""
    names = [places.of_study(study.name) for study in ledger.studies()]
    return [place for place in (*names, places.in_store("ray")) if place is not None]


def _delete_store(ledger: Ledger, places: CheckpointPaths) -> None:
    """Delete what the sweep's studies keep in its store; what others put beside it stays."""
    for place in _in_store(ledger, places):
        _ask(partial(artifacts.delete, place, timeout_s=PATIENCE_S))
    places.leave_store()


def _ask(question: Callable[[], T]) -> T:
    try:
        return question()
    except TrainableError as error:
        raise BackendUnreachable(f"checkpoints.store: {error}") from error
