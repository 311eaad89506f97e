"""Files that a user names."""

from pathlib import Path

import pytest

from sweeper.commands.results import write_file
from sweeper.errors import StorageFull, UsageError


def test_text_and_bytes_are_written_and_replace_what_was_there(tmp_path):
    path = tmp_path / "page.html"
    write_file(path, "é")
    assert path.read_bytes() == "é".encode()
    write_file(path, b"\x00")
    assert path.read_bytes() == b"\x00"


def test_no_folder_or_a_folder_is_the_users_mistake(tmp_path):
    with pytest.raises(UsageError, match="is no folder"):
        write_file(tmp_path / "none" / "a", "x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is no folder"):
        write_file(tmp_path / "file" / "a", "x")
    with pytest.raises(UsageError, match="is a folder"):
        write_file(tmp_path, "x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_to_be_full():
    with pytest.raises(StorageFull, match="No space left"):
        write_file(Path("/dev/full"), "x")
