"""The files of a program that a job takes along."""

import os
from pathlib import Path

import pytest

from sweeper.driver import program_files
from sweeper.driver.program_files import copied
from sweeper.errors import UsageError
from trainables.methods.program import name_there

SENT = ("mine.py", "run.sh", "package/__init__.py", "package/images/x.png", "empty.txt")
LEFT_OUT = (
    ".git/config", ".env", "__pycache__/mine.pyc", "mlruns/1/artifact", "mlflow.db",
    "sweeps/mine/trials/0/weights", "old/ledger.db", "venv/pyvenv.cfg", "home/data/x.npy",
    "elsewhere/data.npy",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a program, in which there are a SWEEPER_HOME and sweeps."""
    folder = tmp_path / "project"
    for name in (*SENT, *LEFT_OUT):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name if name != "empty.txt" else "")
    (folder / "run.sh").chmod(0o755)
    (folder / "elsewhere").rename(tmp_path / "elsewhere")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "broken").symlink_to("nowhere")
    monkeypatch.setenv("SWEEPER_HOME", str(folder / "home"))
    monkeypatch.chdir(folder)
    return folder


def test_its_files_are_sent_without_those_of_sweeps_and_hidden_ones(folder):
    with copied([str(folder), str(folder)]) as (module,):
        place = module / name_there(str(folder))
        files = [path for path in place.rglob("*") if path.is_file()]
        assert {str(path.relative_to(place)) for path in files} == set(SENT)
        assert os.access(place / "run.sh", os.X_OK)
        assert (place / "mine.py").read_text() == "mine.py"
    assert not module.exists()
    with copied([]) as modules:
        assert modules == []


def test_too_large_a_folder_or_none_is_a_fault(folder, monkeypatch):
    total = sum((folder / name).stat().st_size for name in SENT)
    monkeypatch.setattr(program_files, "MAX_BYTES", total)
    with copied([str(folder)]):
        pass
    monkeypatch.setattr(program_files, "MAX_BYTES", total - 1)
    message = "its files take more than .* MiB that a job takes along. Keep data outside"
    with pytest.raises(UsageError, match=message), copied([str(folder)]):
        pass
    with pytest.raises(UsageError, match="/gone: the program was in"), copied(["/gone"]):
        pass
