"""Files and folders that are whole or absent, whatever is killed and whenever; locks and hashes.

Whatever is written goes to a hidden place beside its target first, is forced to the disk, and is
then renamed. A reader sees the former content or the new one.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

__all__ = [
    "clear_scratch",
    "exclusive",
    "new_file",
    "new_folder",
    "put_in_place",
    "read_or_make",
    "sha256_file",
    "sync",
]

REPLACED = "replaced"  # in a scratch folder: the former content of the target

T = TypeVar("T")


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path`, which is renamed to `path` once the caller has written it.

    Args:
        path: The target; its folder is made if need be.

    Raises:
        OSError: The file cannot be written; `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid4().hex[:12]}.partial")
    try:
        yield aside
        sync(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder, which is renamed to `folder` once the caller has filled it.

    What a killed process left is a scratch folder of `clear_scratch`.

    Args:
        folder: The target, which must not exist; its parent is made if need be.

    Raises:
        OSError: It cannot be written, or `folder` exists; nothing is left behind.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield aside
        aside.chmod(0o755)  # mkdtemp keeps others out
        for path in [*aside.rglob("*"), aside]:
            sync(path)
        aside.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


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

    If one was killed between the two renames of `put_in_place`, restore the former content.
    """
    for leftover in folder.parent.glob(f".{folder.name}.*/"):
        if (leftover / REPLACED).is_dir() and not folder.exists():
            (leftover / REPLACED).rename(folder)
        shutil.rmtree(leftover)


def sync(path: Path) -> None:
    """Force a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, which is made if need be; wait while another process holds it.

    It works between processes of one machine. The kernel frees it when the process dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_or_make(lock: Path, read: Callable[[], T | None], make: Callable[[], object]) -> T:
    """Return what `read` returns, after `make` if there is nothing to read.

    Of processes that ask at once one makes it, and the others wait for it at `lock`.
    """
    found = read()
    if found is None:
        with exclusive(lock):
            found = read()  # another process may have been first
            if found is None:
                make()
                found = read()
    assert found is not None, f"{lock}: what was just made cannot be read"
    return found


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
