"""Writes that a power cut does not undo."""

import os
from pathlib import Path

__all__ = ["sync"]


def sync(path: Path) -> None:
    """Forces a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
