"""File systems of a test's own: one that can be filled, and one that only reads."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def tmpfs(folder: Path) -> Iterator[None]:
    """Mount one of 2 MiB as `folder`; skip the test where that is not allowed."""
    folder.mkdir()
    with _mounted(folder, ["-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]):
        yield


@contextmanager
def read_only(folder: Path, place: Path) -> Iterator[None]:
    """Mount a folder as `place` for reading alone; skip the test where that is not allowed."""
    place.mkdir()
    with _mounted(place, ["--bind", str(folder), str(place)]):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        yield


@contextmanager
def _mounted(place: Path, options: Sequence[str]) -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system of its own")
    if subprocess.run(["mount", *options], capture_output=True).returncode != 0:
        pytest.skip("this root may mount nothing")
    try:
        yield
    finally:
        subprocess.run(
            ["umount", "--lazy", str(place)], check=True
        )  # also if a failed test uses it
