"""Ledgers that nothing can be done with, or that can only be read: rows 91 to 93."""

import contextlib
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from sweeper.ledger import Ledger
from sweeper.ledger.backup import back_up, copy_of
from sweeper.planning import resuming
from sweeper.planning.catalog import catalog
from sweeper.spec.loader import loads_sweep
from tests.bad_inputs.rows import VALID, Command, Told
from tests.support.compared_ledgers import Scores, write
from tests.support.mounts import read_only
from tests.support.trials import COMPLETE, begin, measured, sampled


@pytest.fixture
def finished(command: Command) -> Path:
    """The ledger's file of a sweep of eight trials that has run to its end."""
    folder = command.folder / "sweeps" / "study"
    ledger = Ledger.in_folder(folder)
    sweep = loads_sweep(VALID, catalog(), profile="paper")
    resuming.match(ledger, sweep, VALID)
    ledger.start({})
    (plan,) = sweep.studies
    last = measured(1, 0.5, is_final=True)
    for number in range(plan.num_trials):
        attempt = begin(ledger, sampled(plan.name, number))
        ledger.measure(plan.name, number, attempt, last, COMPLETE)
    ledger.end("finished")
    ledger.note_mirror("mlflow", {"cursor": str(ledger.count_events())})
    ledger.close()
    return folder / "ledger.db"


def test_row_91_a_finished_sweep_has_nothing_to_do(command, finished):
    (command.folder / "x.yaml").write_text(VALID)
    for words in (("resume", "study"), ("launch", "x.yaml", "--profile", "paper")):
        told = command(*words)
        assert told.code == 0
        assert told.err == ["study is finished (8 of 8 trials); nothing to do."]


@pytest.mark.parametrize("words", ["status study", "resume study", "report study", "sync study"])
def test_row_92_a_ledger_of_a_newer_sweeper_is_told(command, finished, words):
    with sqlite3.connect(finished) as connection:
        connection.execute("update sweeper_schema set version = 99")
    connection.close()
    told = command(*words.split())
    assert (told.code, told.out) == (2, [])
    (line,) = told.err
    assert line.startswith(f"sweeper: sqlite:///{finished} was written by a newer sweeper (ledger ")
    assert line.endswith("upgrade sweeper.")


DAMAGES = {
    "no database": lambda content: b"x" * len(content),
    "a page": lambda content: content[:4096] + b"\xff" * (len(content) - 4096),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("words", ["status study", "resume study"])
def test_row_93_a_damaged_ledger_is_told_with_its_copy(command, finished, words, damage):
    back_up(finished)
    whole = finished.read_bytes()
    finished.write_bytes(damage(whole))
    told = command(*words.split())
    assert (told.code, told.out) == (2, [])
    (line,) = told.err
    copy = finished.with_name("ledger.backup.db")
    assert line.startswith(f"sweeper: the ledger at sqlite:///{finished} is damaged (")
    assert f"is in {copy}: move {finished}, its -wal and its -shm away, put the copy in" in line
    for file in finished.parent.glob("ledger.db*"):
        file.unlink()
    copy.rename(finished)
    assert command("status", "study").code == 0


@pytest.mark.parametrize("words", ["status study", "resume study", "launch x.yaml"])
@pytest.mark.parametrize("is_there", [True, False], ids=["emptied", "deleted"])
def test_row_93_an_emptied_ledger_is_damaged_and_nothing_starts(command, finished, words, is_there):
    (command.folder / "x.yaml").write_text(VALID)
    back_up(finished)
    copy = copy_of(finished)
    kept = copy.read_bytes()
    for file in finished.parent.glob("ledger.db*"):
        file.unlink()
    if is_there:
        finished.touch()
    told = command(*words.split())
    assert (told.code, told.out) == (2, [])
    (line,) = told.err
    how = "is empty (0 bytes)" if is_there else "is missing"
    assert line.startswith(f"sweeper: the ledger at sqlite:///{finished} {how}. A copy of ")
    assert f" old) is in {copy}: move {finished}, its -wal and its -shm away" in line
    assert copy.read_bytes() == kept
    finished.unlink(missing_ok=True)
    copy.rename(finished)
    assert command("resume", "study").err == ["study is finished (8 of 8 trials); nothing to do."]


def test_row_93_without_a_copy_there_is_another_way_out(command, finished):
    finished.write_bytes(b"x" * 4096)
    (line,) = command("status", "study").err
    assert line.endswith("Restore it from a backup, or launch the sweep under another --name.")


@pytest.mark.parametrize(
    "words", ["status study", "resume study", "extend study --trials 9", "report study",
              "sync study", "compare study", "best study", "launch x.yaml"]
)  # fmt: skip
def test_row_93_trials_without_ledger_and_copy_are_a_loss_for_every_command(
    command, finished, words
):
    (command.folder / "x.yaml").write_text(VALID)
    for file in finished.parent.glob("*ledger*"):
        file.unlink()
    (finished.parent / "trials").mkdir(exist_ok=True)
    told = command(*words.split())
    assert (told.code, told.out) == (2, [])
    assert told.err == [
        f"sweeper: the ledger at sqlite:///{finished} is missing. Restore it from a backup, or "
        "launch the sweep under another --name."
    ]


def test_row_93_a_damaged_ledger_hides_no_other_sweep(command, finished):
    other = finished.parent.with_name("other")
    other.mkdir()
    (other / "ledger.db").write_bytes(b"x" * 4096)
    for words in (("ls",), ("status",)):
        told = command(*words)
        assert told.code == 0
        lines = [" ".join(line.split()) for line in told.out]
        assert "other unreadable 0" in lines
        assert any(line.startswith("study finished 1 8 complete") for line in lines)
        assert told.out[-1].startswith(f"other: the ledger at sqlite:///{other / 'ledger.db'} is ")


def test_row_93_a_damaged_note_of_a_cluster_is_told(command):
    note = command.folder / "sweeps" / "study" / "remote.json"
    note.parent.mkdir(parents=True)
    for text in ("", "[]", '{"name": "study"}'):
        note.write_text(text)
        told = command("status", "study")
        assert told.code == 2
        assert told.err[0].startswith(f"sweeper: {note}: no note of where the sweep is (")


def test_looking_at_a_folder_that_holds_no_sweep_writes_nothing(command):
    folder = command.folder / "sweeps" / "photos"
    folder.mkdir(parents=True)
    assert command("ls").code == 0
    assert command("status", "photos").code == 8
    assert not list(folder.iterdir())


def test_a_ledger_that_a_move_left_behind_is_not_begun_anew(command, finished):
    elsewhere = command.folder / "ledgers.db"
    (finished.parent / "storage.txt").write_text(f"sqlite:///{elsewhere}")
    finished.unlink()
    (command.folder / "x.yaml").write_text(VALID)
    for words in ("status study", "resume study", "launch x.yaml"):
        told = command(*words.split())
        assert told.code == 2
        assert (
            f"is not at sqlite:///{elsewhere}, as {finished.parent}/storage.txt says" in told.err[0]
        )
    assert not elsewhere.exists()


def test_a_database_without_the_sweep_whose_trials_are_here_is_damaged(command, finished):
    database = command.folder / "team.db"
    Ledger(f"sqlite:///{database}", "another").close()
    note = finished.parent / "storage.txt"
    note.write_text(f"sqlite:///{database}")
    finished.unlink()
    (finished.parent / "trials").mkdir()
    (command.folder / "x.yaml").write_text(VALID)
    told = command("launch", "x.yaml")
    assert told.code == 2
    assert "holds nothing of `study`, whose trials are in" in told.err[0]
    assert note.is_file()


TASK = "pdebench/advection_1d"
READ = (  # commands that only read; {out} is a folder that can be written
    "ls",
    "status study",
    "status study --failed",
    "best study",
    "best study --json",
    f"best study --study mona/{TASK}",
    "compare study",
    "compare study --html {out}/compare.html",
    "export study",
    "export study -o {out}/table.csv",
    "report study -o {out}/page.html",
    "logs study",
    f"logs study mona/{TASK}/1",
)


@pytest.fixture
def compared(command: Command) -> Path:
    """The folder of a finished sweep of two methods, with replicates."""
    folder = command.folder / "sweeps" / "study"
    scores = [Scores(method=m, task=TASK, best=(0.2, 0.21)) for m in ("mona", "nft")]
    ledger = write(folder, "study", scores)
    ledger.note_mirror("mlflow", {"cursor": str(ledger.count_events())})
    ledger.close()
    back_up(folder / "ledger.db")
    return folder


@pytest.mark.slow
def test_a_finished_sweep_that_can_only_be_read_is_read(command, compared, tmp_path):
    place, out = tmp_path / "archive #1 100%", tmp_path / "out"
    out.mkdir()
    with read_only(command.folder, place), contextlib.chdir(place):
        for words in READ:
            told = command(*words.format(out=out).split())
            assert (told.code, told.err) == (0, []), words
        for words in ("note study x", "report study", "resume study"):
            told = command(*words.split())
            assert told.code == 6, words
            assert len(told.err) == 1
    assert len(list(out.iterdir())) == 3


def test_a_killed_sweep_that_can_only_be_read_shows_its_latest_commits(command, compared, tmp_path):
    """They are in the log of WAL alone, which a process that closes its ledger empties."""
    ledger = Ledger.in_folder(compared)
    ledger.remark("the latest")
    killed = tmp_path / "killed" / "sweeps" / "study"
    shutil.copytree(compared, killed)
    ledger.close()
    assert (killed / "ledger.db-wal").stat().st_size
    place = tmp_path / "archive"
    with read_only(killed.parent.parent, place), contextlib.chdir(place):
        told = command("status", "study")
        assert told.code == 0
        assert any(line.endswith(": the latest") for line in told.out)


FLIPPED = ("status study --json", "best study --json", "compare study --json", "export study")


def shown(told: Told) -> list[str]:
    """Return the lines of a result that do not depend on when it is printed."""
    return [line for line in told.out if '"age_s"' not in line]


@pytest.mark.slow
def test_row_93_a_flipped_bit_is_damage_or_changes_no_result(command, compared):
    file, rng = compared / "ledger.db", random.Random(0)
    whole, damaged = file.read_bytes(), 0
    before = {words: shown(command(*words.split())) for words in FLIPPED}
    for _ in range(40):
        flipped, place = bytearray(whole), rng.randrange(len(whole))
        flipped[place] ^= 1 << rng.randrange(8)
        for words in FLIPPED:
            file.write_bytes(flipped)
            told = command(*words.split())
            if told.code:
                assert told.code == 2, told
                (line,) = told.err
                assert "A copy of " in line
                assert f"move {file}, its -wal and its -shm away, put the copy in its place" in line
                damaged += 1
            else:
                assert shown(told) == before[words], f"byte {place}"
    assert damaged > 10
