"""Output of commands: text for people, one JSON object for machines, progress on stderr."""

import json
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from sweeper.console import pass_on, print_text, stderr, stdout
from sweeper.errors import FileFaults
from sweeper.text import printable, visible, without_nonfinite, without_secrets

if TYPE_CHECKING:
    from sweeper.commands.result import Message, Result

R = TypeVar("R", bound="Result")
SCHEMA = 1
MAX_WIDTH = 1000  # characters; wider than any table
FOLDED = 20  # the fewest characters that a folding column keeps
PARTS = re.compile(r"(?<=[/@, ])(?! )")  # places at which a cell may be broken
Listener = Callable[[str, int, int], None]  # of what, done, of how many


def print_json(payload: Mapping[str, object], *, indent: int | None = 2) -> None:
    """Print one JSON object; a number that is not finite becomes null."""
    pass_on(json.dumps(without_nonfinite(payload), indent=indent, default=str) + "\n", sys.stdout)


def print_result(result: "Result", command: str, *, indent: int | None = 2) -> None:
    """Print the result of a command as one JSON object; `indent` None: on one line."""
    print_json({"schema": SCHEMA, "command": command, **result.to_json()}, indent=indent)


def present(result: R, by: Callable[[R], None], *, command: str, as_json: bool) -> None:
    """Print a result by a function, or all its facts as JSON."""
    if as_json:
        print_result(result, command)
    else:
        by(result)


def show(result: "Message", *, command: str, as_json: bool) -> None:
    """Print a result: its message, or all its facts as JSON."""
    present(result, _print_message, command=command, as_json=as_json)


def _print_message(result: "Message") -> None:
    print_text(stdout(), result.message, as_it_is=True)


def announce(result: "Message", *, command: str, as_json: bool) -> None:
    """Print a result at once and by lines: others wait for it while the command goes on."""
    if as_json:
        print_result(result, command, indent=None)
    else:
        for each in result.message.splitlines():
            line(each)


def can_ask(*, as_json: bool) -> bool:
    """Return whether a person can answer questions."""
    return not as_json and sys.stdin.isatty()


def say(console: Console, text: str) -> None:
    """Print a text on one line: line breaks in it may come from other people's data."""
    print_text(console, visible(text))


def cell(text: str) -> str:
    """Return a text as a cell of a table shows it, without markup and on one line."""
    return escape(visible(text))


def line(text: str) -> None:
    """Print one line at once: others may wait for it."""
    pass_on(printable(text, limit=2000) + "\n", sys.stdout)


def show_error(command: str, error: Exception, code: int, *, as_json: bool) -> None:
    """Print an error, one line for each fault, without passwords of URLs."""
    message = without_secrets(str(error))
    if as_json:
        faults = [
            {
                "where": without_secrets(fault.where),
                "line": fault.line,
                "message": without_secrets(fault.message),
            }
            for fault in (error.faults if isinstance(error, FileFaults) else ())
        ]
        _print_error_json(command, code, type(error).__name__, message, faults)
    # People see the message in both cases, since the JSON object goes to stdout.
    for each in message.splitlines():
        print_text(stderr(), f"sweeper: {each}")


def show_usage_error(command: str, error: typer.TyperException, *, as_json: bool) -> None:
    """Print an error of the command line itself."""
    message = without_secrets(error.format_message())
    if as_json:
        _print_error_json(command, 2, "UsageError", message, [])
    if message:  # without one, the help has been printed
        context = getattr(error, "ctx", None)
        asked = context.command_path if context is not None else "sweeper"
        text = f"sweeper: {message} See: {asked} --help"
        print_text(stderr(), text)


def show_internal_error(command: str, error: Exception) -> None:
    """Print an error of this program as JSON."""
    _print_error_json(command, 1, type(error).__name__, without_secrets(str(error)), [])


def _print_error_json(
    command: str, code: int, kind: str, message: str, faults: Sequence[Mapping[str, object]]
) -> None:
    details = {"type": kind, "message": message, "faults": faults}
    print_json({"schema": SCHEMA, "command": command, "exit_code": code, "error": details})


def folding(*names: str) -> Table:
    """Return a table of columns whose cells are broken where it is too wide."""
    return Table(*(Column(name, overflow="fold") for name in names), box=None, pad_edge=False)


def print_table(console: Console, table: Table, spared: Sequence[str] = ()) -> None:
    """Print a table; if it is too wide, leave out columns of `spared`, the first one first.

    No value is cut.
    """
    left_out = []
    for name in spared:
        if _width(console, table) <= console.width:
            break
        if drop_columns(table, [name]):
            left_out.append(name)
    _fold(console, table)
    console.print(table)
    if left_out:
        text = f"(left out, {console.width} columns are too few: {', '.join(left_out)})"
        print_text(console, text, style="dim")


def drop_columns(table: Table, names: Collection[str], *, if_empty: bool = False) -> bool:
    """Take columns out of a table, or those that are empty throughout; return whether some were."""
    kept = [
        column
        for column in table.columns
        if column.header not in names or (if_empty and any(column.cells))
    ]
    has_dropped = len(kept) < len(table.columns)
    for i, column in enumerate(kept):
        column._index = i  # by which rich knows the edges
    table.columns = kept
    return has_dropped


def _fold(console: Console, table: Table) -> None:
    """Break cells of folding columns between their parts as far as the table is too wide."""
    options = console.options.update(max_width=MAX_WIDTH)
    over = Measurement.get(console, options, table).maximum - console.width
    for column in table.columns:
        if column.overflow != "fold" or over <= 0:
            continue
        cells = [str(cell) for cell in column.cells]
        width = max(map(cell_len, cells), default=0)
        room = max(FOLDED, width - over)
        # Rich breaks names anywhere, and has no public way to change the cells of a column.
        column._cells = ["\n".join(_parts(cell, room)) for cell in cells]
        over -= width - room


def _parts(text: str, room: int) -> list[str]:
    """Divide a text behind slashes, commas and the like into lines of at most `room`, if it can."""
    lines = [""]
    for part in PARTS.split(text):
        if lines[-1] and cell_len(lines[-1]) + cell_len(part.rstrip()) > room:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def _width(console: Console, table: Table) -> int:
    """Return the width of a table with whole values, in which folding columns may be narrow."""
    options = console.options.update(max_width=MAX_WIDTH)
    folding = [column for column in table.columns if column.overflow == "fold"]
    widths = (max(map(cell_len, map(str, column.cells)), default=0) for column in folding)
    spare = sum(max(0, width - FOLDED) for width in widths)
    return Measurement.get(console, options, table).maximum - spare


@contextmanager
def progress(what: str, console: Console, *, tenths: bool = True) -> Iterator[Listener]:
    """Yield a function that shows progress: a bar on a terminal, a line every tenth elsewhere.

    Args:
        what: What goes on.
        console: Where it is shown.
        tenths: False: elsewhere, a line at the end alone.
    """
    if not console.is_terminal:
        yield _lines(what, console, tenths=tenths)
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        row = bar.add_task(what, total=None)
        yield lambda task, done, total: bar.update(
            row, description=f"{what} {task}", completed=done, total=total
        )


def _lines(what: str, console: Console, *, tenths: bool) -> Listener:
    tenth = -1

    def report(task: str, done: int, total: int) -> None:
        nonlocal tenth
        if (reached := 10 * done // total) != tenth and (tenths or done == total):
            tenth = reached
            print_text(console, f"{what} {task}: {done} of {total}")

    return report
