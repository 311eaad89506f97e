"""Folders that take the place of others: the former content survives whatever fails."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from trainables.storage.atomic import (
    clear_scratch,
    new_file,
    new_folder,
    put_in_place,
    read_or_make,
)


def folder_with(path: Path, content: str) -> Path:
    path.mkdir(parents=True)
    (path / "file").write_text(content)
    return path


def test_what_is_made_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    data = folder_with(tmp_path / "data", "old")
    put_in_place(folder_with(tmp_path / ".data.1", "new"), data)
    assert (data / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_where_that_fails_the_former_content_goes_back(tmp_path: Path) -> None:
    data = folder_with(tmp_path / "data", "old")
    with pytest.raises(FileNotFoundError):
        put_in_place(tmp_path / "gone", data)
    assert (data / "file").read_text() == "old"


def test_so_it_does_where_a_process_was_killed_in_between(tmp_path: Path) -> None:
    data = tmp_path / "data"
    folder_with(tmp_path / ".data.former", "old")
    folder_with(tmp_path / ".data.2" / "made", "half")
    clear_scratch(data)
    assert (data / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_former_content_never_overwrites_what_is_there(tmp_path: Path) -> None:
    data = folder_with(tmp_path / "data", "new")
    folder_with(tmp_path / ".data.former", "old")
    clear_scratch(data)
    assert (data / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_new_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file"
    with new_file(path) as aside:
        aside.write_text("first")
        assert not path.exists()

    def interrupted() -> None:
        with new_file(path) as aside:
            aside.write_text("half of the seco")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_a_new_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "folder"

    def make(content: str, *, interrupt: bool = False) -> None:
        with new_folder(folder) as aside:
            (aside / "file").write_text(content)
            assert content == "other" or not folder.exists()
            if interrupt:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make("half", interrupt=True)
    assert list(folder.parent.iterdir()) == []
    make("whole")
    assert (folder / "file").read_text() == "whole"
    assert folder.stat().st_mode & 0o777 == 0o755
    with pytest.raises(OSError, match="not empty"):
        make("other")
    assert (folder / "file").read_text() == "whole"
    assert list(folder.parent.iterdir()) == [folder]


def test_what_is_made_once_is_read_by_all_others(tmp_path: Path) -> None:
    made, calls, barrier = tmp_path / "made", [], Barrier(2)

    def make() -> None:
        calls.append(1)
        with new_file(made) as aside:  # the other reads without the lock
            aside.write_text("content")

    def read() -> str | None:
        return made.read_text() if made.exists() else None

    def want(_: int) -> str:
        barrier.wait(timeout=60)
        return read_or_make(tmp_path / "lock", read, make)

    with ThreadPoolExecutor(2) as pool:  # the lock is on an open file, so it parts threads too
        assert [*pool.map(want, range(2))] == ["content"] * 2
    assert len(calls) == 1
