"""Folders that take the place of others: the former content survives whatever fails."""

from pathlib import Path

import pytest

from trainables.storage.atomic import clear_scratch, put_in_place


def folder_with(path: Path, content: str) -> Path:
    path.mkdir(parents=True)
    (path / "file").write_text(content)
    return path


def test_what_is_made_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    data, scratch = folder_with(tmp_path / "data", "old"), tmp_path / ".data.1"
    put_in_place(folder_with(scratch / "made", "new"), data, scratch)
    assert (data / "file").read_text() == "new"


def test_where_that_fails_the_former_content_goes_back(tmp_path: Path) -> None:
    data, scratch = folder_with(tmp_path / "data", "old"), tmp_path / ".data.1"
    scratch.mkdir()
    with pytest.raises(FileNotFoundError):
        put_in_place(scratch / "gone", data, scratch)
    assert (data / "file").read_text() == "old"


def test_so_it_does_where_a_process_was_killed_in_between(tmp_path: Path) -> None:
    data, scratch = tmp_path / "data", tmp_path / ".data.1"
    folder_with(scratch / "replaced", "old")
    folder_with(tmp_path / ".data.2" / "made", "half")
    clear_scratch(data)
    assert (data / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_former_content_never_overwrites_what_is_there(tmp_path: Path) -> None:
    data = folder_with(tmp_path / "data", "new")
    folder_with(tmp_path / ".data.1" / "replaced", "old")
    clear_scratch(data)
    assert (data / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
