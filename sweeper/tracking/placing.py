"""Puts a folder's files in another place on this machine without copying their bytes if possible.

A checkpoint is written aside and renamed, never changed in place, so a hard link to it stays true.
"""

import os
import shutil
from pathlib import Path


def place(folder: Path, destination: Path) -> None:
    """Makes `destination` hold the files of `folder`: hard links, or copies across file systems."""
    for source in sorted(p for p in folder.rglob("*") if p.is_file()):
        target = destination / source.relative_to(folder)
        if target.exists() and target.samefile(source):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{os.getpid()}")
        aside.unlink(missing_ok=True)
        try:
            os.link(source, aside)
        except OSError:  # another file system, or one without links
            shutil.copy2(source, aside)
        aside.replace(target)
