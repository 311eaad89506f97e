"""Search for the weights of a backbone.

The order is: a local folder (a path or `home/weights/<name>`), the cache of the Hugging Face hub,
an installed package (its files are read, it is never imported), the hub itself. The result is a
folder in transformers' format.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.errors import WeightsError
from trainables.models.weights.conversion import (
    convert_once,
    dinov2_from_onnx,
    safetensors_from_pickle,
    swin_from_timm,
)
from trainables.models.weights.description import (
    BACKBONES,
    Origin,
    check_identity,
    folder_of,
    read_config,
    timm_config,
    without_code,
)
from trainables.models.weights.files import CONFIG, PICKLES, TENSORS, weight_files
from trainables.models.weights.hub import cached_config, download
from trainables.models.weights.presence import ONNX, packaged, weights_here
from trainables.models.weights.timm_names import timm_fault
from trainables.plugins import install
from trainables.spec import BackboneSpec


@dataclass(frozen=True, kw_only=True)
class Located:
    """A backbone's description, and the folder of its weights."""

    description: dict[str, Any]  # contents of config.json
    folder: Path | None  # None: random weights
    origin: Origin | None  # None: a folder of the user, which holds the tokenizer as well


def locate(spec: BackboneSpec, home: Path) -> Located:
    """Return the description of a backbone and the folder of its weights; fetch them if needed.

    Raises:
        ConfigError: The name is unknown.
        WeightsError: Weights or config are not found, or are those of another network.
    """
    named, pretrained = BACKBONES.get(spec.name), spec.reads_weights
    if named is not None:  # it has a built-in config
        if not pretrained:
            return Located(description=dict(named.config), folder=None, origin=named.origin)
        folder = find_weights(spec.name, named.origin, home)
        description = read_config(folder)
        check_identity(spec.name, description, folder)
        return Located(description=description, folder=folder, origin=named.origin)
    if spec.timm is not None and not pretrained and not (home / "weights" / spec.name).exists():
        return Located(description=timm_config(spec.timm), folder=None, origin=Origin(hub_ids=()))
    if (origin := _hub_origin(spec)) is None:
        folder = folder_of(spec.name, home)
        description = read_config(folder)
        # A Swin of timm has a config in the form of transformers only once it is converted.
        if pretrained or ("model_type" not in description and is_timm_swin(description)):
            folder = as_transformers_folder(folder, home)
    elif pretrained:
        folder = find_weights(spec.name, origin, home)
    else:
        folder = _find_config(spec.name, origin, home)
    description = without_code(spec.name, read_config(folder))
    return Located(description=description, folder=folder if pretrained else None, origin=origin)


def _hub_origin(spec: BackboneSpec) -> Origin | None:
    """Return the place of a backbone on the hub, or None for a folder."""
    hub_id = timm_hub_id(spec.timm) if spec.timm else spec.hub_id
    return None if hub_id is None else Origin(hub_ids=(hub_id,), revision=spec.revision)


def timm_hub_id(name: str) -> str:
    """Return the hub's name of the weights that timm has for a model, `timm/NAME.TAG`.

    Raises:
        WeightsError: timm has no such model, or no weights for it.
    """
    import timm

    if fault := timm_fault(name):
        raise WeightsError(fault)
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise WeightsError(f"timm has no weights `{name}`: {error}.") from error
    if config is None or not config.hf_hub_id:
        raise WeightsError(
            f"timm has no weights for `{name}`; name another model, or `weights: random`."
        )
    return str(config.hf_hub_id)


def _find_config(name: str, origin: Origin, home: Path) -> Path:
    """Return the folder with the config of a backbone on the hub, for random weights.

    Raises:
        WeightsError: The hub does not give it.
    """
    local = home / "weights" / name
    if local.exists():
        return local
    (hub_id,) = origin.hub_ids
    return cached_config(hub_id, origin.revision) or download(
        hub_id, origin.revision, with_weights=False
    )


def find_weights(name: str, origin: Origin, home: Path) -> Path:
    """Return the folder with the weights of `name`, downloading or converting them if needed.

    Args:
        name: Name of a backbone, for `home/weights/<name>` and messages.
        origin: Other sources of the weights.
        home: SWEEPER_HOME.

    Raises:
        WeightsError: The weights are not found. The message lists each way to get them.
    """
    # Local sources come first, so that nothing is downloaded twice. The faults of all sources are
    # collected, so that the error names each way to get the weights.
    if (here := weights_here(name, origin, home)) is not None:
        return as_transformers_folder(here, home)
    local, faults = home / "weights" / name, []
    if origin.package is not None:
        no_onnx = "installed, but the package onnx, which reads it, is not"
        what = "not installed" if packaged(origin) is None else no_onnx
        faults.append(f"the package {origin.package} is {what}")
    for hub_id in origin.hub_ids:
        try:
            folder = download(hub_id, origin.revision)
        except WeightsError as error:
            faults.append(str(error))
        else:
            return as_transformers_folder(folder, home)
    revision = f" --revision {origin.revision}" if origin.revision else ""
    ways = [
        f"put {CONFIG} and {TENSORS} into {local}",
        f"`hf download {origin.hub_ids[0]}{revision}` where there is a network",
        *([f"`{install('laptop')}`"] if origin.package else []),
    ]
    raise WeightsError(
        f"No weights for the backbone `{name}`: no folder {local}, nothing in the hub's cache, "
        + ", ".join(faults)
        + f". Any of these helps: {'; or '.join(ways)}. Random weights have to be asked for "
        "(backbone `weights: random`)."
    )


def as_transformers_folder(path: Path, home: Path) -> Path:
    """Return `path` if its format is read as it is, or the folder with its conversion.

    A Swin of timm is converted, so that it is the same backbone as the one of transformers.

    Raises:
        WeightsError: There is no config, there are no weights, or they cannot be converted.
    """
    if path.suffix == ONNX:
        return convert_once([path], lambda: dinov2_from_onnx(path), home)
    description, files = read_config(path), weight_files(path)
    if files[0].name in PICKLES:
        path = safetensors_from_pickle(path, files, home)
        files = weight_files(path)
    if "model_type" in description or not is_timm_swin(description):
        return path
    original = [path / CONFIG, *files]
    return convert_once(original, lambda: swin_from_timm(path, description), home)


def is_timm_swin(description: Mapping[str, Any]) -> bool:
    """Return whether timm's config describes a Swin, which is read as transformers' Swin."""
    return str(description.get("architecture")).startswith("swin_")
