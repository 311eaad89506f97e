"""Presence of a backbone's weights on this machine. Importing this module loads no torch."""

from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import constants

from trainables.errors import ConfigError
from trainables.models.weights.description import BACKBONES, Origin, folder_of_spec
from trainables.spec import BackboneSpec

ONNX = ".onnx"  # ending of weights that need the package onnx


def is_here(spec: BackboneSpec, home: Path) -> bool:
    """Return whether config and weights of a backbone from a folder, the hub or timm are here."""
    try:
        if folder_of_spec(spec, home) is not None:
            return True
    except ConfigError:
        return False
    if not spec.reads_weights and (spec.timm is not None or spec.name in BACKBONES):
        return True  # timm has the architecture, and a built-in one its config
    if spec.name in BACKBONES:
        return weights_here(spec.name, BACKBONES[spec.name].origin, home) is not None
    # The hub's client takes a while to import, and most sweeps need none.
    from trainables.models.weights import hub

    if spec.timm is not None:
        return hub.cached_timm(spec.timm, spec.revision) is not None
    if spec.hub_id is None:
        return False
    find = hub.cached_folder if spec.reads_weights else hub.cached_config
    return find(spec.hub_id, spec.revision) is not None


def weights_here(name: str, origin: Origin, home: Path) -> Path | None:
    """Return the weights of a backbone on this machine: a folder, or a file of a package; or None.

    The order is: `home/weights/<name>`, the hub's cache, a package.
    """
    from trainables.models.weights import hub

    local = home / "weights" / name
    if local.exists():
        return local
    for hub_id in origin.hub_ids:
        if cached := hub.cached_folder(hub_id, origin.revision):
            return cached
    path = packaged(origin)
    is_usable = path is not None and (path.suffix != ONNX or find_spec("onnx") is not None)
    return path if is_usable else None


def packaged(origin: Origin) -> Path | None:
    """Return the folder or file of weights in an installed package, which is not imported."""
    spec = None if origin.package is None else find_spec(origin.package)
    places = (spec.submodule_search_locations if spec else None) or ()
    paths = (Path(place, origin.package_path) for place in places)
    return next((path for path in paths if path.exists()), None)


def to_fetch(spec: BackboneSpec, home: Path) -> str | None:
    """Return what has to be fetched from the hub for a backbone, or None; None for a built-in."""
    return None if spec.name in BACKBONES else _lacking(spec, home)


def _lacking(spec: BackboneSpec, home: Path) -> str | None:
    """Return what a backbone of a package, the hub or timm lacks on this machine, or None."""
    is_folder = spec.name not in BACKBONES and spec.hub_id is None and spec.timm is None
    if is_folder or is_here(spec, home):
        return None
    at = f" at {spec.revision}" if spec.revision else ""
    what = "weights" if spec.reads_weights else "config"
    return f"{what} of {spec.name}{at}"


def fetch_fault(spec: BackboneSpec, home: Path) -> str | None:
    """Return why a backbone cannot be fetched, with the way out, or None."""
    if not constants.HF_HUB_OFFLINE or (what := _lacking(spec, home)) is None:
        return None
    if spec.name in BACKBONES:
        origin = BACKBONES[spec.name].origin
        repository, revision = origin.hub_ids[0], origin.revision
    else:  # the hub's name of a model of timm has a tag, which timm alone knows
        repository = spec.hub_id or f"{spec.name}{'' if '.' in spec.name else '.TAG'}"
        revision = spec.revision
    at = f" --revision {revision}" if revision else ""
    return (
        f"{what}: not on this machine, and HF_HUB_OFFLINE forbids to fetch them. Run `hf download "
        f"{repository}{at}` where there is a network, and copy the hub's cache; or put "
        f"config and weights into {home / 'weights' / spec.name}."
    )
