"""Claims: exclusive permissions to compute a result, held by one process at a time.

In a folder, a claim is a lock of the kernel, which is released when the process ends. A bucket has
no locks. There a claim is an object that its holder rewrites at regular intervals. A claim that was
not rewritten for `DEAD_S` seconds is void. Of several claims, the oldest wins. In rare cases two
processes may hold a claim at once. This is harmless, because both compute the same result.
"""

import fcntl
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

from trainables.errors import StorageError
from trainables.storage.files import TIMEOUT_S, Files, ask, list_files, write
from trainables.storage.urls import ArtifactUrl

TOUCH_S = 15.0  # seconds between two writes of an object
DEAD_S = 90.0  # seconds without a write after which a claim is void
SETTLE_S = 1.0  # seconds until concurrent claims are visible


@contextmanager
def try_claim(place: ArtifactUrl, *, timeout_s: float = TIMEOUT_S) -> Iterator[bool]:
    """Yield whether this process holds the claim at `place`, until the end of the block.

    Raises:
        StorageError: The store refuses a request or does not respond in time.
    """
    lend = lend_by_lock if place.folder is not None else lend_by_objects
    with lend(place, timeout_s) as mine:
        yield mine


@contextmanager
def lend_by_lock(place: ArtifactUrl, timeout_s: float) -> Iterator[bool]:
    """Yield whether this process holds a claim in a folder."""
    assert place.folder is not None
    try:
        place.folder.parent.mkdir(parents=True, exist_ok=True)
        file = place.folder.open("a")
    except OSError as error:
        raise StorageError(f"{place.label}: {error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:  # a file system without locks
            raise StorageError(f"{place.label}: cannot be locked: {error}") from error
        yield True


@contextmanager
def lend_by_objects(place: ArtifactUrl, timeout_s: float) -> Iterator[bool]:
    """Yield whether this process holds a claim in a bucket, which has no locks."""
    # A claim is written before the oldest one is determined, and all processes wait for concurrent
    # claims to appear. Only the holder of the oldest claim keeps rewriting it.
    me = uuid4().hex
    over, touching = threading.Event(), None
    if _living(place, timeout_s):
        yield False
        return
    _touch(place / me, timeout_s)
    try:
        time.sleep(SETTLE_S)
        # By the first write, and in a tie by the name, so that all processes choose the same one.
        mine = min(_living(place, timeout_s), key=lambda item: item[1:], default=(0, 0, me))[2]
        if mine == me:
            touching = threading.Thread(
                target=_touch_on, args=(place / f"{me}.alive", over, timeout_s), daemon=True
            )
            touching.start()
        yield mine == me
    finally:
        over.set()
        # A write that ends after the deletion would leave an object behind.
        if touching is not None:
            touching.join()
        _delete(place, [me, f"{me}.alive"], timeout_s)


def _touch_on(place: ArtifactUrl, over: threading.Event, timeout_s: float) -> None:
    while not over.wait(TOUCH_S):
        with suppress(StorageError):
            _touch(place, timeout_s)


def _living(place: ArtifactUrl, timeout_s: float) -> list[tuple[int, int, str]]:
    """Return the valid claims: the times of the last and the first write, and the holder.

    All times come from the store's clock. A probe object gives the current time of this clock, so
    that the clocks of the machines need not agree.
    """
    found = {name: info.mtime_ns for info, name in list_files(place, timeout_s)}
    # The names of probes and of later writes have an ending, those of claims have none.
    claims = [n for n in found if "." not in n]
    if not claims:
        return []
    touched = {name: max(found[name], found.get(f"{name}.alive", 0)) for name in claims}
    probe = f"{uuid4().hex}.now"
    _touch(place / probe, timeout_s)
    now = {name: info.mtime_ns for info, name in list_files(place, timeout_s)}.get(probe, 0)
    _delete(place, [probe], timeout_s)
    return [(touched[n], found[n], n) for n in claims if now - touched[n] < DEAD_S * 1e9]


def _touch(place: ArtifactUrl, timeout_s: float) -> None:
    ask(place, lambda files: write(files, io.BytesIO(b"claimed"), place.path), timeout_s)


def _delete(place: ArtifactUrl, names: list[str], timeout_s: float) -> None:
    def clear(files: Files) -> Any:
        for name in names:
            if files.get_file_info(f"{place.path}/{name}").is_file:
                files.delete_file(f"{place.path}/{name}")

    with suppress(StorageError):
        ask(place, clear, timeout_s)
