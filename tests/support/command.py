"""The `sweeper` command as a user runs it: in a process of its own, in a folder of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from sweeper.cli.json_schema import schema_of
from tests.support.servers.process import slowness

ROOT = Path(__file__).resolve().parents[2]
STARTED: list[subprocess.Popen[str]] = []  # of this test session


@dataclass(frozen=True)
class Shell:
    """A folder to work in and the environment that commands get."""

    folder: Path
    environment: dict[str, str]
    program: tuple[str | Path, ...] = (sys.executable, "-P", "-m", "sweeper.cli.main")

    def start(
        self, *arguments: str, prefix: Sequence[str] = (), **options: Any
    ) -> subprocess.Popen[str]:
        """Start `sweeper ARGUMENTS` without waiting; `prefix` is what the command begins with."""
        process = subprocess.Popen(
            [*prefix, *self.program, *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        STARTED.append(process)
        return process

    def run(self, *arguments: str, code: int = 0, timeout: float = 300) -> "Result":
        """Run `sweeper ARGUMENTS` and check its exit code."""
        with self.start(*arguments) as process:
            try:
                out, err = process.communicate(timeout=timeout * slowness())
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err, err
        return Result(out, err)


@dataclass(frozen=True)
class Result:
    """The output of a command."""

    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object, which the schema of its command allows."""
        parsed: dict[str, Any] = json.loads(self.out)
        if "command" in parsed:
            _validator(parsed["command"]).validate(parsed)
        return parsed


@cache
def _validator(command: str) -> Draft202012Validator:
    return Draft202012Validator(schema_of(command))


Run = Callable[..., Result]  # a command in this process: its words, and `code`, its exit code
