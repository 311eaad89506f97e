"""Weights in another format, converted once into a folder that transformers reads.

The result lies in `home/cache/weights/<sha256 of the original>`. It is written aside and renamed
under a lock, so that a killed process leaves no half of it and one process converts.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from trainables.models.weights.checkpoint import hash_files
from trainables.models.weights.description import CONFIG, TENSORS
from trainables.storage.atomic import clear_scratch, new_folder, read_or_make
from trainables.storage.tensors import save_tensors

VERSION = 1  # of the converters: another one converts anew

Converted = tuple[Mapping[str, Any], Mapping[str, Tensor]]  # config and state dict


def convert_once(files: Sequence[Path], convert: Callable[[], Converted], home: Path) -> Path:
    """Return the folder that holds `convert()`'s result for these original files."""
    folder = home / "cache" / "weights" / f"{hash_files(files)[:32]}-v{VERSION}"

    def make() -> None:
        config, state = convert()
        clear_scratch(folder)
        with new_folder(folder) as aside:
            (aside / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
            save_tensors(state, aside / TENSORS, metadata={"format": "pt"})

    return read_or_make(
        folder.with_name(f".{folder.name}.lock"), lambda: folder if folder.is_dir() else None, make
    )
