"""`sweeper data`: the data that trials read. Parses, calls `sweeper.planning.data`, prints."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sweeper.cli import output, tables
from sweeper.cli.output import progress
from sweeper.console import is_plain, stderr
from sweeper.errors import UsageError

data = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None if is_plain(os.environ) else "rich",
)

Task = Annotated[str, typer.Argument(help="A task, as in a sweep file.", show_default=False)]
TaskOrSource = Annotated[
    str,
    typer.Argument(
        metavar="TASK", help="A task or a source, as in a sweep file.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class Variant(StrEnum):
    """Of a task that has a generator."""

    compat = "compat"  # as published
    hard = "hard"  # ours
    orca = "orca"  # as published, with the target frames of ORCA's released loader


@data.command("list")
def list_data(as_json: AsJson = False) -> None:
    """Lists every task and source: what it is, whether it is here, and how to get it."""
    from sweeper.planning import data as app

    tables.show_data(app.everything(), as_json=as_json)


@data.command("import")
def import_data(
    task: TaskOrSource,
    files: Annotated[
        list[Path], typer.Argument(help="The published files, or folders that hold them.")
    ],
    seed: Annotated[int, typer.Option(min=0, help="Of the validation split.")] = 0,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put them in the place of others imported before.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Reads the published FILES of a TASK, or of a source, into the store that trials map."""
    from sweeper.planning import data as app

    with progress("importing", stderr()) as report:
        done = app.import_files(task, files, seed, report, replace=replace)
    output.show(done, command="data import", as_json=as_json)


@data.command()
def generate(
    task: Task,
    samples: Annotated[
        int | None, typer.Option(min=8, help="In all splits; default: as published.")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(min=1, help="Grid points a side; default: as the papers have it.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the generator.")] = 0,
    variant: Annotated[
        Variant | None,
        typer.Option(
            help="As published, harder, or with ORCA's target frames; default: what TASK says.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the work.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Makes the data of a TASK that has a generator, ahead of the launch that would.

    If it is stopped, the same command goes on from where it was.
    """
    from sweeper.planning import data as app

    sizes = {"samples": samples, "resolution": resolution, "seed": seed}
    with progress("generating", stderr()) as report:
        done = app.generate(task, variant, sizes, workers, report)
    output.show(done, command="data generate", as_json=as_json)


@data.command()
def verify(task: TaskOrSource, as_json: AsJson = False) -> None:
    """Reads every byte of a TASK's data, or a source's: hashes, numbers, labels, splits."""
    from sweeper.planning import data as app

    output.show(app.verify(task), command="data verify", as_json=as_json)


@data.command()
def delete(
    task: TaskOrSource,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete the data of a TASK, or of a source: what was imported, and what was generated.

    Says first what that frees, and which sweeps read it.
    """
    from sweeper.planning import data as app

    planned = app.deletion(task)
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise UsageError(f"{planned.consequences}\nNobody can be asked here: add --yes.")
        if not typer.confirm(f"{planned.consequences}\nDelete it?", err=True):
            output.line("Nothing was deleted.")
            return
    output.show(app.delete(planned), command="data delete", as_json=as_json)
