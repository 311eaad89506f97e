"""A launch in the background that ends at once: told with its exit code, and nothing is left."""

import os
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from sweeper.cli.main import run
from sweeper.commands import background, logs
from sweeper.console import stderr
from sweeper.planning.load import Options
from tests.bad_inputs.rows import VALID
from tests.support.fakes import new_ledger

CPU = VALID.replace("name: study", "name: study\nresources: {gpu: 0}")


@pytest.fixture
def folder(here: Path) -> Path:
    (here / "x.yaml").write_text(CPU)
    return here


def test_faults_of_the_file_are_told_and_nothing_is_started(folder, capsys):
    (folder / "x.yaml").write_text(CPU.replace("methods: [mona]", "methods: [monna]"))
    assert run(["launch", "x.yaml", "--profile", "paper", "--detach"]) == 2
    assert "Did you mean `mona`?" in capsys.readouterr().err
    assert not (folder / "sweeps").exists()


def test_an_error_of_the_launch_is_told_with_its_code_and_leaves_nothing(
    folder, monkeypatch, capsys
):
    says = "import sys; print('sweeper: held\\nsweeper: by another', file=sys.stderr); sys.exit(4)"
    monkeypatch.setattr(background.child, "command", lambda module: ["python3", "-c", says])
    assert run(["launch", "x.yaml", "--profile", "paper", "--detach"]) == 4
    assert capsys.readouterr().err.splitlines()[-2:] == ["sweeper: held", "sweeper: by another"]
    assert list((folder / "sweeps").iterdir()) == []


def test_a_password_of_the_ledger_goes_by_the_environment(folder):
    options = Options(profile="paper", storage="postgresql+psycopg://me:hush@db/x", sets=("a=b",))
    words, extra = background.launch_words(Path("x.yaml"), options)
    assert "hush" not in " ".join(words)
    assert words[-2:] == ["--storage", "postgresql+psycopg://me@db/x"]
    assert ("--set", "a=b") in pairwise(words)
    assert extra == {"PGPASSWORD": "hush"}


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_a_launch_that_is_running_is_left_alone(folder, monkeypatch):
    sleeps = ["python3", "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(background.child, "command", lambda module: sleeps)
    monkeypatch.setattr(background, "has_begun", lambda pid, *_: True)
    begun = background.launch(Path("x.yaml"), Options(profile="paper"), console=stderr())
    try:
        assert begun.exit_code == 0
        assert f"(process {begun.pid}); follow it with: sweeper logs -f study" in begun.message
        assert begun.log == folder / "sweeps" / "study" / "launch.log"
        assert os.getsid(begun.pid) == begun.pid
    finally:
        os.kill(begun.pid, 9)
        os.waitpid(begun.pid, 0)


def test_who_follows_a_sweep_is_told_that_its_driver_died(folder):
    with closing(new_ledger(folder / "sweeps")) as ledger:
        ledger.start({})
        (told,) = [line for line in logs.follow("s", None, forever=True) if "died" in line]
        assert told.endswith("to go on: sweeper resume s")
        ledger.end("finished")
        assert not [line for line in logs.follow("s", None, forever=True) if "died" in line]


def test_logs_tell_of_an_error_that_ended_it_later_but_of_none_before_the_last_event(folder):
    with closing(new_ledger(folder / "sweeps")) as ledger:
        ledger.start({})
        ledger.end("interrupted")
        log = folder / "sweeps" / "s" / logs.LAUNCH_LOG
        log.write_text("resuming\nsweeper: no data\nsweeper: at all\n")
        assert list(logs.follow("s", None, forever=False))[-2:] == ["no data", "at all"]
        os.utime(log, (1.0, 1.0))
        assert "at all" not in list(logs.follow("s", None, forever=False))
