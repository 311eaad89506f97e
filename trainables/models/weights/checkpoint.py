"""Strict reader of a folder in transformers' format (config.json and safetensors).

The file must hold every parameter of the network, because a missing one would silently be random.
Every key of the file must belong to a parameter. The exceptions are layers beyond the kept ones,
and parts that no body has (poolers, task heads, buffers). The reader ignores these.
"""

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from trainables.errors import WeightsError
from trainables.models.weights.files import CONFIG, SAFE, no_weights, weight_files
from trainables.storage.atomic import sha256_file

UNUSED = re.compile(
    r"(^|\.)(pooler|lm_head|classifier|qa_outputs|cls|decoder|mask_token|position_ids|token_type_ids"
    r"|relative_position_index|attn_mask)(\.|$)"
)
LAYER = re.compile(r"(^|\.)encoder\.layer\.(\d+)\.")
READING = {  # strictly: an error of ours names what does not fit
    "use_safetensors": True,
    "local_files_only": True,
    "output_loading_info": True,
    "ignore_mismatched_sizes": True,
}
MAX_SHOWN = 5  # maximal number of keys in a message


def load_model(
    model_class: Any,
    folder: Path,
    config: Any,
    *,
    stored_layers: int = 0,
    heads: bool = False,
    **arguments: bool,
) -> nn.Module:
    """Build `model_class` from `config` with all its weights from `folder`, in float32.

    The file has `stored_layers`, if `config` keeps fewer; others are not read. With `heads` it may
    hold parts of any name beside the network, as the head of the task that it was trained on. A key
    inside of the network must still have its place. `arguments` are for `model_class`.

    Raises:
        WeightsError: The file is missing, damaged or not finite. Or it does not fit the network:
            keys are missing or unknown, or shapes differ.
    """
    path = safe_files(folder)[0]
    try:
        with quiet_transformers():
            model, info = model_class.from_pretrained(
                folder, config=config, dtype=torch.float32, **READING, **arguments
            )
    except (SafetensorError, OSError) as error:
        raise damaged(path, error) from error
    except (ArithmeticError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{folder / CONFIG}: it describes no valid network: {error}") from error
    # transformers only logs keys that do not match. All of them are collected into one error.
    missing = [key for key in info["missing_keys"] if not UNUSED.search(key)]
    extra = [
        key
        for key in info["unexpected_keys"]
        if not UNUSED.search(key)
        and not _is_cut_away(key, getattr(config, "num_hidden_layers", 0), stored_layers)
        if not (heads and _is_beside(key, model))
    ]
    differ = (
        f"{key} {(*found,)} instead of {(*own,)}" for key, found, own in info["mismatched_keys"]
    )
    lead = f"{path} does not fit the {model_class.__name__} that {CONFIG} describes; "
    check_fit(lead, missing, extra, [*differ])
    # Otherwise NaN in a file would look like a trial that diverged.
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise WeightsError(f"{path}: {name} holds NaN or infinity; fetch it again.")
    return cast(nn.Module, model)


def check_fit(
    lead: str, missing: Iterable[str], extra: Iterable[str], mismatched: Iterable[str]
) -> None:
    """Check that the stored tensors are those of a network.

    Args:
        lead: First words of the message.
        missing: Keys that the file lacks.
        extra: Keys that the network lacks.
        mismatched: Keys of tensors of another shape, perhaps with both shapes.

    Raises:
        WeightsError: They are not.
    """
    found = {"missing keys": missing, "keys without a place": extra, "wrong shapes": mismatched}
    faults = [f"{what}: {_some(sorted(keys))}" for what, keys in found.items() if any(keys)]
    if faults:
        raise WeightsError(lead + "; ".join(faults))


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of the safetensors in `folder` by name, as they are stored.

    Raises:
        WeightsError: A file is missing, damaged or not finite.
    """
    state: dict[str, Tensor] = {}
    for path in safe_files(folder):
        if path.suffix != ".json":
            try:
                state |= load_file(path)
            except (SafetensorError, OSError) as error:
                raise damaged(path, error) from error
    for name, tensor in state.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise WeightsError(f"{folder}: {name} holds NaN or infinity; fetch it again.")
    return state


def safe_files(folder: Path) -> tuple[Path, ...]:
    """Return the safetensors in `folder`, the index first if they are in parts.

    Raises:
        WeightsError: There are none, or a part is missing.
    """
    files = weight_files(folder)
    if files[0].name not in SAFE:
        raise no_weights(str(folder), [path.name for path in files])
    return files


def damaged(path: Path, error: Exception) -> WeightsError:
    """Return the error for a file of weights that cannot be read."""
    return WeightsError(f"{path}: damaged or cut short ({error}); fetch it again.")


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of `folder`'s weights and config. Unchanged files are hashed once."""
    return hash_files([folder / CONFIG, *weight_files(folder)])


def hash_files(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the hashes of the files. Unchanged files are hashed once."""
    stamped = [(path, path.stat()) for path in paths]
    hashes = [_hash_file(path, stat.st_size, stat.st_mtime_ns) for path, stat in stamped]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


# Size and time of change are part of the cache's key, so that a changed file is hashed anew.
@lru_cache(maxsize=64)
def _hash_file(path: Path, size: int, mtime_ns: int) -> str:
    return sha256_file(path)


def _is_cut_away(key: str, kept: int, stored: int) -> bool:
    match = LAYER.search(key)
    return match is not None and kept <= int(match[2]) < stored


def _is_beside(key: str, model: Any) -> bool:
    """Return whether a key belongs to a module that is beside the network in its file."""
    parts = key.removeprefix(f"{model.base_model_prefix}.").split(".")
    return parts[0] not in dict(model.named_children())


def _some(keys: list[str]) -> str:
    rest = len(keys) - MAX_SHOWN
    return ", ".join(keys[:MAX_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bar, load report and remarks on unused settings.

    `load_model` raises what matters of them.
    """
    verbosity = transformers_logging.get_verbosity()
    had_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if had_bar:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
