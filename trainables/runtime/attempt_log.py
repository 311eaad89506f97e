"""The log of an attempt in its folder.

It is unbuffered, so that a user can follow it and it survives a crash.
"""

import faulthandler
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from threading import get_ident
from typing import Any, BinaryIO

LOG = "log.txt"
# Open logs. Output goes to the last one. The list is global, because handlers of `logging` keep a
# stream longer than the attempt in which they were created.
_open: list[BinaryIO] = []
_filters: dict[int, Callable[[str], bool]] = {}  # by thread


class Tee(io.TextIOBase):
    """Stream that also writes to the open log. Errors of the log are ignored."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if (shows := _filters.get(get_ident())) is not None and not shows(text):
            return len(text)
        if _open:
            with suppress(OSError):
                _open[-1].write(text.encode(errors="backslashreplace"))
        written: int = self._stream.write(text)
        return written

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        descriptor: int = self._stream.fileno()
        return descriptor


@contextmanager
def capturing(folder: Path) -> Iterator[None]:
    """Copy Python's output on both streams to the folder's log, unbuffered, during the block.

    The streams work as before. If a fault ends the process, the log also receives the stack. If the
    log cannot be opened, there is no log.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = (folder / LOG).open("ab", buffering=0)
    except OSError:
        yield
        return
    # `faulthandler` keeps a descriptor, which another file may get after the log is closed: it is
    # restored with the streams.
    with log, _faults_into(log), redirect_stdout(Tee(sys.stdout)), redirect_stderr(Tee(sys.stderr)):
        _open.append(log)
        try:
            yield
        finally:
            _open.remove(log)


@contextmanager
def filtering(shows: Callable[[str], bool]) -> Iterator[None]:
    """Drop those texts that this thread prints during the block for which `shows` is false."""
    _filters[get_ident()] = shows
    try:
        yield
    finally:
        del _filters[get_ident()]


def append(folder: Path, line: str) -> None:
    """Append a line to the folder's log from any thread. Ignore errors."""
    with suppress(OSError), (folder / LOG).open("ab", buffering=0) as log:
        log.write(f"{line}\n".encode())


@contextmanager
def _faults_into(log: BinaryIO) -> Iterator[None]:
    was_enabled = faulthandler.is_enabled()
    faulthandler.enable(log)
    try:
        yield
    finally:
        faulthandler.disable()
        if was_enabled and sys.__stderr__ is not None:
            with suppress(OSError, ValueError):
                faulthandler.enable(sys.__stderr__)
