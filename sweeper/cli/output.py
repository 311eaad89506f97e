"""What commands print: tables for people, one JSON object for machines. Computes nothing."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sweeper.console import pass_on, stderr, stdout
from sweeper.errors import FileFaults
from sweeper.text import printable, visible, without_secrets

__all__ = ["progress"]

if TYPE_CHECKING:
    pass

SCHEMA = 1


def print_json(payload: Mapping[str, Any]) -> None:
    """Prints one JSON object; a number that is not finite becomes null."""
    pass_on(json.dumps(_finite(payload), indent=2, default=str) + "\n", sys.stdout)


def show(payload: Mapping[str, Any], *, command: str, as_json: bool) -> None:
    """Prints a result: its `message`, of a line or several, or all its facts as JSON."""
    if as_json:
        print_json({"schema": SCHEMA, "command": command, **payload})
    else:
        stdout().print(payload["message"], markup=False, soft_wrap=True)


def on_one_line(value: Any) -> Any:
    """Return plain data in which every text is on one line, its line breaks and changes of
    direction escaped: what comes from a ledger may be of others."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {name: on_one_line(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [on_one_line(each) for each in value]
    return value


def line(text: str) -> None:
    """Prints one line as it is, at once: it may be one of many that others wait for."""
    pass_on(printable(text, limit=2000) + "\n", sys.stdout)


def show_error(command: str, error: Exception, code: int, *, as_json: bool) -> None:
    """Prints a deliberate error, each fault on its own line, without passwords of URLs."""
    message = without_secrets(str(error))
    if as_json:
        found = error.faults if isinstance(error, FileFaults) else ()
        faults = [
            vars(fault)
            | {key: without_secrets(getattr(fault, key)) for key in ("where", "message")}
            for fault in found
        ]
        details = {"type": type(error).__name__, "message": message, "faults": faults}
        print_json({"schema": SCHEMA, "command": command, "exit_code": code, "error": details})
    for line in message.splitlines():
        stderr().print(f"sweeper: {line}", markup=False, soft_wrap=True)


def show_usage_error(command: str, error: typer.TyperException, *, as_json: bool) -> None:
    """Prints what is wrong with the command line itself."""
    message = without_secrets(error.format_message())
    if as_json:
        details = {"type": "UsageError", "message": message, "faults": []}
        print_json({"schema": SCHEMA, "command": command, "exit_code": 2, "error": details})
    if message:  # without one, the help has been printed
        context = getattr(error, "ctx", None)
        asked = context.command_path if context is not None else "sweeper"
        text = f"sweeper: {message} See: {asked} --help"
        stderr().print(text, markup=False, soft_wrap=True)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


Listener = Callable[[str, int, int], None]  # of what, done, of how many


@contextmanager
def progress(what: str, console: Console) -> Iterator[Listener]:
    """Lends the function that is told of progress."""
    if not console.is_terminal:
        yield _lines(what, console)
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        row = bar.add_task(what, total=None)
        yield lambda task, done, total: bar.update(
            row, description=f"{what} {task}", completed=done, total=total
        )


def _lines(what: str, console: Console) -> Listener:
    tenth = -1

    def report(task: str, done: int, total: int) -> None:
        nonlocal tenth
        if (reached := 10 * done // total) != tenth:
            tenth = reached
            console.print(f"{what} {task}: {done} of {total}", markup=False, soft_wrap=True)

    return report
