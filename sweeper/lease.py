"""A sweep's lease: one driver a sweep, by a lock that the system frees when its holder dies."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweeper.errors import SweepIsHeld


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Holds the lease of the sweep in `folder`; that of a dead process is replaced at once.

    Raises:
        SweepIsHeld: Another process runs this sweep; the text says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lease.json", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(file.read())
            raise SweepIsHeld(
                f"sweep `{folder.name}` is running ({holder}); follow it with "
                f"`sweeper status {folder.name}`, or launch under another --name."
            ) from None
        mine = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
        file.seek(0)
        file.truncate()
        file.write(json.dumps(mine))
        file.flush()
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()


def is_held(folder: Path) -> bool:
    """Says whether a living process of this host holds the sweep's lease."""
    path = folder / "lease.json"
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _holder(text: str) -> str:
    try:
        holder: dict[str, Any] = json.loads(text)
    except ValueError:
        return "its holder just started"
    since = time.strftime("%H:%M:%S", time.localtime(holder["since"]))
    return f"host {holder['host']}, pid {holder['pid']}, since {since}"
