"""Archives of other people: what is wanted is unpacked below one folder, and nothing else."""

import io
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from trainables.errors import DataError
from trainables.tasks.formats import archives
from trainables.tasks.formats.archives import Bounded, find_archives, is_archive, unpack, unpacked

WANTED = re.compile(r"\.txt$")
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
