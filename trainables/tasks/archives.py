"""Archives of other people, unpacked without trust.

Only the members that a layout has a use for are written, as plain files below one folder. Refused
are a path that is absolute or leads out of the folder, a link in the place of a file, and what
grows beyond reason: a published archive is a few times smaller than what it holds, a bomb a
thousand times.
"""

import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, Protocol, TypeVar, runtime_checkable

from trainables.errors import DataError

__all__ = ["Bounded", "Stream", "is_archive", "unpack", "unpacked"]

GROWTH = 100  # times an archive's own size, at most, that its files may have
ALWAYS = 2**26  # bytes that any archive may unpack to
BLOCK = 2**20
DAMAGE = (
    *(OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError),
    *(RuntimeError, NotImplementedError, ValueError),  # encrypted, unknown compression
)

T = TypeVar("T")


class _Member(NamedTuple):
    name: str
    is_file: bool
    open: Callable[[], IO[bytes] | None]


@runtime_checkable
class Stream(Protocol):
    """What is read from its beginning to its end."""

    def read(self, size: int = -1, /) -> bytes: ...
    def readline(self, size: int = -1, /) -> bytes: ...


class Bounded:
    """A stream that is read up to `limit` bytes, and no further.

    Raises:
        ValueError: More was asked for than that, or is there.
    """

    def __init__(self, file: Stream, limit: int, name: str) -> None:
        self._file, self._left, self.name = file, limit, name
        self._fault = f"it unpacks to more than {limit} bytes"

    def read(self, size: int = -1, /) -> bytes:
        if size > self._left:
            raise ValueError(self._fault)
        return self._count(self._file.read(self._left + 1 if size < 0 else size))

    def readline(self, size: int = -1, /) -> bytes:
        return self._count(self._file.readline(self._left + 1 if size < 0 else size))

    def _count(self, content: bytes) -> bytes:
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(self._fault)
        return content


def is_archive(path: Path) -> bool:
    """Returns whether a path is a .zip or a .tar, compressed or not."""
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


def unpacked(files: Sequence[Path], scratch: Path, wanted: re.Pattern[str]) -> list[Path]:
    """Returns `files`, with each archive among them replaced by a folder of what it holds."""
    return [
        unpack(path, scratch / f"unpacked-{number}", wanted) if is_archive(path) else path
        for number, path in enumerate(files)
    ]


def unpack(path: Path, folder: Path, wanted: re.Pattern[str]) -> Path:
    """Writes the members of an archive in whose path `wanted` is found, and returns `folder`.

    Raises:
        DataError: The archive is damaged, is none, or must not be trusted.
        OSError: The disk is full.
    """
    most = max(ALWAYS, GROWTH * path.stat().st_size) if path.is_file() else 0
    written = 0
    folder.mkdir(parents=True, exist_ok=True)
    for member in _guarded(path, _members(path)):
        parts = PurePosixPath(member.name.replace("\\", "/")).parts
        if member.name.startswith(("/", "\\")) or ".." in parts or ":" in (parts or ("",))[0]:
            raise _refused(path, f"its member {member.name} would be outside the destination")
        if not wanted.search("/".join(parts)) or member.name.endswith("/"):
            continue
        if not member.is_file:
            raise _refused(path, f"its member {member.name} is no plain file")
        target = folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for block in _guarded(path, _blocks(member)):
                written += len(block)
                if written > most:
                    raise _refused(path, f"it unpacks to more than {most} bytes, as no data do")
                file.write(block)
    return folder


def _members(path: Path) -> Iterator[_Member]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                is_link = (entry.external_attr >> 16) & 0o170000 == 0o120000
                yield _Member(entry.filename, not is_link, partial(archive.open, entry))
    else:
        with tarfile.open(path) as tar:
            for info in tar:
                if not info.isdir():
                    yield _Member(info.name, info.isfile(), partial(tar.extractfile, info))


def _blocks(member: _Member) -> Iterator[bytes]:
    opened = member.open()
    assert opened is not None, "a member that is a file can be opened"
    with opened:
        while block := opened.read(BLOCK):
            yield block


def _guarded(path: Path, items: Iterator[T]) -> Iterator[T]:
    """Yields `items`, whose faults are those of the archive."""
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except DAMAGE as error:
            raise _refused(path, f"it is no archive that can be read ({error})") from error
        yield item


def _refused(path: Path, fault: str) -> DataError:
    return DataError(f"{path}: {fault}. Fetch the published archive again.")
