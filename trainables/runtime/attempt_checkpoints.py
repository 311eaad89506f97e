"""The newest checkpoints of one attempt, written by a thread, in a folder or in a store.

If an attempt has a store (`artifacts`), its folder is scratch.
Importing this module loads no torch: a program of a user may need none.
"""

import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from trainables.errors import StorageError
from trainables.runtime.attempt_log import append
from trainables.storage import artifacts
from trainables.storage.checkpoint_folder import CorruptCheckpoint
from trainables.storage.files import TIMEOUT_S
from trainables.storage.urls import ArtifactUrl

KEPT = 2  # the newest checkpoint, and the previous one as a fallback
PATIENCE_S = 10.0  # seconds for the deletion of an old checkpoint from a store


class AttemptCheckpoints:
    """The newest checkpoints of one attempt, in `folder` or in `store`.

    A thread writes them, one at a time. The two newest complete ones stay, and until the next write
    begins, the one before them: the service may not yet know a newer one.

    Args:
        folder: Folder of the attempt; scratch if there is a store.
        store: URL of the attempt's folder in a store.
        timeout_s: Seconds for each response of the store.

    Raises:
        ConfigError: `store` is no URL of a store.
    """

    def __init__(
        self, folder: Path, store: str | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self.folder, self._timeout_s = folder, timeout_s
        self._store = None if store is None else ArtifactUrl.parse(store)
        self._written: list[Path] = []
        self._published: list[ArtifactUrl] = []
        self._writing: Future[str] | None = None
        self._complete: str | None = None  # the newest place, until `newest` returns it

    def write(self, name: str, make: Callable[[Path], None]) -> None:
        """Begin to write a checkpoint, whose folder `make` creates in a thread.

        Raises:
            StorageError: The previous checkpoint could not be written.
        """
        self.finish()
        writing = self._writing = Future()

        def work() -> None:
            try:
                writing.set_result(self._write(self.folder / name, make))
            # Whatever ends the thread has to reach the future: `finish` would wait for ever.
            except BaseException as error:
                writing.set_exception(error)

        # A daemon thread, since a store that does not respond must not keep the process from its
        # end.
        threading.Thread(target=work, name="checkpoint", daemon=True).start()

    def newest(self) -> str | None:
        """Return the newest checkpoint, or None if an earlier call has returned it.

        Wait for the checkpoint that is being written.

        Returns:
            Its folder or URL.

        Raises:
            StorageError: A file cannot be written, or the store refuses or does not respond in
                time.
        """
        self.finish()
        place, self._complete = self._complete, None
        return place

    def finish(self) -> None:
        """Wait for the checkpoint that is being written.

        Raises:
            StorageError: It could not be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            self._complete = writing.result()

    def close(self) -> None:
        """Wait for the checkpoint that is being written; ignore its failure."""
        with suppress(Exception):
            self.finish()

    def _write(self, folder: Path, make: Callable[[Path], None]) -> str:
        # Old ones go first, so that no more than three take space at any time.
        self._delete_old()
        make(folder)
        self._written.append(folder)
        if self._store is None:
            return str(folder)
        place = self._store / folder.name
        artifacts.publish(folder, str(place), timeout_s=self._timeout_s)
        self._published.append(place)
        return str(place)

    def _delete_old(self) -> None:
        """Delete all but the two newest checkpoints.

        The result of an earlier step has named the second newest, and the service has recorded it:
        the deletion waits for that.
        """
        for old in self._written[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        del self._written[:-KEPT]
        while len(self._published) > KEPT:
            try:
                artifacts.delete(str(self._published[0]), timeout_s=PATIENCE_S)
            except StorageError as error:  # repeated with the next checkpoint
                append(self.folder, f"an old checkpoint stays until the next one: {error}")
                break
            del self._published[0]

    def load(self, read: Callable[[Path], None], places: Sequence[str]) -> list[str]:
        """Restore the first complete checkpoint of `places`, if any.

        Args:
            read: Restores the state from the folder of a checkpoint.
            places: Folders or URLs of checkpoints, newest first.

        Returns:
            Notes on the damaged checkpoints.

        Raises:
            StorageError: A store refuses a request or does not respond in time.
        """
        notes: list[str] = []
        for place in map(ArtifactUrl.parse, places):
            try:
                self._load(read, place)
            except CorruptCheckpoint as error:
                notes.append(f"checkpoint {place.name} is damaged ({error})")
                continue
            if notes:
                notes[-1] += f"; went on from {place.name}"
            return notes
        if notes:
            notes[-1] += "; began afresh"
        return notes

    def _load(self, read: Callable[[Path], None], place: ArtifactUrl) -> None:
        if place.folder is not None:
            read(place.folder)
            return
        fetched = self.folder / ".fetched" / place.name
        try:
            artifacts.fetch(str(place), fetched, timeout_s=self._timeout_s)
            read(fetched)
        finally:
            shutil.rmtree(fetched.parent, ignore_errors=True)
