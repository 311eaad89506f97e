"""Search for the weights of a backbone.

The order is: a local folder (a path or `home/weights/<name>`), the cache of the Hugging Face hub,
an installed package (its files are read, it is never imported), the hub itself. The result is a
folder in transformers' format.

The search honours the hub's cache folder and environment variables (HF_HOME, HF_ENDPOINT,
HF_HUB_OFFLINE, HF_TOKEN). It therefore finds the downloads of other programs.
"""

from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

from trainables.errors import WeightsError
from trainables.models.weights.conversion import convert_once, dinov2_from_onnx, swin_from_timm
from trainables.models.weights.description import CONFIG, TENSORS, Origin, read_config

EXTRA = 'pip install "sweeper[laptop]"'


def find_weights(name: str, origin: Origin, home: Path) -> Path:
    """Return the folder with the weights of `name`, downloading or converting them if needed.

    Args:
        name: Name of a backbone, for `home/weights/<name>` and messages.
        origin: Other sources of the weights.
        home: SWEEPER_HOME.

    Raises:
        WeightsError: The weights are not found. The message lists each way to get them.
    """
    local = home / "weights" / name
    if local.exists():
        return as_transformers_folder(local, home)
    for hub_id in origin.hub_ids:
        if cached := cached_folder(hub_id):
            return as_transformers_folder(cached, home)
    # Local sources come first, so that nothing is downloaded twice. The faults of all sources are
    # collected, so that the error names each way to get the weights.
    faults = []
    if origin.package is not None:
        packaged = _packaged_path(origin.package, origin.package_path)
        if packaged is None:
            faults.append(f"the package {origin.package} is not installed")
        elif packaged.suffix == ".onnx" and find_spec("onnx") is None:
            faults.append(
                f"the package {origin.package} is installed, but the package onnx, which reads it, "
                "is not"
            )
        else:
            return as_transformers_folder(packaged, home)
    for hub_id in origin.hub_ids:
        try:
            folder = download(hub_id)
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
    """Return `path` if transformers can read it, or the folder with its conversion."""
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


TOKENIZER_FILES = {
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
}
TIMEOUT_S = 5.0  # for the hub's first response; without a network, the user waits no longer


def cached_folder(hub_id: str) -> Path | None:
    """Return the cached snapshot of `hub_id`, or None if config or weights are missing."""
    found = [try_to_load_from_cache(hub_id, name) for name in (CONFIG, TENSORS)]
    paths = [Path(path) for path in found if isinstance(path, str)]
    return paths[0].parent if len(paths) == len(found) else None


def download(hub_id: str) -> Path:
    """Download config, weights and tokenizer of `hub_id` into the hub's cache.

    Returns:
        The folder of the snapshot.

    Raises:
        WeightsError: The hub cannot be reached, or has no such repository or file.
    """
    try:
        # The first request has no retries, so that it fails at once without a network.
        siblings = HfApi().model_info(hub_id, timeout=TIMEOUT_S).siblings or []
        on_hub = {sibling.rfilename for sibling in siblings}
        if missing := {CONFIG, TENSORS} - on_hub:
            raise WeightsError(f"the hub's {hub_id} has no {' and no '.join(sorted(missing))}")
        wanted = [CONFIG, TENSORS, *sorted(TOKENIZER_FILES & on_hub)]
        paths = [Path(hf_hub_download(hub_id, name)) for name in wanted]
    except WeightsError:
        raise
    except Exception as error:  # the client passes on the errors of its HTTP library
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"the hub does not give {hub_id} ({reason.rstrip('.')})") from error
    return paths[0].parent
