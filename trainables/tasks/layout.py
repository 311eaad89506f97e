"""Finding a published layout in what the user named, and numbers in what it holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainables.errors import DataError

__all__ = ["as_numbers", "find_file", "find_root", "look_up"]

DEPTH = 3  # folders between the named one and the layout's: an archive may add one or two


def find_root(files: Sequence[Path], marker: str) -> Path:
    """Returns the folder that holds `marker`, in or below the named folders, or beside the files.

    Raises:
        DataError: None does, or several do.
    """
    folders = {path if path.is_dir() else path.parent for path in files}
    patterns = ["*/" * depth + marker for depth in range(DEPTH)]
    for pattern in patterns:  # the nearest first
        found = sorted({path for folder in folders for path in folder.glob(pattern)})
        if len(found) == 1:
            return found[0].parents[marker.count("/")]
        if found:
            raise DataError(f"{found[0]} and {found[1]}: which of them? Name its folder alone.")
    where = ", ".join(map(str, files))
    raise DataError(
        f"{where}: no {marker} there, nor in the folders below. Unpack the published archive, and "
        f"name the folder that holds {marker}."
    )


def find_file(files: Sequence[Path], name: str) -> Path:
    """Returns the file called `name`: one of those named, or the nearest in a folder among them.

    Raises:
        DataError: There is none.
    """
    if found := look_up(files, name):
        return found
    where = ", ".join(map(str, files))
    raise DataError(
        f"{where}: no {name} there. Name the published file, or a folder that holds it."
    )


def look_up(files: Sequence[Path], name: str) -> Path | None:
    """Returns what `find_file` does, or None where there is no such file."""
    named = [path for path in files if path.name == name]
    folders = [path for path in files if path.is_dir()]
    nested = [path.glob("*/" * depth + name) for path in folders for depth in range(DEPTH)]
    candidates = (path for paths in (named, *map(sorted, nested)) for path in paths)
    return next((path for path in candidates if path.is_file()), None)


def as_numbers(
    path: Path, name: str, stored: Any, way_out: str = "Fetch the published file again"
) -> np.ndarray:
    """Returns what a file holds under `name` as an array of real numbers.

    Raises:
        DataError: It is none: objects, text, complex numbers, rows of different lengths.
    """
    try:
        array = np.asarray(stored)
        fault = "" if array.dtype.kind in "buif" else f"it holds {array.dtype}"
    except (ValueError, TypeError) as error:
        fault = str(error)
    if fault:
        raise DataError(f"{path}: `{name}` is no array of numbers ({fault}). {way_out}.")
    return array
