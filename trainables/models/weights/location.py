"""Where a backbone's weights come from.

In this order: a local folder (the path itself, or `home/weights/<name>`), the hub's cache, an
installed package (read as files, never imported), the hub. What is found is handed on as a folder
in transformers' format.
"""

from importlib.util import find_spec
from pathlib import Path

from trainables.errors import WeightsError
from trainables.models.weights import hub
from trainables.models.weights.conversion import convert_once
from trainables.models.weights.description import CONFIG, TENSORS, Origin, read_config
from trainables.models.weights.dinov2_onnx import dinov2_from_onnx
from trainables.models.weights.timm_swin import swin_from_timm

EXTRA = 'pip install "sweeper[laptop]"'


def find_weights(name: str, origin: Origin, home: Path) -> Path:
    """Returns the folder with the weights of `name`, downloading or converting if it has to.

    Raises:
        WeightsError: They are nowhere; the message lists each way to get them.
    """
    local = home / "weights" / name
    if local.exists():
        return as_transformers_folder(local, home)
    for hub_id in origin.hub_ids:
        if cached := hub.cached_folder(hub_id):
            return as_transformers_folder(cached, home)
    faults = []
    if origin.package is not None:
        packaged = _packaged_path(origin.package, origin.package_path)
        if packaged is None:
            faults.append(f"the package {origin.package} is not installed")
        elif packaged.suffix == ".onnx" and find_spec("onnx") is None:
            faults.append(
                f"{origin.package} is installed, but the onnx package, which reads it, not"
            )
        else:
            return as_transformers_folder(packaged, home)
    for hub_id in origin.hub_ids:
        try:
            folder = hub.download(hub_id)
        except WeightsError as error:
            faults.append(str(error))
        else:
            return as_transformers_folder(folder, home)
    ways = [
        f"put {CONFIG} and {TENSORS} into {local}",
        f"`hf download {origin.hub_ids[0]}` where there is a network",
        *([f"`{EXTRA}`"] if origin.package else []),
    ]
    raise WeightsError(
        f"No weights for the backbone `{name}`: no folder {local}, nothing in the hub's cache, "
        + ", ".join(faults)
        + f". Any of these helps: {'; or '.join(ways)}. Random weights have to be asked for "
        "(backbone `weights: random`)."
    )


def as_transformers_folder(path: Path, home: Path) -> Path:
    """Returns `path` if transformers reads it, else the folder with its conversion."""
    if path.suffix == ".onnx":
        return convert_once([path], lambda: dinov2_from_onnx(path), home)
    description = read_config(path)
    if "model_type" in description or "architecture" not in description:
        return path
    files = [file for file in (path / CONFIG, path / TENSORS) if file.is_file()]
    return convert_once(files, lambda: swin_from_timm(path, description), home)


def _packaged_path(package: str, inside: str) -> Path | None:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))) / inside
    return path if path.exists() else None
