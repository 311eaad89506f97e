"""Folders of exported models, which need neither the sweep nor its data and pretrained weights.

    model.safetensors            weights of embedder, body and predictor
    config.json                  version, trial, network, task, metrics, hashes of the other files
    normalisation.safetensors    arrays of the task's normalisation, if it has any
    README.md                    model card (`model_card`)

There is no pickle in it. A folder is complete or absent. It is untrusted when it is read: versions,
sizes, hashes and shapes are checked before a network is built. This module loads no torch.
"""

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from trainables.errors import DataError, WeightsError
from trainables.models.origin import ModelOrigin
from trainables.plugins import DISTRIBUTION
from trainables.runtime.model_card import model_card
from trainables.runtime.model_task import ModelConfig, ModelTask
from trainables.storage.atomic import new_folder, sha256_file
from trainables.storage.checkpoint_folder import (
    MANIFEST,
    PROGRAM,
    CorruptCheckpoint,
    parse_json,
    unwritable,
    verify,
)
from trainables.tasks.loading import load_task
from trainables.tasks.registry import register_own
from trainables.tasks.store.normalisation import Normalisation
from trainables.tasks.store.statistics import Standardiser
from trainables.tasks.task import Task

CONFIG, WEIGHTS, ARRAYS, CARD = (
    "config.json",
    "model.safetensors",
    "normalisation.safetensors",
    "README.md",
)
STATE, BEST = "state.json", "best.safetensors"  # of a checkpoint
FORMAT: Literal["sweeper-model"] = "sweeper-model"
VERSION: Literal[1] = 1
LIBRARIES = ("sweeper", "torch", "transformers", "timm", "numpy", "safetensors")
MAX_CONFIG = 2**26  # bytes
MAX_SIDE, MAX_SAMPLE = 2**24, 2**30  # numbers in one axis, and in one sample
MAX_LAYERS, MAX_SIZE = 1000, 2**20  # of the network that a config describes
WIDTHS = ("hidden_size", "d_model", "dim", "n_embd", "embed_dim")
DEPTHS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """The content of a folder of an exported model, but for its weights."""

    origin: ModelOrigin
    config: ModelConfig
    normalisation: Normalisation
    weights: Path
    standards: Mapping[str, Standardiser]  # DECODED, UNITS: of the predictor


DECODED, UNITS = "decoded", "units"  # standardisers of a predictor, in ARRAYS


def is_checkpoint(folder: Path) -> bool:
    """Return whether a folder is the checkpoint of a trial."""
    return (folder / STATE).is_file() and (folder / MANIFEST).is_file()


def check_is_model(folder: Path) -> None:
    """Check that a folder is a checkpoint or an exported model.

    Raises:
        DataError: It is neither.
    """
    if not is_checkpoint(folder) and not (folder / CONFIG).is_file():
        raise DataError(
            f"{folder}: neither a checkpoint of a trial (state.json and manifest.json) nor an "
            f"exported model ({CONFIG}). Name such a folder."
        )


def read_origin(folder: Path, home: Path) -> ModelOrigin:
    """Return the description of the model of a checkpoint.

    Args:
        folder: The checkpoint.
        home: SWEEPER_HOME of this machine.

    Raises:
        CorruptCheckpoint: A file is missing, or its hash differs from the manifest.
        DataError: The checkpoint has no description, as that of a program.
        WeightsError: The description is damaged.
    """
    if PROGRAM in verify(folder, only=(STATE,)):
        raise DataError(
            f"{folder}: is of a program, which has no model of ours: what it saved is in {PROGRAM}"
        )
    path = folder / STATE
    place = parse_json(path.read_bytes(), f"{folder}: no readable {STATE}")
    if not isinstance(place, dict) or "model" not in place:
        raise DataError(f"{path}: has no description of its model.")
    return ModelOrigin.from_plain(place["model"], home, str(path))


def best_weights(folder: Path) -> Path:
    """Return the file of the best weights of a checkpoint.

    Raises:
        CorruptCheckpoint: The file is missing, or its hash differs from the manifest.
        DataError: The folder holds none.
    """
    if BEST not in verify(folder, only=(BEST,)):
        raise DataError(
            f"{folder}: no best weights. They exist after the first validation value, unless "
            "`checkpoints.best` is false."
        )
    return folder / BEST


def export_model(
    checkpoint: Path,
    out: Path,
    home: Path,
    *,
    sweep: str = "",
    trial: str = "",
    metrics: Mapping[str, float] | None = None,
    link: bool = False,
) -> ModelConfig:
    """Write the model of a checkpoint, with its best weights, as a folder; return its description.

    `out` must not exist, or be empty. `home` is SWEEPER_HOME, with the data of the task; `sweep`
    and `trial` are names, as those of `metrics` in reports. If `out` is on the same file system,
    `link` makes the weights a link instead of a copy.

    Raises:
        CorruptCheckpoint: A file of the checkpoint is missing or altered.
        DataError: The checkpoint lacks weights or a description, or the data of its task differ.
        StorageError: `out` cannot be written.
        WeightsError: The description in the checkpoint is damaged.
    """
    origin, best = read_origin(checkpoint, home), best_weights(checkpoint)
    register_own(origin.spec.definition, home)
    task = load_task(origin.spec.task, origin.spec.data, home)
    normalisation = Normalisation.of(task.manifest)
    try:
        with new_folder(out) as aside:
            place_file(best, aside / WEIGHTS, link=link)
            if arrays := _arrays(normalisation, task):
                save_file(arrays, aside / ARRAYS)
            config = ModelConfig(
                format=FORMAT,
                version=VERSION,
                model=origin.to_plain(),
                task=ModelTask.of(task),
                presented=normalisation.presented,
                sweep=sweep,
                trial=trial,
                metrics=metrics or {},
                versions=_versions(),
                files={path.name: sha256_file(path) for path in sorted(aside.iterdir())},
            )
            _describe(aside, origin, config)
    except OSError as error:
        raise unwritable(out, error) from error
    return config


def _describe(folder: Path, origin: ModelOrigin, config: ModelConfig) -> None:
    """Write the configuration of a model and its card."""
    text = json.dumps(config.model_dump(mode="json"), indent=1, ensure_ascii=False)
    (folder / CONFIG).write_text(text, encoding="utf-8")
    (folder / CARD).write_text(model_card(origin, config), encoding="utf-8")


def place_file(source: Path, target: Path, *, link: bool) -> None:
    """Copy a file, or link it if the file system allows it."""
    if link:
        try:
            os.link(source, target)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copyfile(source, target)


def _arrays(normalisation: Normalisation, task: Task) -> dict[str, np.ndarray]:
    """Return the arrays that a model needs besides its weights, by name."""
    standards = {"inputs": normalisation.inputs, "outputs": normalisation.outputs}
    if task.info.decoded:
        standards[DECODED] = task.output_standard
    if task.info.kind == "regression":
        standards[UNITS] = task.output_units
    arrays = {}
    for name, standard in standards.items():
        if standard is not None:
            arrays[f"{name}.shift"] = np.ascontiguousarray(standard.shift)
            arrays[f"{name}.scale"] = np.ascontiguousarray(standard.scale)
    return arrays


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):  # as of a package that runs from its source
            found[name] = version(DISTRIBUTION if name == "sweeper" else name)
    return found


def read_model(folder: Path, home: Path) -> ExportedModel:
    """Return the checked content of an exported model, without its weights.

    Args:
        folder: The folder of the model.
        home: SWEEPER_HOME of this machine. Nothing is read from it.

    Raises:
        WeightsError: A file is missing, altered or not valid, or another version wrote the folder.
    """
    config = _read_config(folder / CONFIG)
    path = str(folder / CONFIG)
    for name, expected in config.files.items():
        file = folder / name
        if not file.is_file():
            raise WeightsError(
                f"{file}: missing, though {CONFIG} lists it. Export the model again."
            )
        if sha256_file(file) != expected:
            raise WeightsError(
                f"{file}: altered or cut short: its sha256 is not that of {CONFIG}. Export the "
                "model again."
            )
    if WEIGHTS not in config.files:
        raise WeightsError(f"{path}: it lists no {WEIGHTS}. Export the model again.")
    origin = ModelOrigin.from_plain(dict(config.model), home, path)
    numbers = count_numbers(folder / WEIGHTS)
    _check_network(origin, numbers, path)
    standards = _read_standards(folder / ARRAYS) if ARRAYS in config.files else {}
    return ExportedModel(
        origin=origin,
        config=config,
        normalisation=Normalisation(
            presented=config.presented,
            inputs=standards.get("inputs"),
            outputs=standards.get("outputs"),
        ),
        weights=folder / WEIGHTS,
        standards=standards,
    )


def _read_config(path: Path) -> ModelConfig:
    """Return the content of an untrusted config.json.

    Raises:
        WeightsError: The file is missing or not valid, or another version wrote it.
    """
    hint = "Export the model again: sweeper export SWEEP --model DIR."
    # One byte more than is allowed shows that a file is too long, without reading all of it.
    try:
        with path.open("rb") as file:
            text = file.read(MAX_CONFIG + 1)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}). {hint}") from error
    if len(text) > MAX_CONFIG:
        raise WeightsError(f"{path}: larger than {MAX_CONFIG} bytes. {hint}")
    try:
        plain = parse_json(text, f"{path}: no readable JSON")
    except CorruptCheckpoint as error:
        raise WeightsError(f"{error}. {hint}") from error
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise WeightsError(f"{path}: no model that sweeper exported.")
    # The number comes first: fields of another version may look valid or damaged.
    if plain.get("version") != VERSION:
        raise WeightsError(
            f"{path}: version {plain.get('version')!r} of the layout, but this program reads "
            f"{VERSION}. {hint}"
        )
    try:
        config = ModelConfig.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise WeightsError(f"{path}: {place}: {first['msg']}. {hint}") from error
    _check_shapes(config.task, path)
    return config


def _check_shapes(task: ModelTask, path: Path) -> None:
    # The file is not trusted, and its shapes decide how much memory a network takes.
    for name in ("input_shape", "network_shape", "output_shape"):
        shape = getattr(task, name)
        is_possible = shape and all(0 < side <= MAX_SIDE for side in shape)
        if not is_possible or prod(shape) > MAX_SAMPLE:
            raise WeightsError(f"{path}: task.{name} is no shape of a sample: {list(shape)}.")
    if task.classes and len(task.classes) != task.channels[1]:
        raise WeightsError(
            f"{path}: task.classes names {len(task.classes)} of {task.channels[1]} classes."
        )


def count_numbers(path: Path) -> int:
    """Return how many numbers a file of tensors holds, from its header.

    Raises:
        WeightsError: The file holds no tensors.
    """
    try:
        with safe_open(path, framework="np") as file:
            names = file.keys()
            return sum(prod(file.get_slice(name).get_shape()) for name in names)
    except SafetensorError as error:
        raise WeightsError(f"{path}: no safetensors file ({error}).") from error


def _check_network(origin: ModelOrigin, numbers: int, path: str) -> None:
    """Check that a network is no larger than its weights, before it is built.

    Raises:
        WeightsError: The description asks for a network that the weights cannot fill.
    """
    if origin.spec.backbone is None:  # its settings have limits, and `prediction` counts weights
        return
    network, layers = origin.network, origin.spec.backbone.layers
    for key, value in network.items():
        is_count = isinstance(value, int) and not isinstance(value, bool)
        most = MAX_LAYERS if "layer" in key else MAX_SIZE
        # Ids of tokens may be large or negative, and are the size of nothing.
        if is_count and "token_id" not in key and abs(value) > most:
            raise WeightsError(
                f"{path}: model.network.{key} is {value}, but at most {most} is read."
            )
    widths = [network[key] for key in WIDTHS if isinstance(network.get(key), int)]
    depths = [network[key] for key in DEPTHS if isinstance(network.get(key), int)]
    # A trial may keep the first layers of its backbone alone, and then has weights of these.
    depth = layers or max(depths, default=0)
    # Queries and outputs of attention alone have two squares of the width in every layer.
    if 2 * max(widths, default=0) ** 2 * depth > numbers:
        raise WeightsError(
            f"{path}: model.network describes a larger network than {WEIGHTS} holds weights for."
        )


def _read_standards(path: Path) -> dict[str, Standardiser]:
    """Return the standardisers of a file, by name.

    Raises:
        WeightsError: The file holds no pairs of a finite shift and a positive scale.
    """
    try:
        with safe_open(path, framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(f"{path}: no safetensors file ({error}).") from error
    standards = {}
    for name in {name.rpartition(".")[0] for name in arrays}:
        shift, scale = arrays.get(f"{name}.shift"), arrays.get(f"{name}.scale")
        if shift is None or scale is None or shift.shape != scale.shape:
            raise WeightsError(f"{path}: `{name}` must have a shift and a scale of one shape.")
        # A scale of 0 or NaN would reach every prediction without an error.
        if not (np.isfinite(shift).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise WeightsError(f"{path}: `{name}` must have finite shifts and positive scales.")
        standards[name] = Standardiser(shift.astype(np.float32), scale.astype(np.float32))
    return standards
