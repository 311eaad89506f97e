"""The command line, and where it writes: rows 48 and 87 to 95."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweeper.cli.main import run
from sweeper.console import stderr
from tests.bad_inputs.rows import VALID, Row, ids
from tests.support.command import ROOT


@dataclass(frozen=True)
class WordsRow:
    """Words of a command line that make no command."""

    number: int
    name: str
    words: str
    told: str


WORDS = [
    WordsRow(87, "a command", "lanuch x.yaml",
             "No such command 'lanuch'. Did you mean 'launch', 'plan'? See: sweeper --help"),
    WordsRow(87, "a command of data", "data lst",
             "No such command 'lst'. Did you mean 'list'? See: sweeper data --help"),
    WordsRow(87, "an option", "launch x.yaml --trails 3",
             "No such option: --trails (Possible options: --trials) See: sweeper launch --help"),
    WordsRow(88, "no file", "launch", "Missing argument 'file'. See: sweeper launch --help"),
    WordsRow(88, "two files", "launch x.yaml y.yaml",
             "Got unexpected extra argument(s) (y.yaml) See: sweeper launch --help"),
]  # fmt: skip
SETS = [
    Row(89, "a word for a number", VALID,
        "--set refine.lr: `fixed.refine.lr` must be a valid number, but got 'abc'.",
        options=("--set", "refine.lr=abc")),
    Row(89, "a bound", VALID, "--set parameters.meta.alpha.min: `parameters.meta.alpha.min` must "
        "be a number, but got 'abc'.", options=("--set", "parameters.meta.alpha.min=abc")),
    Row(89, "no such key", VALID, "--set nope: unknown key `nope`.", options=("--set", "nope=1")),
    Row(89, "a rate of no stage", VALID, "--set learning_rate: unknown key `learning_rate`. Write "
        "its stage: align.lr or warmup.lr or refine.lr", options=("--set", "learning_rate=1")),
    Row(89, "a rate of another name", VALID, "--set refine.learning_rate: unknown parameter "
        "`refine.learning_rate`. Did you mean `refine.lr`? The nearest of ",
        options=("--set", "refine.learning_rate=1")),
    Row(89, "no value", VALID, "--set search.trials: expected KEY=VALUE, such as search.trials=8 "
        "or refine.lr=1e-4.", options=("--set", "search.trials")),
    Row(89, "a key for another", VALID, "--set trials: unknown key `trials`. Write "
        "`search.trials`.", options=("--set", "trials=3")),
    Row(89, "a tag that runs", VALID, "--set tasks: tag `tag:yaml.org,2002:python/name:os.system` "
        "is not allowed", options=("--set", "tasks=!!python/name:os.system x")),
]  # fmt: skip


@pytest.mark.parametrize("row", WORDS, ids=ids(WORDS))
def test_words_that_make_no_command_are_told(command, row):
    told = command(*row.words.split())
    assert (told.code, told.out, told.err) == (2, [], [f"sweeper: {row.told}"])
    told = command(*row.words.split(), "--json")
    assert json.loads("\n".join(told.out))["error"]["type"] == "UsageError"
    assert told.err == [f"sweeper: {row.told}"]


@pytest.mark.parametrize("row", SETS, ids=ids(SETS))
def test_an_option_that_changes_nothing_is_told(command, row):
    assert len(command.tells(row).err) == 1


def test_row_48_a_folder_that_cannot_be_written_is_told(command):
    (command.folder / "sweeps").touch()
    (command.folder / "x.yaml").write_text(VALID)
    told = command("launch", "x.yaml", "--profile", "paper")
    assert (told.code, told.out) == (6, [])
    assert told.err[-1].startswith(f"sweeper: {command.folder / 'sweeps'}")
    assert told.err[-1].endswith("Free space, or work in a folder that can be written.")


NO_DATABASE = "--storage: not the URL of a database"


@pytest.mark.parametrize(
    ("url", "code", "fault"),
    [
        ("nosuch://host/name", 2, NO_DATABASE),
        ("file:///etc/passwd", 2, NO_DATABASE),
        ("./ledger.db", 2, NO_DATABASE),
        ("", 2, NO_DATABASE),
        ("not a url with hunter2", 2, NO_DATABASE),
        ("postgresql://user:hunter2@host:port/name", 2, NO_DATABASE),
        ("postgresql+nosuch://user:hunter2@host/name", 2, "--storage: no driver for postgresql+no"),
        ("sqlite:////no/such/folder/x.db", 5, "the ledger at sqlite:////no/such/folder/x.db does"),
    ],
)
def test_row_48_a_ledger_in_no_database_is_told(command, monkeypatch, url, code, fault):
    monkeypatch.setattr("sweeper.ledger.database.FIRST_PATIENCE_S", 0.1)
    (command.folder / "x.yaml").write_text(VALID)
    told = command("launch", "x.yaml", "--profile", "paper", "--storage", url)
    assert told.code == code
    (line,) = told.err
    assert line.startswith(f"sweeper: {fault}")
    assert "hunter2" not in line


NO_ADDRESS = [
    "file:///etc/passwd",
    "head",
    "http:/head:8265",
    "",
    "s3://bucket",
    "me:hush@head:6379",
]


@pytest.mark.parametrize("address", NO_ADDRESS)
@pytest.mark.parametrize("words", ["launch x.yaml", "launch x.yaml --detach", "resume study"])
def test_what_is_no_address_of_a_cluster_is_told(command, words, address):
    (command.folder / "x.yaml").write_text(VALID)
    told = command(*words.split(), "--address", address)
    assert told.code == 2
    (line,) = told.err
    assert line.startswith("sweeper: --address ")
    assert "write `local`, HOST:PORT of one that runs, or http://HOST:8265" in line
    assert not (command.folder / "sweeps").exists()


@pytest.mark.parametrize("option", ["password", "sslpassword", "oauth_client_secret", "PASSWORD"])
def test_row_48_a_secret_among_the_options_of_a_ledger_is_told(command, option):
    (command.folder / "x.yaml").write_text(VALID)
    url = f"postgresql+psycopg://me@host/name?sslmode=require&{option}=hunter2"
    for place in ((), ("--address", "http://127.0.0.1:9", "--detach")):
        told = command("launch", "x.yaml", "--profile", "paper", "--storage", url, *place)
        assert told.code == 2
        (line,) = told.err
        assert line.startswith("sweeper: --storage: a password among the options of a URL")


NAMED = ["status {}", "resume {}", "report {}", "sync {}", "stop {}", "cancel {}", "logs {}",
         "retry {} --failed", "rerun {} mona/x/0", "extend {} --trials 9", "diagnose {} mona 0",
         "diagnose {} mona/0", "resume {} --json"]  # fmt: skip


@pytest.mark.parametrize("words", NAMED)
def test_row_90_a_sweep_that_is_not_there_is_told(command, words):
    told = command(*words.format("nosuch").split())
    assert told.code == 8
    place = command.folder / "sweeps"
    assert told.err == [f"sweeper: unknown sweep `nosuch`: {place} does not exist."]
    for name in ("mona_pdebench", "fno_small"):
        (command.folder / "sweeps" / name).mkdir(parents=True)
    told = command(*words.format("mona_pdbench").split())
    message = (
        "unknown sweep `mona_pdbench`. Did you mean `mona_pdebench`? Known: fno_small, "
        f"mona_pdebench. Looked in {place}."
    )
    assert (told.code, told.err) == (8, [f"sweeper: {message}"])
    if "--json" in words:
        error = json.loads("".join(told.out))
        assert (error["exit_code"], error["error"]["message"]) == (8, message)
    else:
        assert told.out == []


def sweeper(folder: Path, *words: str, **options: object) -> "subprocess.Popen[bytes]":
    """Start a command of its own, its streams as given."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | dict(options.pop("env", {}))
    command = [sys.executable, "-m", "sweeper.cli.main", *words]
    return subprocess.Popen(command, cwd=folder, env=environment, **options)


@pytest.mark.slow
@pytest.mark.parametrize("words", [("data", "list"), ("data", "list", "--json"), ("schema",)])
def test_row_94_a_reader_that_leaves_ends_the_command_quietly(tmp_path, words):
    ours, theirs = os.pipe()
    os.close(ours)
    with sweeper(tmp_path, *words, stdout=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (141, b"")


def test_row_94_news_that_nobody_reads_end_nothing(monkeypatch):
    ours, theirs = os.pipe()
    os.close(ours)
    closed = os.fdopen(theirs, "w")
    monkeypatch.setattr(sys, "stderr", closed)
    console = stderr()
    for _ in range(3):
        console.print("still here")
    assert console.quiet
    with contextlib.suppress(BrokenPipeError):
        closed.close()


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_row_94_a_closed_stream_ends_nothing(tmp_path, closed):
    opened = subprocess.PIPE
    number = {"stdout": 1, "stderr": 2}[closed]
    streams = {"stdout": opened, "stderr": opened, "preexec_fn": lambda: os.close(number)}
    with sweeper(tmp_path, "schema", **streams) as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, b"")
    assert bool(out) == (closed == "stderr")


def test_row_94_a_working_folder_that_was_deleted_is_told(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for words in (["ls"], ["report", "x"], ["status", "x", "--json"]):
        assert run(words) == 2
        told = "the working folder was deleted: change into another one."
        captured = capsys.readouterr()
        assert captured.err == f"sweeper: {told}\n"
        assert (told in captured.out) == ("--json" in words)


@pytest.mark.slow
def test_row_94_a_disk_that_takes_no_output_is_told(tmp_path):
    with (
        Path("/dev/full").open("wb") as full,
        sweeper(tmp_path, "schema", stdout=full, stderr=subprocess.PIPE) as process,
    ):
        _, err = process.communicate(timeout=120)
    assert process.returncode == 6
    assert err.startswith(b"sweeper: no space left on device. Free space")


PLAIN = {"LC_ALL": "C", "NO_COLOR": "1", "COLUMNS": "40", "TERM": "xterm-256color"}
NAMES: dict[str, Callable[[Path], tuple[str, ...]]] = {
    "help": lambda folder: ("--help",),
    "help of a command": lambda folder: ("launch", "--help"),
    "a table": lambda folder: ("data", "list"),
    "a plan": lambda folder: ("plan", "x.yaml"),
    "a fault": lambda folder: ("validate", "é.yaml"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n == "a plan" else []) for n in NAMES]
)
def test_row_95_a_plain_terminal_gets_plain_text(tmp_path, name):
    (tmp_path / "x.yaml").write_text(VALID)
    (tmp_path / "é.yaml").write_text(VALID.replace("study", "größe"))
    words = NAMES[name](tmp_path)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with sweeper(tmp_path, *words, env=PLAIN, **streams) as process:
        out, err = process.communicate(timeout=120)
    assert out + err
    assert all(byte == 0x0A or 0x20 <= byte < 0x7F for byte in out + err), (out + err).decode()


@pytest.mark.slow
def test_row_95_an_encoding_that_lacks_a_letter_gets_it_escaped(tmp_path):
    encoding = {"PYTHONIOENCODING": "latin-1"}
    with sweeper(tmp_path, "validate", "日.yaml", env=encoding, stderr=subprocess.PIPE) as process:
        _, err = process.communicate(timeout=120)
    assert err == rb"sweeper: \u65e5.yaml: no such file." + b"\n"
