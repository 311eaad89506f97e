"""Writes that a power cut does not undo, and folders that take the place of others."""

import os
import shutil
from pathlib import Path

__all__ = ["clear_scratch", "put_in_place", "sync"]

REPLACED = "replaced"  # in a scratch folder: what was in the place of what was made there


def sync(path: Path) -> None:
    """Forces a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_in_place(made: Path, folder: Path, scratch: Path) -> None:
    """Rename `made` to `folder`; what is there moves into `scratch`, and back if that fails."""
    former = scratch / REPLACED
    if folder.exists():
        folder.rename(former)
    try:
        made.rename(folder)
    except OSError:
        if former.exists():
            former.rename(folder)
        raise
    sync(folder.parent)


def clear_scratch(folder: Path) -> None:
    """Delete the scratch folders `.NAME.*` that killed processes left beside `folder`.

    Where one was killed between the two renames of `put_in_place`, the former content goes back.
    """
    for leftover in folder.parent.glob(f".{folder.name}.*/"):
        if (leftover / REPLACED).is_dir() and not folder.exists():
            (leftover / REPLACED).rename(folder)
        shutil.rmtree(leftover)
