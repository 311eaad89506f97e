"""Where a sweep keeps its trials' checkpoints: in its own folder, or in the store of its file."""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.errors import BackendUnreachable
from sweeper.study import Trial
from trainables import artifacts
from trainables.artifact_url import ArtifactUrl
from trainables.errors import TrainableError

PATIENCE_S = 10.0
DIAGNOSTICS_FOLDER = "diagnostics"  # in a trial's, for what `sweeper diagnose` writes


@dataclass(frozen=True)
class Places:
    """The places of the sweep in `folder`, which has its own part of a shared `store`."""

    folder: Path
    store: str | None = None  # a URL, as `trainables.artifact_url` has them

    def of_trial(self, trial: Trial) -> str:
        """Returns where all attempts at a trial keep what lasts."""
        place = self.in_store(f"{_name(trial.study)}/{trial.number:04d}")
        return place or str(folder_of_trial(self.folder, trial))

    def scratch(self, trial: Trial) -> Path:
        """Returns where the present attempt writes, on the node that it is on."""
        return folder_of_trial(self.folder, trial) / f"attempt-{trial.attempt}"

    def store_of_attempt(self, trial: Trial) -> str | None:
        """Returns where the present attempt's checkpoints are to be published, if anywhere."""
        name = f"{_name(trial.study)}/{trial.number:04d}/attempt-{trial.attempt}"
        return self.in_store(name)

    def checkpoints(
        self, trial: Trial, *, timeout_s: float = artifacts.TIMEOUT_S
    ) -> tuple[str, ...]:
        """Returns the checkpoints of all attempts at a trial, newest first.

        Raises:
            StorageError: The store does not answer.
        """
        return tuple(artifacts.list_checkpoints(self.of_trial(trial), timeout_s=timeout_s))

    def folders(self) -> tuple[Path, ...]:
        """Returns the folders on disks of ours into which the sweep writes."""
        shared = None if self.store is None else ArtifactUrl.parse(self.store).folder
        return (self.folder,) if shared is None else (self.folder, shared)

    def storage(self) -> tuple[Any, str] | None:
        """Returns the store as a file system of pyarrow's and a path in it, if there is one.

        Raises:
            BackendUnreachable: It does not answer, or refuses.
        """
        if self.store is None:
            return None
        try:
            artifacts.exists(self.store, timeout_s=PATIENCE_S)
        except TrainableError as error:
            raise BackendUnreachable(f"checkpoints.store: {error}") from error
        place = ArtifactUrl.parse(self.store) / self.folder.name
        return artifacts.file_system(place), place.path

    def forget(self, name: str) -> None:
        """Deletes what is of no use once the sweep has ended, as far as that can be."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        if (place := self.in_store(name)) is not None:
            with suppress(OSError, TrainableError):
                artifacts.delete(place, timeout_s=PATIENCE_S)

    def in_store(self, name: str) -> str | None:
        """Returns the place `name` in this sweep's part of the store."""
        if self.store is None:
            return None
        return str(ArtifactUrl.parse(self.store) / f"{self.folder.name}/{name}")


def folder_of_trial(sweep_folder: Path, trial: Trial) -> Path:
    """Returns a trial's folder on this machine."""
    return sweep_folder / "trials" / _name(trial.study) / f"{trial.number:04d}"


def _name(study: str) -> str:
    return study.replace("/", "-").replace("@", "-")
