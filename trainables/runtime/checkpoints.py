"""Checkpoints: a folder of safetensors and JSON with a manifest of hashes, without pickle.

    last.safetensors        the model after the epoch         state.json   place, best, optimiser
    best.safetensors        the model at its best epoch       manifest.json  sha256 of each file
    optimizer.safetensors   the optimiser's moments           extras.safetensors  gates, heads

`checkpoint_folder` makes each folder complete or absent, and verifies it. An attempt keeps its two
newest checkpoints in its folder. If it has a store (`artifacts`), it keeps them in the store, and
its folder is scratch.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from trainables.errors import StorageError
from trainables.models.adapters import Adapters, adapters_of, add_adapters, remove_adapters
from trainables.report import Report
from trainables.runtime.model_folder import best_weights
from trainables.runtime.precision import check_precision
from trainables.storage import artifacts
from trainables.storage.checkpoint_folder import (
    MANIFEST,
    CorruptCheckpoint,
    new_folder,
    parse,
    parse_json,
    rewrite,
    thinned,
    verify,
)
from trainables.storage.tensors import save_tensors
from trainables.storage.urls import ArtifactUrl
from trainables.training.state import Best, TrainState

FORMAT = 1


def save(state: TrainState, folder: Path) -> None:
    """Write the complete `state` to `folder`, replacing an existing folder.

    Raises:
        StorageError: A file cannot be written. An existing folder is unchanged.
    """
    place: dict[str, Any] = {
        "format": FORMAT,
        "stage": state.stage,
        "epoch": state.epoch,
        "seed": state.seed,
        "best": None,
        "made_under": state.made_under,
        "reports": [asdict(report) for report in state.reports],
    }
    if (adapters := adapters_of(state.model.body)) is not None:
        place["adapters"] = asdict(adapters)
    if state.origin is not None:
        place["model"] = state.origin.to_plain()
    # Tensors and plain numbers are stored apart, because pickle would run code when it is read.
    with new_folder(folder) as partial:
        save_tensors(state.model.state_dict(), partial / "last.safetensors")
        if state.best is not None:
            place["best"] = {"value": state.best.value, "epoch": state.best.epoch}
            save_tensors(state.best.weights, partial / "best.safetensors")
        if state.extras:
            save_tensors(state.extras.state_dict(), partial / "extras.safetensors")
        if state.optimizer is not None:
            moments, place["optimizer"] = _split(state.optimizer.state_dict())
            save_tensors(moments, partial / "optimizer.safetensors")
        (partial / "state.json").write_text(json.dumps(place))


def load(state: TrainState, folder: Path) -> None:
    """Restore `state` from a checkpoint, with the precision that it was computed in.

    Raises:
        CorruptCheckpoint: A file is missing, its hash differs from the manifest, or its weights
            belong to another model or to an earlier version of it.
        DeviceError: The device cannot compute in the precision.
    """
    missing = {"state.json", "last.safetensors"} - verify(folder)
    if missing:
        raise CorruptCheckpoint(f"{folder}: holds no {' and no '.join(sorted(missing))}")
    place = parse_json((folder / "state.json").read_bytes(), f"{folder}: no readable state.json")
    _use_precision(state, place)
    model = state.model
    remove_adapters(model.body)
    if "adapters" in place:
        add_adapters(model.body, model.roles, Adapters(**place["adapters"]), seed=state.seed)
    load_weights(model, folder / "last.safetensors")
    state.stage, state.epoch, state.best = place["stage"], place["epoch"], None
    state.reports = [Report(**report) for report in place["reports"]]
    state.made_under = place["made_under"]
    if place["best"] is not None:
        state.best = Best(**place["best"], weights=load_file(folder / "best.safetensors"))
    if state.extras:
        state.extras.load_state_dict(load_file(folder / "extras.safetensors"))
    # A stage creates its optimiser when it runs, and then loads this state into it.
    state.optimizer = None
    state.optimizer_state = None
    if "optimizer" in place:
        moments = load_file(folder / "optimizer.safetensors")
        state.optimizer_state = _join(moments, place["optimizer"])


def _use_precision(state: TrainState, place: Mapping[str, Any]) -> None:
    """Continue in the precision of a checkpoint, whatever this device or batch would suggest."""
    if "model" in place:  # else of an earlier version
        precision = place["model"]["spec"]["model"]["precision"]
        check_precision(state.device, precision)
        state.use_precision(precision)


def load_best(state: TrainState, folder: Path) -> None:
    """Restore the best weights of the model with their precision, and the extras of the last epoch
    if there are any.

    Raises:
        CorruptCheckpoint: A file is missing, its hash differs from the manifest, or its weights
            belong to another model or to an earlier version of it.
        DataError: The folder holds no best weights.
        DeviceError: The device cannot compute in the precision.
    """
    extras = folder / "extras.safetensors"
    load_best_weights(state.model, folder)
    _use_precision(state, parse_json((folder / "state.json").read_bytes(), str(folder)))
    if extras.is_file():
        state.extras.load_state_dict(load_file(extras))
    else:
        state.extras.clear()


def load_best_weights(model: nn.Module, folder: Path) -> None:
    """Restore the best weights of the model alone.

    Raises:
        CorruptCheckpoint: A file is missing, its hash differs from the manifest, or its weights
            belong to another model or to an earlier version of it.
        DataError: The folder holds no best weights.
    """
    load_weights(model, best_weights(folder))


def thin(folder: Path, *, best: bool, last: bool) -> None:
    """Delete the best weights, or the last state and its optimiser, from a checkpoint.

    Args:
        best: Keep the best weights.
        last: Keep the last state and its optimiser.
    """
    hashes = parse((folder / MANIFEST).read_bytes(), str(folder))
    kept = thinned(hashes, best=best, last=last)
    rewrite(folder, kept)
    for name in hashes.keys() - kept.keys():
        (folder / name).unlink()


def load_weights(model: nn.Module, file: Path) -> None:
    """Load all weights of a model, or none.

    Raises:
        CorruptCheckpoint: Names or shapes of the weights do not fit the model.
    """
    weights, own = load_file(file), model.state_dict()
    common = sorted(own.keys() & weights.keys())
    strange = sorted(own.keys() ^ weights.keys())
    strange += [name for name in common if own[name].shape != weights[name].shape]
    if strange:
        raise CorruptCheckpoint(
            f"{file}: these weights are of another model, or of an earlier version's: "
            f"{strange[0]} does not fit"
        )
    model.load_state_dict(weights)


def _split(optimizer_state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimiser's state into tensors with names "index/moment" and plain numbers."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {"param_groups": optimizer_state["param_groups"], "plain": {}}
    for index, moments in optimizer_state["state"].items():
        for key, value in moments.items():
            if isinstance(value, Tensor):
                tensors[f"{index}/{key}"] = value
            else:
                numbers["plain"][f"{index}/{key}"] = value
    return tensors, numbers


def _join(tensors: dict[str, Tensor], numbers: dict[str, Any]) -> dict[str, Any]:
    """Undo `_split`."""
    moments: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *numbers["plain"].items()]:
        index, _, key = name.partition("/")
        moments.setdefault(int(index), {})[key] = value
    return {"state": moments, "param_groups": numbers["param_groups"]}


KEPT = 2  # the newest checkpoint, and the previous one as a fallback
PATIENCE_S = 10.0  # seconds for the deletion of an old checkpoint from a store


class AttemptCheckpoints:
    """The two newest checkpoints of one attempt, in `folder` or in `store`.

    Args:
        folder: Folder of the attempt; scratch if there is a store.
        store: URL of the attempt's folder in a store.
        timeout_s: Seconds for each response of the store.

    Raises:
        ConfigError: `store` is no URL of a store.
    """

    def __init__(
        self, folder: Path, store: str | None = None, timeout_s: float = artifacts.TIMEOUT_S
    ) -> None:
        self._folder, self._timeout_s = folder, timeout_s
        self._store = None if store is None else ArtifactUrl.parse(store)
        self._published: list[ArtifactUrl] = []

    def save(self, state: TrainState, name: str) -> str:
        """Write a checkpoint and delete all but the last two.

        Returns:
            The folder or URL of the checkpoint.

        Raises:
            StorageError: A file cannot be written, or the store refuses or does not respond in
                time.
        """
        folder = self._folder / name
        save(state, folder)
        place = str(folder) if self._store is None else self._publish(folder, self._store / name)
        written = sorted(self._folder.glob("*-[0-9]*"), key=lambda path: path.stat().st_mtime_ns)
        for old in [path for path in written if path != folder][: 1 - KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        return place

    def load(self, state: TrainState, places: Sequence[str]) -> list[str]:
        """Restore the first complete checkpoint of `places`, if any.

        Args:
            places: Folders or URLs of checkpoints, newest first.

        Returns:
            Notes on the damaged checkpoints.

        Raises:
            StorageError: A store refuses a request or does not respond in time.
        """
        notes: list[str] = []
        for place in map(ArtifactUrl.parse, places):
            try:
                self._load(state, place)
            except CorruptCheckpoint as error:
                notes.append(f"checkpoint {place.name} is damaged ({error})")
                continue
            if notes:
                notes[-1] += f"; went on from {place.name}"
            return notes
        if notes:
            notes[-1] += "; began afresh"
        return notes

    def _load(self, state: TrainState, place: ArtifactUrl) -> None:
        if place.folder is not None:
            load(state, place.folder)
            return
        fetched = self._folder / ".fetched" / place.name
        try:
            artifacts.fetch(str(place), fetched, timeout_s=self._timeout_s)
            load(state, fetched)
        finally:
            shutil.rmtree(fetched.parent, ignore_errors=True)

    def _publish(self, folder: Path, place: ArtifactUrl) -> str:
        artifacts.publish(folder, str(place), timeout_s=self._timeout_s)
        self._published.append(place)
        while len(self._published) > KEPT:
            try:
                artifacts.delete(str(self._published[0]), timeout_s=PATIENCE_S)
            except StorageError as error:  # repeated after the next epoch
                print(f"an old checkpoint stays until the next epoch: {error}", flush=True)
                break
            del self._published[0]
        return str(place)
