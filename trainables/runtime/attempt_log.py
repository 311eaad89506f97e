"""What an attempt prints, kept in its folder, so that it can be followed and outlives a crash."""

import faulthandler
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["LOG", "append", "capturing"]

LOG = "log.txt"
_open: list[BinaryIO] = []  # the logs that are written to: the last one, as streams are kept by
# handlers of `logging` that outlive the attempt in which they were made


class Tee(io.TextIOBase):
    """Writes to a stream, and a copy to the log that is open, which may fail."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
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
    """Appends to the folder's log at once all that Python prints meanwhile, on both streams, which
    go on as before; and the stack, should the process die of a fault. Where the log cannot be
    written there is none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = (folder / LOG).open("ab", buffering=0)
    except OSError:
        yield
        return
    with log, _faults_into(log), redirect_stdout(Tee(sys.stdout)), redirect_stderr(Tee(sys.stderr)):
        _open.append(log)
        try:
            yield
        finally:
            _open.remove(log)


def append(folder: Path, line: str) -> None:
    """Appends a line to the folder's log, from any thread; where that cannot be, nothing."""
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
