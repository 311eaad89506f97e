"""Writes tensors as a file that behaves like any other: its errors, and who may read it."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["save_tensors"]

_UMASK = os.umask(0o022)  # can only be read by being set
os.umask(_UMASK)


def save_tensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Writes `tensors` to `path`, which all may read that may read what this process writes.

    Raises:
        OSError: It cannot be written: the library's own error names the system's in words alone.
    """
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain, path, metadata)
    except SafetensorError as error:
        found = re.search(r"\(os error (\d+)\)", str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error
    with suppress(PermissionError):  # a disk that has no modes of its own
        path.chmod(0o666 & ~_UMASK)
