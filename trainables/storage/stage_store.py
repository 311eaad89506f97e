"""Results of stages by their keys (`stage_key`), in a folder or a bucket.

    results/<key>/   stage.json (reports, builder), changed.safetensors, manifest.json
    claims/<key>     the process that is computing it
    used/<key>       the time of its last use
    refs/<holder>/<key>   unfinished sweeps that use it

A result exists if its manifest exists. Each read checks the files against the manifest. A damaged
result is deleted and computed again.
"""

import io
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trainables.errors import StorageError
from trainables.report import Report
from trainables.storage import artifacts
from trainables.storage.checkpoint_folder import (
    CorruptCheckpoint,
    new_checkpoint,
    parse_json,
    verify,
)
from trainables.storage.claims import try_claim
from trainables.storage.files import TIMEOUT_S, ask, write
from trainables.storage.tensors import save_tensors
from trainables.storage.urls import ArtifactUrl

FORMAT = 2
DESCRIPTION, CHANGED = "stage.json", "changed.safetensors"


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """The reports of a stage, and its changed tensors under names "model.*" and "extras.*"."""

    reports: tuple[Report, ...]
    changed: Mapping[str, Tensor]
    state_hash: str  # of the model and of the changed extras, after the stage
    builder: str  # the trial that computed it, as "SWEEP/STUDY/NUMBER"
    seconds: float  # duration of the computation


class StageStore:
    """A store of stage results.

    Args:
        place: Path or URL of the store.
        scratch: Folder for downloads from a bucket.
        pin: The sweep that uses the store. The results that it uses are kept until it is released
            (`stage_gc`).
        timeout_s: Seconds for each response of the store.

    Raises:
        ConfigError: `place` is no URL of a store.
    """

    def __init__(
        self,
        place: str,
        scratch: Path,
        *,
        pin: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._place = ArtifactUrl.parse(place)
        self._scratch, self._pin, self._timeout_s = scratch, pin, timeout_s

    def find(self, key: str) -> StageResult | None:
        """Return a result, or None if it is missing or damaged. A damaged result is deleted.

        Raises:
            StorageError: The store refuses a request or does not respond in time.
        """
        place = self._place / "results" / key
        if not artifacts.exists(str(place), timeout_s=self._timeout_s):
            return None
        self._mark(key)  # before reading, so that it is not collected in the meantime
        try:
            with self._at_hand(place) as folder:
                return _read(folder)
        except (CorruptCheckpoint, SafetensorError) as error:
            # Another trial may have deleted the result while it was read. That is no damage.
            if artifacts.exists(str(place), timeout_s=self._timeout_s):
                print(
                    f"the stage result {key[:12]} is damaged ({error}); computed anew", flush=True
                )
                artifacts.delete(str(place), timeout_s=self._timeout_s)
            return None
        except FileNotFoundError:  # deleted while it was read
            return None
        except OSError as error:
            raise StorageError(f"{place.label}: {error}") from error

    def keep(self, key: str, result: StageResult) -> None:
        """Publish a result. It becomes visible completely and at once.

        Raises:
            StorageError: The result cannot be written.
        """
        place = self._place / "results" / key
        # In a folder, the rename makes the result appear at once. In a bucket, its manifest does.
        if place.folder is not None:
            _write(place.folder, result)
        else:
            folder = self._scratch / f"stage-{uuid4().hex}"
            try:
                _write(folder, result)
                artifacts.publish(folder, str(place), timeout_s=self._timeout_s)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        self._mark(key)

    def try_claim(self, key: str) -> AbstractContextManager[bool]:
        """Return a context whose value is True if this process may compute the result in it."""
        return try_claim(self._place / "claims" / key, timeout_s=self._timeout_s)

    @contextmanager
    def _at_hand(self, place: ArtifactUrl) -> Iterator[Path]:
        if place.folder is not None:
            yield place.folder
            return
        folder = self._scratch / f"stage-{uuid4().hex}"
        try:
            artifacts.fetch(str(place), folder, timeout_s=self._timeout_s)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _mark(self, key: str) -> None:
        """Record the time and the sweep of a use."""
        self._touch("used", key)
        if self._pin is not None:
            self._touch("refs", self._pin, key)

    def _touch(self, *names: str) -> None:
        place = self._place
        for name in names:
            place = place / name
        # An error is ignored: without the mark, the result is at most collected too early. Of two
        # concurrent writers, one finds its partial file already moved.
        with suppress(StorageError, FileNotFoundError):
            ask(place, lambda files: write(files, io.BytesIO(), place.path), self._timeout_s)


def _write(folder: Path, result: StageResult) -> None:
    described: dict[str, Any] = {
        "format": FORMAT,
        "reports": [asdict(report) for report in result.reports],
        "state_hash": result.state_hash,
        "builder": result.builder,
        "seconds": result.seconds,
    }
    with new_checkpoint(folder) as partial:
        save_tensors(result.changed, partial / CHANGED)
        (partial / DESCRIPTION).write_text(json.dumps(described))


def _read(folder: Path) -> StageResult:
    """Read a result from a folder.

    Raises:
        CorruptCheckpoint: A file is missing or damaged, or its format is unknown.
    """
    lacking = {DESCRIPTION, CHANGED} - verify(folder)
    if lacking:
        raise CorruptCheckpoint(f"{folder}: holds no {' and no '.join(sorted(lacking))}")
    fault = f"{folder}: no readable {DESCRIPTION}"
    described = parse_json((folder / DESCRIPTION).read_bytes(), fault)
    if described["format"] != FORMAT:
        raise CorruptCheckpoint(f"{folder}: is of another format")
    return StageResult(
        reports=tuple(Report(**report) for report in described["reports"]),
        changed=load_file(folder / CHANGED),
        state_hash=described["state_hash"],
        builder=described["builder"],
        seconds=described["seconds"],
    )
