"""The checkpoints of one attempt at a trial: the two newest, and those that it may go on from.

They are written into a folder of the attempt. Where it is given a place in a store as well
(`artifacts`), the folder is scratch, and a checkpoint counts once it is in the store.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from trainables.errors import StorageError
from trainables.runtime.training import Training
from trainables.storage import artifacts
from trainables.storage.checkpoint_folder import CorruptCheckpoint
from trainables.storage.urls import ArtifactUrl

__all__ = ["AttemptCheckpoints"]

KEPT = 2  # the newest, and the one before as a fallback
PATIENCE_S = 10.0  # with a store from which an old checkpoint is to go


class AttemptCheckpoints:
    """Saves to `folder`, and to `store` if there is one, which may take `timeout_s` to answer.

    Raises:
        ConfigError: `store` is no URL of a store.
    """

    def __init__(
        self, folder: Path, store: str | None = None, timeout_s: float = artifacts.TIMEOUT_S
    ) -> None:
        self._folder, self._timeout_s = folder, timeout_s
        self._store = None if store is None else ArtifactUrl.parse(store)
        self._published: list[ArtifactUrl] = []

    def save(self, training: Training, name: str) -> str:
        """Writes a checkpoint, drops those before the last two, and returns where it is.

        Raises:
            StorageError: It cannot be written, or the store refuses or does not answer in time.
        """
        folder = self._folder / name
        training.save(folder)
        place = str(folder) if self._store is None else self._publish(folder, self._store / name)
        written = sorted(self._folder.glob("*-[0-9]*"), key=lambda path: path.stat().st_mtime_ns)
        for old in [path for path in written if path != folder][: 1 - KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        return place

    def load(self, training: Training, places: Sequence[str]) -> list[str]:
        """Brings a trial to the first checkpoint of `places` that is whole, if any.

        Returns what is to be said of those that are not.

        Raises:
            StorageError: The store of one refuses or does not answer in time.
        """
        notes: list[str] = []
        for place in map(ArtifactUrl.parse, places):
            try:
                self._load(training, place)
            except CorruptCheckpoint as error:
                notes.append(f"checkpoint {place.name} is damaged ({error})")
                continue
            if notes:
                notes[-1] += f"; went on from {place.name}"
            return notes
        if notes:
            notes[-1] += "; began afresh"
        return notes

    def _load(self, training: Training, place: ArtifactUrl) -> None:
        if place.folder is not None:
            training.load(place.folder)
            return
        fetched = self._folder / ".fetched" / place.name
        try:
            artifacts.fetch(str(place), fetched, timeout_s=self._timeout_s)
            training.load(fetched)
        finally:
            shutil.rmtree(fetched.parent, ignore_errors=True)

    def _publish(self, folder: Path, place: ArtifactUrl) -> str:
        artifacts.publish(folder, str(place), timeout_s=self._timeout_s)
        self._published.append(place)
        while len(self._published) > KEPT:
            try:
                artifacts.delete(str(self._published[0]), timeout_s=PATIENCE_S)
            except StorageError as error:  # tried again after the next epoch
                print(f"an old checkpoint stays until the next epoch: {error}", flush=True)
                break
            del self._published[0]
        return str(place)
