"""Tensors that are computed once a machine: whoever comes later reads them from a folder."""

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trainables.storage.atomic import sync
from trainables.storage.lock import exclusive
from trainables.storage.tensor_file import save_tensors

__all__ = ["Memo"]


class Memo:
    """Remembers tensors by name, in `folder`, which belongs to what they are computed from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str, compute: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Returns what `compute` returns, now or when another process asked first.

        Of processes that ask at once one computes, and the others wait. What cannot be kept, or is
        damaged, is computed by each.
        """
        path = self._folder / f"{name}.safetensors"
        found = _read(path)
        if found is not None:
            return found
        try:
            with exclusive(path.with_suffix(".lock")):
                found = _read(path)
                return found if found is not None else _keep(path, dict(compute()))
        except OSError:  # a folder that cannot be written
            return dict(compute())


def _read(path: Path) -> dict[str, Tensor] | None:
    try:
        found: dict[str, Tensor] = load_file(path)
    except (FileNotFoundError, SafetensorError):
        return None
    return found


def _keep(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Writes aside, then renames: a reader sees the whole file or none."""
    aside = path.with_suffix(".partial")
    save_tensors(tensors, aside)
    sync(aside)
    aside.replace(path)
    return tensors
