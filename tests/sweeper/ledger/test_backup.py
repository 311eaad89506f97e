"""The copy that a ledger has beside it: taken in time, never by an emptier one, marked."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from sweeper.errors import UsageError
from sweeper.ledger import Ledger, backup
from sweeper.ledger.backup import back_up, copy_of, kept
from tests.support.ledgers import NAME, PROVENANCE, new_ledger, script
from tests.support.servers.process import wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a sweep that has begun."""
    folder = tmp_path / NAME
    folder.mkdir()
    return folder


def begun(folder: Path) -> Ledger:
    """Return the ledger of a sweep that has started."""
    ledger = new_ledger(folder)
    ledger.start(PROVENANCE)
    return ledger


def events_in(file: Path) -> int:
    if not file.is_file():
        return 0
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("select count(*) from events").fetchone()[0])


@pytest.mark.slow
def test_a_ledger_that_changes_is_copied_at_intervals_and_at_the_end(folder):
    ledger, file = new_ledger(folder), folder / "ledger.db"
    steps = script(ledger, folder)
    with kept(file, interval_s=0.02):
        for _ in range(3):
            next(steps)
            wait_until(
                lambda: events_in(copy_of(file)) == len(ledger.events()),
                timeout_s=30,
                what="the copy to have what the ledger has",
            )
        next(steps)
    assert events_in(copy_of(file)) == len(ledger.events()) == 4
    assert not list(folder.glob(".*"))


def test_only_a_copy_says_that_it_is_one(folder):
    ledger, file = begun(folder), folder / "ledger.db"
    back_up(file)
    assert not ledger.is_restored()
    ledger.close()
    copy_of(file).rename(file)
    with closing(Ledger.in_folder(folder)) as restored:
        assert restored.is_restored()


def test_a_sweep_that_has_not_started_has_no_copy(folder):
    new_ledger(folder).close()
    back_up(folder / "ledger.db")
    assert [file.name for file in folder.iterdir()] == ["ledger.db"]


def test_a_ledger_without_a_sweep_or_content_replaces_no_copy(folder):
    begun(folder).close()
    file = folder / "ledger.db"
    back_up(file)
    before = copy_of(file).read_bytes()
    with sqlite3.connect(file) as connection:
        connection.execute("delete from sweeps")
    connection.close()
    back_up(file)
    file.write_bytes(b"")
    back_up(file)
    file.write_bytes(b"x" * 4096)
    back_up(file)
    assert copy_of(file).read_bytes() == before
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("loss", ["emptied", "deleted", "without rows"])
def test_a_ledger_that_has_lost_its_content_is_damaged_and_its_copy_has_an_age(folder, loss):
    begun(folder).close()
    file = folder / "ledger.db"
    back_up(file)
    if loss == "without rows":
        with sqlite3.connect(file) as connection:
            connection.execute("delete from sweeps")
        connection.close()
    else:
        for part in folder.glob("ledger.db*"):
            part.unlink()
        if loss == "emptied":
            file.touch()
    how = {"emptied": "empty", "deleted": "missing", "without rows": "holds no sweep any more"}
    for _ in range(2):  # looking at it changes nothing
        with pytest.raises(UsageError, match=how[loss]) as told:
            Ledger.in_folder(folder)
        assert f"seconds old) is in {copy_of(file)}: move {file}" in str(told.value)


def test_a_folder_of_trials_speaks_of_an_earlier_ledger(folder):
    (folder / "ledger.db").touch()
    Ledger.in_folder(folder).close()  # a launch that was killed in its first moment
    (folder / "trials").mkdir()
    (folder / "ledger.db").write_bytes(b"")
    with pytest.raises(UsageError, match=r"is empty \(0 bytes\).*Restore it from a backup"):
        Ledger.in_folder(folder)
    (folder / "ledger.db").unlink()
    with pytest.raises(UsageError, match=r"is missing.*Restore it from a backup"):
        Ledger.in_folder(folder)


def test_a_new_sweep_has_a_copy_soon_after_its_start(folder, monkeypatch):
    monkeypatch.setattr(backup, "FIRST_S", 0.02)
    ledger, file = new_ledger(folder), folder / "ledger.db"
    with kept(file):
        ledger.start(PROVENANCE)
        wait_until(copy_of(file).is_file, timeout_s=30, what="the first copy")


@pytest.mark.parametrize(
    ("age_s", "shown"),
    [(5, "5 seconds"), (121, "2 minutes"), (170, "3 minutes"), (8000, "2 hours"), (2e5, "2 days")],
)
def test_an_age_is_said_in_the_unit_that_fits(tmp_path, age_s, shown):
    file = tmp_path / "ledger.db"
    copy_of(file).touch()
    at = time.time() - age_s
    os.utime(copy_of(file), (at, at))
    assert f"({shown} old)" in backup.way_back(file)
