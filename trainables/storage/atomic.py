"""Atomic writes of files and folders, locks between processes, and hashes of files.

A write goes to a hidden path beside its target, is flushed to the disk, and is then renamed. A
reader therefore sees the former content or the new content, even if the writer is killed.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

T = TypeVar("T")


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a scratch path for the caller to write. Rename it to `path` at the end of the block.

    Args:
        path: The target. Its folder is created if needed.

    Raises:
        OSError: The file cannot be written. `path` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    try:
        yield aside
        sync(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty scratch folder. Rename it to `folder` at the end of the block.

    A killed process leaves its scratch folder behind. `clear_scratch` deletes it.

    Args:
        folder: The target. Its parent is created if needed.
        replace: Replace a former folder, and clear the scratch of killed processes first. The
            caller is the only writer. Otherwise `folder` must not exist.

    Raises:
        OSError: The folder cannot be written, or must not exist. `folder` is unchanged, and no
            scratch folder remains.
    """
    if replace:
        clear_scratch(folder)
    aside = _aside(folder)
    try:
        aside.mkdir(parents=True)
        yield aside
        # The content comes before the folder, whose names must not outlive it on a crash.
        for path in [*aside.rglob("*"), aside]:
            sync(path)
        if replace:
            put_in_place(aside, folder)
        else:
            aside.rename(folder)
            sync(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def put_in_place(made: Path, folder: Path) -> None:
    """Rename `made` to `folder`, and delete the former content.

    If the process is killed between the two renames, `put_back` undoes the first one.

    Args:
        made: The new content, on the same file system.
        folder: The target.

    Raises:
        OSError: A rename failed. `folder` is unchanged.
    """
    if folder.exists():
        folder.rename(_former(folder))
    try:
        made.rename(folder)
    except OSError:
        put_back(folder)
        raise
    sync(folder.parent)
    shutil.rmtree(_former(folder), ignore_errors=True)


def put_back(folder: Path) -> None:
    """Restore the former content if a process was killed between the renames of `put_in_place`."""
    former = _former(folder)
    if former.exists() and not folder.exists():
        former.rename(folder)
    shutil.rmtree(former, ignore_errors=True)


def clear_scratch(folder: Path) -> None:
    """Delete the scratch folders `.NAME.*` that killed processes left beside `folder`.

    Their former content is restored first, as by `put_back`.
    """
    put_back(folder)
    for leftover in folder.parent.glob(f".{folder.name}.*/"):
        shutil.rmtree(leftover, ignore_errors=True)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid4().hex[:12]}.partial")


def _former(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.former")


def sync(path: Path) -> None:
    """Flush a file, or the list of names of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock on the file `path`, created if needed. Wait while another process holds it.

    The lock works between the processes of one machine. The kernel releases it when the process
    ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file stays: if it were deleted, two processes could lock two files of one name.
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_or_make(lock: Path, read: Callable[[], T | None], make: Callable[[], object]) -> T:
    """Return the result of `read`. If it is None, call `make` first.

    Of several concurrent processes, one calls `make`, and the others wait for it at `lock`. The
    first `read` is outside the lock, so the content has to appear at once.

    Args:
        lock: Path of the lock file.
        read: Function that returns None if there is nothing to read.
        make: Function that makes the content for `read`, as a whole: by `new_file` or `new_folder`.
    """
    found = read()
    if found is None:
        with exclusive(lock):
            found = read()  # another process may have made it in the meantime
            if found is None:
                make()
                found = read()
    assert found is not None, f"{lock}: what was just made cannot be read"
    return found


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
