"""Checkpoints: a folder of safetensors and JSON with a manifest of hashes, without pickle.

    last.safetensors        the model after the epoch         state.json   place, best, optimiser
    best.safetensors        the model at its best epoch       manifest.json  sha256 of each file
    optimizer.safetensors   the optimiser's moments           extras.safetensors  gates, heads

`checkpoint_folder` makes each folder complete or absent, and verifies it. An attempt writes in a
thread (`attempt_checkpoints`), from a snapshot of its state. Weights of a best epoch that has not
changed are a hard link to those of the previous checkpoint.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from trainables.models.adapters import Adapters, adapters_of, add_adapters, remove_adapters
from trainables.report import Report
from trainables.runtime.attempt_checkpoints import AttemptCheckpoints
from trainables.runtime.model_folder import best_weights
from trainables.runtime.precision import check_precision
from trainables.storage.checkpoint_folder import (
    MANIFEST,
    CorruptCheckpoint,
    new_checkpoint,
    parse,
    parse_json,
    verify,
)
from trainables.storage.tensors import save_tensors
from trainables.training.state import Best, TrainState

FORMAT = 1
BEST = "best.safetensors"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The content of a checkpoint."""

    text: str  # of state.json
    tensors: Mapping[str, Mapping[str, Tensor]]  # file -> tensors by name, without the best weights
    best: Mapping[str, Tensor] | None
    copied: torch.cuda.Event | None = None  # after the copies from a GPU

    @classmethod
    def of(
        cls, state: TrainState, buffers: "Buffers | None" = None, *, copies_best: bool = True
    ) -> "Snapshot":
        """Return the content of `state`.

        Args:
            state: The state.
            buffers: Main memory for copies of all tensors that training changes, so that it can go
                on; from a GPU without a wait. None: nothing is copied.
            copies_best: With buffers, also copy the best weights from a GPU. Training never changes
                them, so on the CPU they are not copied.
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
        # Tensors and plain numbers are stored apart: pickle would run code when it is read.
        tensors: dict[str, Mapping[str, Tensor]] = {"last": state.model.state_dict()}
        if state.extras:
            tensors["extras"] = state.extras.state_dict()
        if state.optimizer is not None:
            tensors["optimizer"], place["optimizer"] = split_optimizer(state.optimizer.state_dict())
        best: Mapping[str, Tensor] | None = None
        if state.best is not None:
            place["best"] = {"value": state.best.value, "epoch": state.best.epoch}
            best = state.best.weights
        copied = None
        if buffers is not None:
            tensors = {name: buffers.copy(name, each) for name, each in tensors.items()}
            if state.device.type == "cuda":
                if best is not None and copies_best:
                    best = buffers.copy("best", best)
                copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
                copied.record()
        return cls(text=json.dumps(place), tensors=tensors, best=best, copied=copied)

    def write(self, folder: Path, former: Path | None = None) -> None:
        """Write a checkpoint, replacing an existing folder.

        Args:
            folder: The target.
            former: A complete checkpoint with the same best weights; None: they are written.

        Raises:
            StorageError: A file cannot be written. An existing folder is unchanged.
        """
        # The copies from a GPU may not be there yet. The writing thread waits for them, training
        # does not.
        if self.copied is not None:
            self.copied.synchronize()
        known: dict[str, str] = {}
        with new_checkpoint(folder, known) as partial:
            for name, tensors in self.tensors.items():
                save_tensors(tensors, partial / f"{name}.safetensors")
            if former is not None:
                known |= _linked(former, partial)
            if self.best is not None and not known:
                save_tensors(self.best, partial / BEST)
            (partial / "state.json").write_text(self.text)


class Buffers:
    """Main memory for one snapshot, used again for the next: fresh memory takes most of a copy."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, Tensor]] = {}

    def copy(self, file: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return copies of the tensors of a file.

        From a GPU they are in pinned memory, and incomplete until the device has reached them.
        """
        former = self._held.pop(file, {})
        held = self._held[file] = {
            name: _copy(tensor.detach(), former.pop(name, None)) for name, tensor in tensors.items()
        }
        return held


class Snapshots:
    """Snapshots of the states of one attempt, each written while the next epoch trains.

    They share main memory, and the file of best weights that have not changed.
    """

    def __init__(self) -> None:
        self._buffers = Buffers()
        self._former: tuple[Path, tuple[float, int]] | None = None  # folder, and its best epoch

    def write(self, state: TrainState, to: AttemptCheckpoints, name: str) -> None:
        """Begin to write a checkpoint. Training may go on at once.

        At most one snapshot exists beside the state: this waits for the previous write first.

        Raises:
            StorageError: The previous checkpoint could not be written.
        """
        # The buffers of the snapshot are used again, so that the previous write has to be over.
        to.finish()
        folder, former, best = to.folder / name, None, None
        if state.best is not None:
            # Within an attempt, value and epoch identify the best weights.
            best = state.best.value, state.best.epoch
            if self._former is not None and self._former[1] == best:
                former = self._former[0]
        self._former = None if best is None else (folder, best)
        snapshot = Snapshot.of(state, self._buffers, copies_best=former is None)
        to.write(name, lambda folder: snapshot.write(folder, former))


def _copy(tensor: Tensor, buffer: Tensor | None) -> Tensor:
    """Return a contiguous copy in main memory, in `buffer` if it fits."""
    if buffer is not None and (buffer.shape, buffer.dtype) == (tensor.shape, tensor.dtype):
        return buffer.copy_(tensor, non_blocking=True)
    # PyTorch pins the target of such a copy from a GPU.
    return tensor.to("cpu", copy=True, non_blocking=True, memory_format=torch.contiguous_format)


def _linked(former: Path, folder: Path) -> dict[str, str]:
    """Link the best weights of a checkpoint into `folder`.

    Returns:
        Their hash by name; empty if the file system has no hard links, or they are gone.
    """
    # Linking needs no disk space, and the hash is taken over, since reading a large file anew is
    # slow.
    try:
        hashes = parse((former / MANIFEST).read_bytes(), str(former))
        os.link(former / BEST, folder / BEST)
        return {BEST: hashes[BEST]}
    except (OSError, CorruptCheckpoint, KeyError):
        # The link may exist though its hash is unknown: it goes, and the caller writes the weights
        # anew.
        (folder / BEST).unlink(missing_ok=True)
        return {}


def save(state: TrainState, folder: Path) -> None:
    """Write the complete `state` to `folder`, replacing an existing folder.

    Raises:
        StorageError: A file cannot be written. An existing folder is unchanged.
    """
    Snapshot.of(state).write(folder)


def load(state: TrainState, folder: Path) -> None:
    """Restore `state` from a checkpoint, with the precision that it was computed in.

    Raises:
        CorruptCheckpoint: A file is missing, its hash differs from the manifest, or its weights
            belong to another model or to an earlier version of it.
        DeviceError: The device cannot compute in the precision.
    """
    found = verify(folder)
    missing = {"state.json", "last.safetensors"} - found
    if missing:
        raise CorruptCheckpoint(f"{folder}: holds no {' and no '.join(sorted(missing))}")
    place = parse_json((folder / "state.json").read_bytes(), f"{folder}: no readable state.json")
    # `checkpoints.best` may have deleted them once the trial had failed, before a retry by a user.
    if place["best"] is not None and BEST not in found:
        raise CorruptCheckpoint(f"{folder}: holds no {BEST}")
    # The precision is checked first, before anything of the state is changed.
    _use_precision(state, place)
    model = state.model
    # Adapters add weights by name, so that the model needs those of the checkpoint before it can
    # take its weights.
    remove_adapters(model.body)
    if "adapters" in place:
        add_adapters(model.body, model.roles, Adapters(**place["adapters"]), seed=state.seed)
    load_weights(model, folder / "last.safetensors")
    state.stage, state.epoch, state.best = place["stage"], place["epoch"], None
    state.reports = [Report(**report) for report in place["reports"]]
    state.made_under = place["made_under"]
    if place["best"] is not None:
        state.best = Best(**place["best"], weights=load_file(folder / BEST))
    if state.extras:
        state.extras.load_state_dict(load_file(folder / "extras.safetensors"))
    # A stage creates its optimiser when it runs, and then loads this state into it.
    state.optimizer = None
    state.optimizer_state = None
    if "optimizer" in place:
        moments = load_file(folder / "optimizer.safetensors")
        state.optimizer_state = join_optimizer(moments, place["optimizer"])


def _use_precision(state: TrainState, place: Mapping[str, Any]) -> None:
    """Continue in the precision of a checkpoint, whatever this device or batch would suggest."""
    if "model" in place:  # of a state that knows its trial
        precision = place["model"]["spec"]["model"]["precision"]
        check_precision(state.device, precision)
        state.use_precision(precision)


def load_best(state: TrainState, folder: Path) -> None:
    """Restore the model's best weights with their precision, and the last epoch's extras, if any.

    Raises:
        CorruptCheckpoint: A file is missing, its hash differs from the manifest, or its weights
            belong to another model or to an earlier version of it.
        DataError: The folder holds no best weights.
        DeviceError: The device cannot compute in the precision.
    """
    extras = folder / "extras.safetensors"
    load_weights(state.model, best_weights(folder))
    _use_precision(state, parse_json((folder / "state.json").read_bytes(), str(folder)))
    if extras.is_file():
        state.extras.load_state_dict(load_file(extras))
    else:
        state.extras.clear()


def load_weights(model: nn.Module, file: Path) -> None:
    """Load all weights of a model, or none.

    Raises:
        CorruptCheckpoint: Names or shapes of the weights do not fit the model.
    """
    # All names and shapes are compared first: `load_state_dict` would copy those that fit before it
    # raises.
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


def split_optimizer(optimizer_state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
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


def join_optimizer(tensors: dict[str, Tensor], numbers: dict[str, Any]) -> dict[str, Any]:
    """Undo `split_optimizer`."""
    moments: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *numbers["plain"].items()]:
        index, _, key = name.partition("/")
        moments.setdefault(int(index), {})[key] = value
    return {"state": moments, "param_groups": numbers["param_groups"]}
