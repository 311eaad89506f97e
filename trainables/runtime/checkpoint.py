"""Checkpoints: a folder of safetensors and JSON with a manifest of hashes; no pickle.

    last.safetensors        the model after the epoch         state.json   place, best, optimiser
    best.safetensors        the model at its best epoch       manifest.json  sha256 of each file
    optimizer.safetensors   the optimiser's moments           extras.safetensors  gates, heads

How a folder comes to be whole or absent, and is verified, is in `checkpoint_folder`.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from trainables.errors import DataError
from trainables.report import Report
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
from trainables.training.state import Best, TrainState

FORMAT = 1


def save(state: TrainState, folder: Path) -> None:
    """Writes all of `state` as the folder `folder`, replacing one that is there.

    Raises:
        StorageError: It cannot be written; nothing is left of it, and one that was there stays.
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
    """Brings `state` to where the checkpoint left it.

    Raises:
        CorruptCheckpoint: A file is missing, its hash differs from the manifest's, or its weights
            are of another model, as of an earlier version.
    """
    missing = {"state.json", "last.safetensors"} - verify(folder)
    if missing:
        raise CorruptCheckpoint(f"{folder}: holds no {' and no '.join(sorted(missing))}")
    place = parse_json((folder / "state.json").read_bytes(), f"{folder}: no readable state.json")
    _load_weights(state.model, folder / "last.safetensors")
    state.stage, state.epoch, state.best = place["stage"], place["epoch"], None
    state.reports = [Report(**report) for report in place["reports"]]
    state.made_under = place["made_under"]
    if place["best"] is not None:
        state.best = Best(**place["best"], weights=load_file(folder / "best.safetensors"))
    if state.extras:
        state.extras.load_state_dict(load_file(folder / "extras.safetensors"))
    state.optimizer = None
    state.optimizer_state = None
    if "optimizer" in place:
        moments = load_file(folder / "optimizer.safetensors")
        state.optimizer_state = _join(moments, place["optimizer"])


def load_best(state: TrainState, folder: Path) -> None:
    """Brings the model of `state` to its best weights; extras are those of the last epoch, and
    dropped where the folder has none.

    Raises:
        CorruptCheckpoint: A file is missing, its hash differs from the manifest's, or its weights
            are of another model, as of an earlier version.
        DataError: The folder holds no best weights.
    """
    verify(folder)
    best, extras = folder / "best.safetensors", folder / "extras.safetensors"
    if not best.is_file():
        raise DataError(
            f"{folder}: no best weights. They come with the first validation value, and go where "
            "`checkpoints.best` is false."
        )
    _load_weights(state.model, best)
    if extras.is_file():
        state.extras.load_state_dict(load_file(extras))
    else:
        state.extras.clear()


def thin(folder: Path, *, best: bool, last: bool) -> None:
    """Deletes the best weights, or the last state and its optimiser, from a checkpoint."""
    hashes = parse((folder / MANIFEST).read_bytes(), str(folder))
    kept = thinned(hashes, best=best, last=last)
    rewrite(folder, kept)
    for name in hashes.keys() - kept.keys():
        (folder / name).unlink()


def _load_weights(model: nn.Module, file: Path) -> None:
    """Loads all weights of a model, or none. Raises CorruptCheckpoint."""
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
    """Parts an optimiser's state into tensors, named "index/moment", and plain numbers."""
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
    """Undoes `_split`."""
    moments: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *numbers["plain"].items()]:
        index, _, key = name.partition("/")
        moments.setdefault(int(index), {})[key] = value
    return {"state": moments, "param_groups": numbers["param_groups"]}
