"""A small file system of a test's own, that can be filled."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def tmpfs(folder: Path) -> Iterator[None]:
    """Mount one of 2 MiB as `folder`; skip the test where that is not allowed."""
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system of its own")
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this root may mount nothing")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
