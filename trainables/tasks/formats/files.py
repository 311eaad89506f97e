"""Search for published files among the user's paths, and conversion of their numbers."""

import hashlib
import os
import stat
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

import numpy as np

from trainables.errors import DataError, TrainableError

DEPTH = 3  # depth of the search below a named folder, since archives may add a folder or two
MAX_SHOWN = 120  # maximal characters of a name or a reason in a message
MAX_FAULT = 1000  # maximal characters of a fault, since a hostile file may hold long names


@runtime_checkable
class BinaryFile(Protocol):
    """A file that is open for reading bytes, on disk or in an archive."""

    def read(self, size: int = -1, /) -> bytes: ...
    def readline(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


class Bounded:
    """A file of at most `limit` bytes, with a name for messages.

    Raises:
        ValueError: A read or a position exceeds the limit, or the content does.
    """

    def __init__(self, file: BinaryFile, limit: int, name: str, fault: str = "") -> None:
        self._file, self._limit, self.left, self.name = file, limit, limit, name
        self._fault = fault or f"it unpacks to more than {limit} bytes"

    def read(self, size: int = -1, /) -> bytes:
        # Python allocates this size before it reads, so that a false one could take all memory.
        if size > self.left:
            raise ValueError(self._fault)
        # One byte more than is left reveals content beyond the limit, without reading all of it.
        return self._count(self._file.read(self.left + 1 if size < 0 else size))

    def readline(self, size: int = -1, /) -> bytes:
        return self._count(self._file.readline(self.left + 1 if size < 0 else size))

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if whence or not 0 <= offset <= self._limit:
            raise ValueError(self._fault)
        self._file.seek(offset)
        self.left = self._limit - offset
        return offset

    def tell(self) -> int:
        return self._limit - self.left

    def _count(self, content: bytes) -> bytes:
        self.left -= len(content)
        if self.left < 0:
            raise ValueError(self._fault)
        return content


def open_regular(path: Path) -> IO[bytes]:
    """Open a file for reading bytes, without waiting for a device or a pipe.

    Raises:
        DataError: The file cannot be read, or it is no regular file.
    """
    try:
        file = open(path, "rb", opener=_at_once)  # noqa: SIM115
    except OSError as error:
        raise DataError(f"{path}: it cannot be read ({error.strerror}).") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise DataError(f"{path}: it is no regular file. Name the published file itself.")
    return file


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def shown(text: str, most: int = MAX_SHOWN) -> str:
    """Return untrusted text as one printable line of bounded length."""
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return plain if len(plain) <= most else f"{plain[:most]}…"


def damaged(
    path: Path | str, fault: str, hint: str = "Fetch the published file again"
) -> DataError:
    """Return the error for a file that differs from the published one."""
    return DataError(f"{path}: {shown(fault, MAX_FAULT)}. {hint}.")


@contextmanager
def blamed(
    path: Path | str,
    fault: str,
    hint: str = "Fetch the published file again",
    *,
    most: int = MAX_SHOWN,
    file: BinaryFile | None = None,
) -> Iterator[None]:
    """Convert any error of a library in reading a file to a `DataError` with its reason.

    Args:
        path: The file.
        fault: The fault in words.
        hint: Remedy at the end of the message.
        most: Characters of the reason.
        file: The open file, whose position the message gives.
    """
    try:
        yield
    except TrainableError:
        raise
    except Exception as error:  # a damaged file may raise anything
        lines = str(error).splitlines() or [type(error).__name__]
        reason = shown(lines[0], most)
        if file is not None:
            reason += f"; at byte {file.tell()} of {Path(path).stat().st_size}"
        raise damaged(path, f"{fault} ({reason})", hint) from error


def read_wav(path: Path, hint: str) -> tuple[int, np.ndarray]:
    """Return the sample rate and the samples [l] or [l, c] of a WAV file, as stored.

    Raises:
        DataError: The file is missing or truncated, or is no WAV file. `hint` ends the message.
    """
    from scipy.io import wavfile

    with (
        open_regular(path) as file,
        blamed(path, f"it is cut, or no WAV file, and has {path.stat().st_size} bytes", hint),
        warnings.catch_warnings(),
    ):
        # Warnings about chunks without sound are ignored; a truncated file is an error.
        warnings.simplefilter("ignore", wavfile.WavFileWarning)
        warnings.filterwarnings("error", "Reached EOF", wavfile.WavFileWarning)
        rate, samples = wavfile.read(file)
    return rate, samples


def find_root(files: Sequence[Path], marker: str) -> Path:
    """Return the folder that holds `marker`, in or below the named folders, or beside the files.

    Raises:
        DataError: No folder or several folders hold it.
    """
    folders = {path if path.is_dir() else path.parent for path in files}
    patterns = ["*/" * depth + marker for depth in range(DEPTH)]
    for pattern in patterns:  # the nearest first
        found = sorted(
            {path for folder in folders for path in folder.glob(pattern) if path.is_file()}
        )
        if len(found) == 1:
            return found[0].parents[marker.count("/")]
        if found:
            raise DataError(f"{found[0]} and {found[1]}: which of them? Name its folder alone.")
    where = ", ".join(map(str, files))
    raise DataError(
        f"{where}: no {marker} there, nor in the folders below. Unpack the published archive, and "
        f"name the folder that holds {marker}."
    )


def find_file(files: Sequence[Path], name: str) -> Path:
    """Return the file called `name` among `files`, or the nearest one in their folders.

    Raises:
        DataError: There is no such file.
    """
    if found := look_up(files, name):
        return found
    where = ", ".join(map(str, files))
    raise DataError(
        f"{where}: no {name} there. Name the published file, or a folder that holds it."
    )


def finds(*names: str) -> Callable[..., Mapping[str, Path]]:
    """Return the function `find` of a reader whose published files have these names.

    It raises a `DataError` if one is missing.
    """

    def find(files: Sequence[Path], *, seed: int = 0) -> Mapping[str, Path]:
        return {name: find_file(files, name) for name in names}

    return find


def look_up(files: Sequence[Path], name: str) -> Path | None:
    """Return the file as `find_file` does, or None if there is no such file."""
    named = [path for path in files if path.name == name]
    folders = [path for path in files if path.is_dir()]
    nested = [path.glob("*/" * depth + name) for path in folders for depth in range(DEPTH)]
    candidates = (path for paths in (named, *map(sorted, nested)) for path in paths)
    return next((path for path in candidates if path.is_file()), None)


def as_numbers(
    path: Path, name: str, stored: Any, hint: str = "Fetch the published file again"
) -> np.ndarray:
    """Return the object `name` of a file as an array of real numbers.

    Raises:
        DataError: It holds objects, text, complex numbers, or rows of different lengths.
    """
    try:
        array = np.asarray(stored)
        fault = "" if array.dtype.kind in "buif" else shown(f"it holds {array.dtype}")
    except (ValueError, TypeError, MemoryError) as error:  # text takes the space of the longest
        fault = shown(str(error))
    if fault:
        raise DataError(f"{path}: `{name}` is no array of numbers ({fault}). {hint}.")
    return array


def as_single(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Return numbers [n, ...] in single precision.

    Raises:
        DataError: A number is not finite, or too large for single precision.
    """
    # A number that is too large becomes infinite, and is reported with its row below.
    with np.errstate(over="ignore", invalid="ignore"):
        single = np.asarray(array, dtype=np.float32)
    finite = np.isfinite(single).reshape(len(single), -1).all(axis=1)
    if not finite.all():
        row, rest = int(finite.argmin()), int((~finite).sum()) - 1
        more = f", as in {rest} others" * bool(rest)
        raise DataError(
            f"{path}: `{name}` is not finite, or larger than single precision holds, in row "
            f"{row} (counted from 0){more}. Fetch the published file again."
        )
    return single


def md5_note(path: Path, published: str) -> tuple[str, list[str]]:
    """Return the MD5 sum of a file, and a note if it differs from the published one."""
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
    if md5 == published:
        return md5, []
    note = (
        f"{path.name}: its MD5 sum is {md5}, but the file published today has {published}. It is "
        "another edition, a part or a copy: numbers may not compare with published ones."
    )
    return md5, [note]
