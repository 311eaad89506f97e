"""Every command as a program runs it: one JSON object by its schema, an exit code, no question."""

import re
from collections.abc import Iterator

import click
import pytest
import typer.main
from jsonschema import Draft202012Validator

from sweeper.cli import json_schema
from sweeper.cli.main import cli
from sweeper.errors import SweeperError
from tests.support.command import ROOT, Result
from tests.support.compared_ledgers import Scores, write

TASK = "pdebench/advection_1d"
CALLS = {  # command -> arguments, exit code; trainings and servers are refused
    "launch": ("absent.yaml", 2),
    "run": ("absent.py --metric loss --search lr", 2),
    "resume": ("absent", 8),
    "extend": ("absent --trials 9", 8),
    "retry": ("absent", 8),
    "rerun": ("absent nft/x/1", 8),
    "fork": ("absent wider", 8),
    "stop": ("pare", 0),
    "cancel": ("pare", 0),
    "logs": ("pare", 0),
    "slurm": ("absent.yaml", 2),
    "ls": ("", 0),
    "status": ("pare", 0),
    "report": ("pare", 0),
    "watch": ("absent", 8),
    "best": ("pare", 0),
    "export": ("pare", 0),
    "predict": ("absent x.npy -o y.npy", 2),
    "diagnose": ("absent nft/x/1", 8),
    "compare": ("pare", 0),
    "reproduce": ("absent", 2),
    "site": ("absent.json", 2),
    "init": (f"new.yaml --methods nft --tasks {TASK}", 0),
    "import": ("wandb absent.yaml", 2),
    "validate": ("new.yaml", 0),
    "plan": ("new.yaml", 0),
    "describe": ("nft", 0),
    "schema": ("--of plan", 0),
    "audit": ("absent", 2),
    "ui": ("--host 0.0.0.0", 2),
    "tag": ("pare of=mine", 0),
    "note": ("pare why", 0),
    "sync": ("absent", 8),
    "delete": ("pare", 2),
    "gc": ("", 0),
    "doctor": ("", 0),
    "trial stop": ("absent nft/x/1", 8),
    "trial skip": ("absent nft/x/1", 8),
    "trial retry": ("absent nft/x/1", 8),
    "trial add": ("absent --set refine.lr=1", 8),
    "data list": ("", 0),
    "data import": ("absent", 2),
    "data init": ("absent", 2),
    "data generate": (f"{TASK} --samples 8 --resolution 16", 0),
    "data verify": (TASK, 0),
    "data show": (TASK, 0),
    "data delete": (TASK, 2),
}


def commands(group: click.Command, name: str = "") -> Iterator[str]:
    children = getattr(group, "commands", None)
    if children is None:
        yield name.strip()
    for child, command in (children or {}).items():
        yield from commands(command, f"{name} {child}")


def documented() -> set[int]:
    """Return the exit codes in the table of the page of commands."""
    page = (ROOT / "sweeper/cli/README.md").read_text()
    table = page.partition("| exit code |")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
    return {int(code) for cell in cells for code in cell.split(",")}


def test_every_command_can_be_driven_by_a_program(here, command, monkeypatch):
    def ask(*_: object, **__: object) -> None:
        pytest.fail("a question, and nobody there")

    monkeypatch.setattr(typer, "confirm", ask)
    monkeypatch.setattr(typer, "prompt", ask)
    write(here / "sweeps/pare", "pare", [Scores(method="pare", task=TASK, best=[0.1, 0.3])]).close()
    known = {*commands(typer.main.get_command(cli))}
    assert known == CALLS.keys() == json_schema.results_by_command().keys()
    for name, (arguments, code) in CALLS.items():
        printed = command(*name.split(), *arguments.split(), "--json", code=code).json
        assert ("error" in printed) == (code != 0), printed
        Draft202012Validator.check_schema(json_schema.schema_of(name))


def test_lines_that_are_followed_are_an_object_each(here, command):
    write(here / "sweeps/pare", "pare", [Scores(method="pare", task=TASK, best=[0.1])]).close()
    whole = command("logs", "pare", "--json").json["lines"]
    lines = command("logs", "pare", "-f", "--json").out.splitlines()
    assert [Result(line, "").json["lines"] for line in lines] == [[each] for each in whole]
    assert len(whole) > 1


def test_every_exit_code_of_an_error_is_documented():
    assert {error.exit_code for error in SweeperError.__subclasses__()} <= documented()


def test_an_error_of_this_program_is_json_too(here, capsys, monkeypatch):
    from sweeper.cli.main import run
    from sweeper.commands import look

    monkeypatch.setattr(look, "sweeps", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(["ls", "--json"])
    assert '"exit_code": 1' in capsys.readouterr().out
