"""Archives of other people: what is wanted is unpacked below one folder, and nothing else."""

import io
import os
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from trainables.errors import DataError
from trainables.tasks.formats import archives
from trainables.tasks.formats.archives import Bounded, find_archives, is_archive, unpack, unpacked

ALL, WANTED = re.compile(""), re.compile(r"\.txt$")
FILES = {"data/a.txt": b"a" * 3000, "./data/b/c.txt": b"", "data/run.sh": b"rm"}


def write(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.mkdir("data")
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture(params=["a.zip", "a.tar", "a.tar.gz"])
def path(tmp_path, request) -> Path:
    return tmp_path / request.param


def test_what_is_wanted_is_unpacked_and_nothing_else(path, tmp_path):
    folder = unpack(write(path, FILES), tmp_path / "out", WANTED)
    found = {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*.*")}
    assert found == {"data/a.txt": b"a" * 3000, "data/b/c.txt": b""}


@pytest.mark.parametrize("name", ["/etc/a.txt", "../a.txt", "data/../../a.txt", "C:/a.txt"])
def test_a_path_out_of_the_folder_is_refused_wanted_or_not(path, tmp_path, name):
    for member in (name, name.replace(".txt", ".sh")):
        write(path, {member: b"x"})
        if path.suffix == ".zip":
            assert member in zipfile.ZipFile(path).namelist()
        with pytest.raises(DataError, match=rf"{path}: its member .* outside the destination"):
            unpack(path, tmp_path / "in" / "out", WANTED)
    assert not list(tmp_path.rglob("a.txt"))


def test_a_link_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("a.txt")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(info)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        entry = zipfile.ZipInfo("a.txt")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/hostname")
    for name in ("a.tar", "a.zip"):
        with pytest.raises(DataError, match=r"a\.txt is no plain file"):
            unpack(tmp_path / name, tmp_path / "out", WANTED)


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_bomb_is_left_before_it_fills_the_disk(tmp_path, monkeypatch, name):
    monkeypatch.setattr(archives, "ALWAYS", 2**20)
    bomb = write(tmp_path / name, {f"{i}.txt": bytes(2**22) for i in range(4)})
    with pytest.raises(DataError, match=rf"{bomb}: it unpacks to more than \d+ bytes"):
        unpack(bomb, tmp_path / "out", WANTED)
    assert sum(file.stat().st_size for file in (tmp_path / "out").iterdir()) <= 2**22


def test_what_is_no_whole_archive_is_named(path, tmp_path):
    whole = write(path, FILES).read_bytes()
    for content in (b"", b"noise" * 1000, whole[: min(700, len(whole) // 2)]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"{path}: it.* (byte|cut short)"):
            unpack(path, tmp_path / "out", WANTED)


def test_only_archives_are_replaced_by_folders(path, tmp_path):
    other = tmp_path / "b.txt"
    other.write_text("b")
    write(path, FILES)
    assert [is_archive(each) for each in (path, other, tmp_path)] == [True, False, False]
    assert find_archives([other, path, tmp_path], None, WANTED) == [path]
    with unpacked([path], tmp_path / "out", WANTED) as (folder,):
        assert (folder / "data" / "a.txt").is_file()


def test_a_bounded_stream_gives_what_there_is_and_no_more_than_its_limit():
    assert Bounded(io.BytesIO(b"one\ntwo"), 7, "x").read() == b"one\ntwo"
    stream = Bounded(io.BytesIO(b"one\ntwo"), 6, "x")
    assert stream.readline() == b"one\n"
    for size in (3, -1):
        with pytest.raises(ValueError, match="unpacks to more than 6 bytes"):
            stream.read(size)


def test_a_tar_that_ends_between_two_members_is_not_whole(tmp_path):
    path = write(tmp_path / "a.tar", {"a": b"1" * 512, "b": b"2" * 512})
    whole = path.read_bytes()
    for size in (1024, 1300, 2048):  # after a, in the header of b, and before the closing block
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=rf"a\.tar: it is no archive.*byte {size} of {size}"):
            unpack(path, tmp_path / "out", ALL)
    damaged = bytearray(whole)
    damaged[1024 + 10] ^= 1  # the name of b
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="a header is damaged"):
        unpack(path, tmp_path / "out", ALL)


def test_a_compressed_tar_is_read_to_its_sum(tmp_path):
    path = write(tmp_path / "a.tar.gz", {"a": b"1" * 512})
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tar\.gz: it is no archive.*CRC.*byte"):
        unpack(path, tmp_path / "out", ALL)


def test_names_that_would_do_harm_are_refused_and_shown_plainly(tmp_path):
    long, dark = "x" * 300 + ".txt", "a\u202e\n\x1b[2J/../b"
    for name, fault in (
        (long, "too long a name"),
        (dark, r"its member a\\u202e\\n\\x1b\[2J/\.\./b would be outside"),
    ):
        path = write(tmp_path / "a.tar", {name: b""})
        with pytest.raises(DataError, match=fault) as caught:
            unpack(path, tmp_path / "out", ALL)
        assert str(caught.value).isprintable()
    path = write(tmp_path / "a.tar", {"a": b"1", "a/b": b"2"})
    with pytest.raises(DataError, match="member a/b cannot be a file beside the others"):
        unpack(path, tmp_path / "out", ALL)


def test_a_header_that_declares_all_memory_is_refused(tmp_path):
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 2**33
    (tmp_path / "a.tar").write_bytes(name.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(DataError, match="a header declares 8589934592 bytes"):
        unpack(tmp_path / "a.tar", tmp_path / "out", ALL)


def test_members_without_end_are_left(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    path = write(tmp_path / "a.tar", {str(number): b"" for number in range(4)})
    with pytest.raises(DataError, match="more than 3 members"):
        unpack(path, tmp_path / "out", ALL)


def test_what_is_skipped_in_an_archive_is_bounded_too(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS", 2**20)
    path = write(tmp_path / "a.tar.gz", {"unwanted": bytes(2**24), "wanted": b""})
    with pytest.raises(DataError, match="it unpacks to more than"):
        unpack(path, tmp_path / "out", re.compile("^wanted"))


def test_a_truncated_member_names_the_member(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as written:
        written.writestr("a.txt", os.urandom(5000))
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip: its member a\.txt cannot be read .*; at byte"):
        unpack(path, tmp_path / "out", ALL)
