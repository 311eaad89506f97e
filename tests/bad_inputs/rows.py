"""A row of the tables of bad inputs, the file that rows break, and a command to break."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sweeper.cli.main import run
from tests.support.costs import cpu_s, is_cheap

MAX_S = 1.0  # for a refusal

VALID = """\
name: study
methods: [mona]
tasks: [pdebench/advection_1d]
backbones: {1d: minilm}
proxies: {1d: python_source}
parameters:
  meta.alpha: {distribution: log_uniform_values, min: 1e-4, max: 1.0}
fixed: {refine.epochs: 8}
search: {trials: 8}
"""
PARAMETER = "  meta.alpha: {distribution: log_uniform_values, min: 1e-4, max: 1.0}"


@dataclass(frozen=True)
class Row:
    """One way of getting a file or command line wrong: what is given, and what has to be told.

    `told` is how one of the lines begins that the command prints; all it prints are faults.
    """

    number: int
    name: str
    content: str | bytes  # of x.yaml
    told: str
    code: int = 2
    options: tuple[str, ...] = ()
    command: str = "validate"


def edit(old: str, new: str) -> str:
    """Return the valid file with `new` in place of `old`."""
    assert old in VALID
    return VALID.replace(old, new)


def parameter(text: str) -> str:
    """Return the valid file with other parameters."""
    return edit(PARAMETER, "  " + text)


def ids(rows: Sequence[Any]) -> list[str]:
    """Return what the tests are called: `row_09_duplicate_key`."""
    return [f"row_{row.number:02d}_{row.name.replace(' ', '_')}" for row in rows]


@dataclass
class Told:
    """The output of a command, line by line, and its exit code."""

    code: int
    out: list[str]
    err: list[str]


@dataclass
class Command:
    """Runs `sweeper` in a folder in which it must not leave anything when it refuses."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Told:
        before = set(self.folder.rglob("*"))
        tries: list[Told] = []

        def command() -> None:
            code, captured = run(list(arguments)), self.capsys.readouterr()
            tries.append(Told(code, captured.out.splitlines(), captured.err.splitlines()))

        seconds = cpu_s(command)
        told = tries[0]
        assert "Traceback" not in "\n".join(told.out + told.err)
        if told.code:
            assert set(self.folder.rglob("*")) == before, "a refusal leaves nothing behind"
            assert seconds < MAX_S or is_cheap(command, MAX_S)
        return told

    def tells(self, row: Row) -> Told:
        """Run a row's command on its file, and see that it is told as the row says."""
        content = row.content.encode() if isinstance(row.content, str) else row.content
        (self.folder / "x.yaml").write_bytes(content)
        told = self(row.command, "x.yaml", *row.options)
        assert told.code == row.code, told
        lines = told.err if row.code else told.out
        start = f"sweeper: {row.told}" if row.code else row.told
        assert any(line.startswith(start) for line in lines), "\n".join(lines)
        if row.code:
            assert told.out == []
            assert all(line.startswith("sweeper: ") for line in told.err)
        return told
