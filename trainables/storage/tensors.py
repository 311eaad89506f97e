"""Tensors in files, and a disk cache of computed tensors."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainables.storage.atomic import new_file, read_or_make

_UMASK = os.umask(0o022)  # the umask can only be read by setting it
os.umask(_UMASK)


def save_tensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write `tensors` to `path`, with the default permissions of this process.

    Raises:
        OSError: The file cannot be written.
    """
    # safetensors gives the code of a system error only in its text, and its own permissions.
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain, path, metadata)
    except SafetensorError as error:
        found = re.search(r"\(os error (\d+)\)", str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error
    with suppress(PermissionError):  # a file system without modes
        path.chmod(0o666 & ~_UMASK)


def split_state(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Return a `state_dict` of any depth as JSON, and its tensors by the names that it has there.

    The JSON has a mapping as a list of pairs, for the keys of an optimiser are numbers. Tuples and
    counters, as schedulers have them, are named; numbers of NumPy become plain ones.
    """
    tensors: dict[str, Tensor] = {}

    def split(value: Any) -> Any:
        if isinstance(value, Tensor):
            name = str(len(tensors))
            tensors[name] = value.detach().clone().contiguous()  # tied weights share memory
            return {"tensor": name}
        if isinstance(value, Mapping):
            kind = "counter" if isinstance(value, Counter) else "items"
            return {kind: [[key, split(each)] for key, each in value.items()]}
        if isinstance(value, list | tuple):
            found = [split(each) for each in value]
            return {"tuple": found} if isinstance(value, tuple) else found
        return value.item() if isinstance(value, np.generic) else value

    return split(state), tensors


def join_state(state: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Undo `split_state`."""
    if isinstance(state, list):
        return [join_state(each, tensors) for each in state]
    if not isinstance(state, dict):
        return state
    if "tensor" in state:
        return tensors[state["tensor"]]
    if "tuple" in state:
        return tuple(join_state(state["tuple"], tensors))
    kind = Counter if "counter" in state else dict
    pairs = state.get("counter") or state.get("items") or ()
    return kind({key: join_state(each, tensors) for key, each in pairs})


class DiskCache:
    """Cache of tensors by name in `folder`. The name of the folder identifies their inputs.

    A file is mapped into memory, so that the processes of a machine share it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str, compute: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return the result of `compute`, from this call or an earlier call of any process.

        Of several concurrent processes, one computes and the others wait. A damaged file is
        computed again. If the folder cannot be written, each process computes its own result.

        Args:
            name: Name of the file without its suffix.
            compute: Function without arguments that returns tensors by name.

        Returns:
            Tensors by name: on the CPU and without a graph from the file, or as `compute` returned
            them if they cannot be stored.
        """
        path = self._folder / f"{name}.safetensors"
        made: dict[str, Tensor] = {}

        def make() -> None:
            made.update(compute())
            # The caller holds the lock, so that partial files are those of killed processes.
            for leftover in path.parent.glob(f".{path.name}.*.partial"):
                leftover.unlink()
            with new_file(path) as aside:
                # safetensors has no checksum, so that a flipped bit would go unnoticed.
                save_tensors(made, aside, metadata={"sha256": digest_of(made)})

        try:
            return read_or_make(path.with_suffix(".lock"), partial(_read, path), make)
        except OSError:  # a folder that cannot be written
            # The tensors may be there although they could not be written.
            return made or dict(compute())


def _read(path: Path) -> dict[str, Tensor] | None:
    """Return the tensors of a file, or None if it is absent or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            expected = (file.metadata() or {}).get("sha256")
    except (FileNotFoundError, NotADirectoryError, SafetensorError):
        return None
    return tensors if digest_of(tensors) == expected else None


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and bits, in hex."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        # Bits count, not values: NaN differs from itself, and bfloat16 has no type in NumPy.
        plain = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{plain.dtype}{tuple(plain.shape)}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
