"""Weights in another format, converted once into a folder that transformers reads.

The result lies in `home/cache/weights/<sha256 of the original>`, is written aside and renamed, so
that a killed process leaves no half of it and two at once do no harm.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from torch import Tensor

from trainables.models.weights.checkpoint import hash_files
from trainables.models.weights.description import CONFIG, TENSORS
from trainables.storage.atomic import sync
from trainables.storage.tensor_file import save_tensors

VERSION = 1  # of the converters: another one converts anew

Converted = tuple[Mapping[str, Any], Mapping[str, Tensor]]  # config and state dict


def convert_once(files: Sequence[Path], convert: Callable[[], Converted], home: Path) -> Path:
    """Returns the folder that holds `convert()`'s result for these original files."""
    folder = home / "cache" / "weights" / f"{hash_files(files)[:32]}-v{VERSION}"
    if folder.is_dir():
        return folder
    config, state = convert()
    aside = folder.with_name(f".{folder.name}.{uuid4().hex}")
    aside.mkdir(parents=True)
    try:
        (aside / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        save_tensors(state, aside / TENSORS, metadata={"format": "pt"})
        sync(aside / TENSORS)
        try:
            aside.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first, with the same bytes
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder
