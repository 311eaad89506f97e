"""Checkpoints: a folder of safetensors and JSON with a manifest of hashes; no pickle.

    last.safetensors        the model after the epoch         state.json   place, best, optimiser
    best.safetensors        the model at its best epoch       manifest.json  sha256 of each file
    optimizer.safetensors   the optimiser's moments           extras.safetensors  gates, heads

A folder is written aside and renamed, so that it is whole or absent; reading verifies the hashes.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from trainables.errors import DataError
from trainables.state import Best, TrainState

FORMAT = 1
MANIFEST = "manifest.json"


class CorruptCheckpoint(DataError):
    """A checkpoint's folder lacks a file, or a file is not what its manifest says."""


def save(state: TrainState, folder: Path) -> None:
    """Writes all of `state` as the folder `folder`, replacing one that is there."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    place: dict[str, Any] = {
        "format": FORMAT,
        "stage": state.stage,
        "epoch": state.epoch,
        "seed": state.seed,
        "best": None,
    }
    _write(state.model.state_dict(), partial / "last.safetensors")
    if state.best is not None:
        place["best"] = {"value": state.best.value, "epoch": state.best.epoch}
        _write(state.best.weights, partial / "best.safetensors")
    if state.extras:
        _write(state.extras.state_dict(), partial / "extras.safetensors")
    if state.optimizer is not None:
        moments, place["optimizer"] = _split(state.optimizer.state_dict())
        _write(moments, partial / "optimizer.safetensors")
    (partial / "state.json").write_text(json.dumps(place))
    sizes = {path.name: _sha256(path) for path in sorted(partial.iterdir())}
    (partial / MANIFEST).write_text(json.dumps(sizes, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


def load(state: TrainState, folder: Path) -> None:
    """Brings `state` to where the checkpoint left it.

    Raises:
        CorruptCheckpoint: A file is missing or its hash differs from the manifest's.
    """
    verify(folder)
    place = json.loads((folder / "state.json").read_text())
    state.model.load_state_dict(load_file(folder / "last.safetensors"))
    state.stage, state.epoch, state.best = place["stage"], place["epoch"], None
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
        CorruptCheckpoint: A file is missing or its hash differs from the manifest's.
        DataError: The folder holds no best weights.
    """
    verify(folder)
    best, extras = folder / "best.safetensors", folder / "extras.safetensors"
    if not best.is_file():
        raise DataError(
            f"{folder}: no best weights. They come with the first validation value, and go where "
            "`checkpoints.best` is false."
        )
    state.model.load_state_dict(load_file(best))
    if extras.is_file():
        state.extras.load_state_dict(load_file(extras))
    else:
        state.extras.clear()


def thin(folder: Path, *, best: bool, last: bool) -> None:
    """Deletes the best weights, or the last state and its optimiser, from a checkpoint."""
    dropped = {"best.safetensors"} if not best else set()
    if not last:
        dropped |= {"last.safetensors", "optimizer.safetensors", "extras.safetensors"}
    hashes: dict[str, str] = json.loads((folder / MANIFEST).read_text())
    kept = {name: digest for name, digest in hashes.items() if name not in dropped}
    (folder / MANIFEST).write_text(json.dumps(kept, indent=1))
    for name in dropped & hashes.keys():
        (folder / name).unlink()


def verify(folder: Path) -> None:
    """Checks every file of a checkpoint against its manifest.

    Raises:
        CorruptCheckpoint: A file is missing or its hash differs from the manifest's.
    """
    try:
        hashes: dict[str, str] = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise CorruptCheckpoint(f"{folder}: no readable {MANIFEST} ({error})") from error
    for name, expected in hashes.items():
        path = folder / name
        if not path.is_file():
            raise CorruptCheckpoint(f"{path}: missing, though the manifest lists it")
        if _sha256(path) != expected:
            raise CorruptCheckpoint(
                f"{path}: altered or cut short: its sha256 is not the manifest's"
            )


def _write(tensors: dict[str, Tensor], path: Path) -> None:
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
