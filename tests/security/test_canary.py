"""The search for canaries finds them wherever they are, and commands that look leave none."""

import base64
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sweeper.cli.main import run
from tests.bad_inputs.rows import edit
from tests.support.canary import Canaries

SECRET = "canary0123456789abcdef"
CANARIES = Canaries({"PGPASSWORD": SECRET})


def in_a_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (a text, b text)")
        connection.execute("insert into t values (?, ?)", ("x" * 4000, "y" * 4000 + SECRET))
    connection.close()


def in_an_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", f"password={SECRET}")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text(f"a\n{SECRET}\n"),
        lambda path: path.write_text(f"postgresql://me:{SECRET}@host/x"),
        lambda path: path.write_bytes(b"\0" + SECRET.encode("utf-16-le")),
        lambda path: path.write_bytes(base64.b64encode(f"user:{SECRET}".encode())),
        in_a_database,
        in_an_archive,
        lambda path: path.with_name(f"{SECRET}.txt").touch(),
    ],
)
def test_a_secret_is_found_in_whatever_form(tmp_path, write):
    (tmp_path / "clean").write_text("nothing")
    assert CANARIES.found_in(tmp_path) == []
    write(tmp_path / "file")
    hits = CANARIES.found_in(tmp_path)
    assert hits
    assert all(hit.endswith(": PGPASSWORD") and "clean" not in hit for hit in hits)


def test_a_secret_is_found_in_a_text_and_in_the_arguments_of_a_process():
    assert CANARIES.found_in("a", f"x{SECRET}y") == ["text: PGPASSWORD"]
    assert CANARIES.found_in_arguments() == []
    command = [sys.executable, "-c", "input()", SECRET]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        (hit,) = CANARIES.found_in_arguments()
        assert hit.startswith(f"process {process.pid} ")
        process.communicate(b"\n")


COMMANDS = [
    ("validate", "x.yaml"),
    ("plan", "x.yaml"),
    ("plan", "x.yaml", "--json"),
    ("doctor",),
    ("doctor", "--json"),
    ("status", "study"),
    ("data", "list", "--json"),
    ("launch", "x.yaml", "--storage", "postgresql+nosuch://me:{PGPASSWORD}@host/x"),
    ("launch", "x.yaml", "--storage", "nosuch://me:{PGPASSWORD}@host/x"),
    ("launch", "x.yaml", "--storage", "postgresql+psycopg://host/x?password={PGPASSWORD}"),
    ("launch", "x.yaml", "--storage", "postgresql+psycopg://host/x?sslp%61ssword={PGPASSWORD}"),
    ("launch", "x.yaml", "--set", "tracking.uri=http://me:{HF_TOKEN}@host"),
    ("launch", "x.yaml", "--set", "tracking.uri=http://host?token={HF_TOKEN}"),
    ("launch", "x.yaml", "--set", "checkpoints.store=s3://key:{AWS_SECRET_ACCESS_KEY}@bucket"),
    ("launch", "x.yaml", "--set", "api_key={HF_TOKEN}"),
    ("launch", "x.yaml", "--set", "refine.token={HF_TOKEN}"),
    ("resume", "http://me:{HF_TOKEN}@host"),
    ("launch", "http://me:{HF_TOKEN}@host/x.yaml"),
    ("data", "verify", "http://me:{HF_TOKEN}@host"),
    ("sync", "http://me:{HF_TOKEN}@host"),
]


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS, ids=[" ".join(words) for words in COMMANDS])
def test_no_command_shows_or_keeps_a_secret(tmp_path, monkeypatch, capsys, words):
    canaries = Canaries.hatch()
    for name, value in canaries.environment.items():
        monkeypatch.setenv(name, value)
    uri = f"http://me:{canaries.environment['MLFLOW_TRACKING_PASSWORD']}@127.0.0.1:1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("SWEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    text = edit("trials: 8", "trials: 8, max_concurrent: 1")
    Path("x.yaml").write_text(text + "tracking: {uri: 'http://me:${env:SWEEPER_CANARY}@h'}\n")
    run([word.format(**canaries.environment) for word in words])
    told = capsys.readouterr()
    assert told.out + told.err
    assert "Traceback" not in told.out + told.err
    assert canaries.found_in(tmp_path, told.out, told.err) == []
