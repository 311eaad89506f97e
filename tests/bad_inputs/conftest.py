import pytest

from sweeper.planning.catalog import catalog
from tests.bad_inputs.rows import Command


@pytest.fixture
def command(tmp_path, monkeypatch, capsys) -> Command:
    """A command to run in an empty folder, on a machine without GPUs."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SWEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    catalog()  # is read once a process
    return Command(folder, capsys)
