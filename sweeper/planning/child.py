"""The protocol of child processes: JSON in, JSON out, and an end together with the parent."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

from sweeper.errors import SweeperError
from sweeper.text import JsonObject

ROOT = Path(__file__).resolve().parents[2]  # the folder that contains the running package
# `sys.exit` in a thread would end that thread alone.
EXIT = partial(os._exit, 1)
INSTALLED = ("site-packages", "dist-packages")
MAX_SHOWN = 5  # lines of a child that died


def command(module: str, *arguments: str) -> list[str]:
    """Return a command that runs `module` and imports nothing from the current folder."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(**extra: str) -> dict[str, str]:
    """Return the environment of a child that imports the same package as this process.

    Processes that the child starts do not import from the current folder either: Ray's dashboard
    uses `python -c`. Empty entries of PYTHONPATH mean the current folder, so they are dropped.
    """
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    # An installed package is found without an entry, and site-packages in PYTHONPATH would come
    # before the standard library.
    if str(ROOT) not in paths and ROOT.name not in INSTALLED:
        paths.insert(0, str(ROOT))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"} | extra


def run(module: str, given: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run `module` as a child to its end, with this input and further variables."""
    return subprocess.run(
        command(module), input=given, capture_output=True, env=environment(**extra), text=True
    )


def died(what: str, done: subprocess.CompletedProcess[str]) -> SweeperError:
    """Return the error of a child that ended without an answer, with its last lines."""
    last_lines = "\n".join(done.stderr.splitlines()[-MAX_SHOWN:])
    return SweeperError(f"{what} died, exit code {done.returncode}:\n{last_lines}")


def read_input() -> dict[str, Any]:
    """Return the JSON object that the parent wrote."""
    job: dict[str, Any] = json.load(sys.stdin)
    return job


def take_output() -> IO[str]:
    """Return our standard output, and redirect all other writers of it to standard error."""
    # Libraries in C write to descriptor 1 itself, so that replacing sys.stdout is not enough.
    mine = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return mine


def write_line(out: IO[str], value: JsonObject) -> None:
    """Write a JSON object as one line, and flush it."""
    out.write(json.dumps(value) + "\n")
    out.flush()


def end_with_parent(end: Callable[[], object] = EXIT) -> None:
    """End this process when its parent ends: at once, even in the middle of a long call.

    Args:
        end: Another way to end it, which a thread calls.
    """
    parent = os.getppid()

    def watch() -> None:
        # An orphan is adopted by another process, which changes its parent's id.
        while os.getppid() == parent:
            time.sleep(0.5)
        end()

    threading.Thread(target=watch, name="parent", daemon=True).start()
