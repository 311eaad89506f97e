"""A guarded reader of untrusted archives: .zip and .tar, compressed or not, and .gz.

Only the members that a layout needs are written, as plain files below one folder. The reader
refuses absolute paths, paths that leave the folder, links in place of files, truncated archives,
and archives that unpack to far more than their size. A published archive is a few times smaller
than its content, a decompression bomb a thousand times.

Any error of a library in reading an archive becomes a `DataError` that names the file and the
position of the error.
"""

import bz2
import gzip
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, NoReturn

from trainables.errors import DataError
from trainables.tasks.formats.files import (
    BinaryFile,
    Bounded,
    blamed,
    damaged,
    open_regular,
    shown,
)

GROWTH = 100  # maximal ratio of the unpacked size to the size of the archive
ALWAYS = 2**26  # bytes that every archive may unpack to, whatever its size
MAX_MEMBERS = 2_000_000  # published archives have fewer than 700,000
MAX_HEADER = 2**20  # maximal bytes of one member's long name or attributes in a .tar
HEAD = 512  # bytes that identify a .tar
BLOCK = 2**20
WAY_OUT = "Fetch the published archive again"
SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
MAGIC = {b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File, b"\xfd7zXZ\x00": lzma.LZMAFile}
LONG_HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)


class _Member(NamedTuple):
    name: str
    is_file: bool
    open: Callable[[], IO[bytes] | None]


def is_archive(path: Path) -> bool:
    """Return whether a path is a .zip or a .tar, compressed or not. It may be damaged."""
    if not path.is_file():
        return False
    if path.name.lower().endswith(SUFFIXES):
        return True
    try:
        with open_regular(path) as raw:
            if _is_zip(raw):
                return True
            with _decompressed(raw) as plain:
                return _begins_a_tar(plain.read(HEAD))
    except Exception:  # not recognisable as an archive
        return False


def find_archives(
    files: Sequence[Path], published: str | None, holding: re.Pattern[str]
) -> list[Path]:
    """Return the archives among `files` to read. Other files are not opened.

    Args:
        files: Files that a user gave.
        published: The published name of the archive. If a file has this name, the function returns
            this file alone.
        holding: Pattern of the path of a member of the wanted archive.

    Raises:
        DataError: An archive is damaged, no other archive has such a member, and `files` has no
            folder.
    """
    if meant := [path for path in files if path.name == published and path.is_file()]:
        return meant
    found, faults = [], []
    for path in files:
        if is_archive(path):
            try:
                if any(holding.search(member.name) for member in _guarded_members(path)):
                    found.append(path)
            except DataError as error:
                faults.append(error)
    # A folder beside them may hold everything, and then a damaged archive does no harm.
    if faults and not found and not any(path.is_dir() for path in files):
        raise faults[0]
    return found


@contextmanager
def unpacked(
    archives: Sequence[Path], scratch: Path, wanted: re.Pattern[str]
) -> Iterator[list[Path]]:
    """Unpack each archive, and yield the folders of their contents.

    Args:
        archives: The archives.
        scratch: Folder for the contents.
        wanted: Pattern of the paths of the members to unpack.

    Raises:
        DataError: As `unpack`. Errors raised in the block name the archive and the member instead
            of an unpacked file.
    """
    folders = {scratch / f"unpacked-{number}": path for number, path in enumerate(archives)}
    for folder, path in folders.items():
        unpack(path, folder, wanted)
    try:
        yield list(folders)
    except DataError as error:
        text = str(error)
        for folder, path in folders.items():
            text = text.replace(f"{folder}/", f"{path}: ").replace(str(folder), str(path))
        raise DataError(text) from error


def unpack(path: Path, folder: Path, wanted: re.Pattern[str]) -> Path:
    """Write the members of an archive whose paths match `wanted`, and return `folder`.

    Raises:
        DataError: The file is no archive, or it is damaged or unsafe.
        OSError: The disk is full.
    """
    most = _most(path)
    written = 0
    folder.mkdir(parents=True, exist_ok=True)
    # The declared sizes of members may be wrong, so the written bytes are counted.
    for member in _guarded_members(path):
        # Archives from Windows may have backslashes, which are signs of a name here.
        parts = PurePosixPath(member.name.replace("\\", "/")).parts
        if member.name.startswith(("/", "\\")) or ".." in parts or ":" in (parts or ("",))[0]:
            _refuse(path, f"its member {shown(member.name)} would be outside the destination")
        if not wanted.search("/".join(parts)) or member.name.endswith("/"):
            continue
        if not member.is_file:
            _refuse(path, f"its member {shown(member.name)} is no plain file")
        with _create(path, folder.joinpath(*parts), member.name) as file:
            for block in _blocks(path, member):
                written += len(block)
                if written > most:
                    _refuse(path, f"it unpacks to more than {most} bytes, unlike published data")
                file.write(block)
    return folder


@contextmanager
def open_member(path: Path, name: str, most: int) -> Iterator[Bounded]:
    """Open a member of a .zip. Its checksum is verified at the end of the block.

    `most` is the largest number of unpacked bytes.

    Raises:
        DataError: The member is missing, larger than `most` bytes, or damaged.
    """
    with open_regular(path) as raw, _blamed(path, raw), zipfile.ZipFile(raw) as archive:
        if name not in archive.namelist():
            _refuse(path, f"it has no member {name}")
        # This refuses an honest large member. `Bounded` stops one that declares a false size.
        if archive.getinfo(name).file_size > most:
            _refuse(path, f"its member {name} unpacks to more than {most} bytes")
        with archive.open(name) as file:
            yield Bounded(file, most, f"{path}: {name}")
            _read_on(file, most)


@contextmanager
def open_gzip(path: Path, most: int) -> Iterator[Bounded]:
    """Open the content of a .gz. Its checksum is verified at the end of the block.

    `most` is the largest number of unpacked bytes.

    Raises:
        DataError: The file is damaged, or its content is larger than `most` bytes.
    """
    with open_regular(path) as raw, _blamed(path, raw), gzip.GzipFile(fileobj=raw) as file:
        yield Bounded(file, most, str(path))
        _read_on(file, most)


def _create(archive: Path, target: Path, name: str) -> IO[bytes]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("wb")
    except (FileExistsError, NotADirectoryError, IsADirectoryError, ValueError) as error:
        _refuse(archive, f"its member {shown(name)} cannot be a file beside the others ({error})")
    except OSError as error:
        # A name beyond the limits of Linux is a fault of the archive. A full disk is none.
        if len(target.name.encode(errors="surrogateescape")) > 255 or len(str(target)) > 4000:
            _refuse(archive, f"its member {shown(name)} has too long a name")
        raise error


def _most(path: Path) -> int:
    return max(ALWAYS, GROWTH * path.stat().st_size) if path.is_file() else 0


def _guarded_members(path: Path) -> Iterator[_Member]:
    """Yield the members of an archive. Errors name the archive."""
    with open_regular(path) as raw:
        members = _members(path, raw)
        for _ in range(MAX_MEMBERS):
            with _blamed(path, raw):
                member = next(members, None)
            if member is None:
                return
            yield member
        _refuse(path, f"it has more than {MAX_MEMBERS} members, unlike published data")


def _blocks(path: Path, member: _Member) -> Iterator[bytes]:
    opened = None
    try:
        opened = member.open()
        assert opened is not None, "a member that is a file can be opened"
        while block := opened.read(BLOCK):
            yield block
    except Exception as error:  # a damaged archive may raise anything
        read = f"at byte {opened.tell()} of it; " if opened is not None else ""
        reason = shown(str(error)) or type(error).__name__
        reason += f"; {read}the archive ends at byte {path.stat().st_size}"
        fault = f"its member {shown(member.name)} cannot be read ({reason})"
        raise damaged(path, fault, WAY_OUT) from error
    finally:
        if opened is not None:
            opened.close()


def _members(path: Path, raw: IO[bytes]) -> Iterator[_Member]:
    if _is_zip(raw):
        with zipfile.ZipFile(raw) as archive:
            for entry in archive.infolist():
                # The upper 16 bits are the mode of Unix, in which 0o120000 means a link.
                is_link = (entry.external_attr >> 16) & 0o170000 == 0o120000
                yield _Member(entry.filename, not is_link, partial(archive.open, entry))
        return
    with _decompressed(raw) as plain:
        most = _most(path)
        fault = f"it unpacks to more than {most} bytes, unlike published data"
        # A plain .tar is as long as its file. A compressed one is bounded while it is read, members
        # that are skipped included.
        limit = most + 2 * BLOCK if plain is not raw else 2**62
        yield from _tar_members(Bounded(plain, limit, str(path), fault))
        if plain is not raw:
            _read_on(plain, ALWAYS)


def _tar_members(file: Bounded) -> Iterator[_Member]:
    with tarfile.TarFile(fileobj=file, tarinfo=_Header) as tar:  # type: ignore[arg-type]
        before = -1
        while (info := tar.next()) is not None:
            # A header that leads back would be read for ever.
            if info.offset <= before:
                raise ValueError("its members overlap or are out of order")
            before = info.offset
            tar.members.clear()  # type: ignore[attr-defined]  # otherwise the list fills memory
            if not info.isdir():
                yield _Member(info.name, info.isfile(), partial(tar.extractfile, info))


class _Header(tarfile.TarInfo):
    """The header of a member. Unlike in `tarfile`, damage is an error, not the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        """Parse a header.

        Raises:
            EOFHeaderError: This is the regular end of the archive.
            ValueError: The file is truncated, or the header is damaged.
        """
        if len(buf) != tarfile.BLOCKSIZE:
            raise ValueError("it was cut short: it has no closing block")
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise ValueError(f"a header is damaged: {error}") from error
        if header.size < 0 or (header.type in LONG_HEADERS and header.size > MAX_HEADER):
            raise ValueError(f"a header declares {header.size} bytes")
        return header


def _is_zip(raw: IO[bytes]) -> bool:
    raw.seek(0)
    head = raw.read(4)
    # Other bytes may come before a .zip, whose list of members is at its end.
    found = head in (b"PK\x03\x04", b"PK\x05\x06") or zipfile.is_zipfile(raw)
    raw.seek(0)
    return found


@contextmanager
def _decompressed(raw: IO[bytes]) -> Iterator[BinaryFile]:
    raw.seek(0)
    head = raw.read(max(map(len, MAGIC)))
    raw.seek(0)
    for magic, kind in MAGIC.items():
        if head.startswith(magic):
            # The first parameter of `GzipFile` is a name alone.
            with kind(raw, "rb") if kind is not gzip.GzipFile else kind(fileobj=raw) as plain:
                yield plain
            return
    yield raw


def _begins_a_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _read_on(file: BinaryFile, most: int) -> None:
    """Read a compressed file to its end, so that the library checks its checksum."""
    left = most
    while block := file.read(BLOCK):
        left -= len(block)
        if left < 0:
            raise ValueError(f"more than {most} bytes follow what is of use")


@contextmanager
def _blamed(path: Path, raw: IO[bytes]) -> Iterator[None]:
    """Convert errors of libraries to a `DataError` with the archive and the position."""
    with blamed(path, "it is no archive that can be read", WAY_OUT, file=raw):
        try:
            yield
        except zipfile.BadZipFile:
            # A file without its list of members was cut short: its size says more than the error.
            if zipfile.is_zipfile(raw):
                raise
            size = path.stat().st_size
            _refuse(path, f"it was cut short at byte {size}: a .zip ends with a list of members")


def _refuse(path: Path, fault: str) -> NoReturn:
    raise damaged(path, fault, WAY_OUT)
