"""Commands about what sweeps found: which method wins, the best settings, every trial."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sweeper.cli import completion, output
from sweeper.cli.comparison import show_best, show_comparison
from sweeper.cli.options import AsJson, SweepName
from sweeper.errors import GateNotMet


class Row(StrEnum):
    """Of a table for a paper, below each task."""

    control = "control"
    baselines = "baselines"
    published = "published"


class Format(StrEnum):
    """Of an export."""

    csv = "csv"
    parquet = "parquet"
    latex = "latex"


def add_results(cli: typer.Typer) -> None:
    """Adds these commands to the command line."""
    for command in (compare, best, export):
        cli.command()(command)


def compare(
    sweeps: Annotated[
        list[str],
        typer.Argument(
            help="Sweeps: their names in ./sweeps, or their folders.",
            metavar="SWEEP...",
            autocompletion=completion.sweeps,
        ),
    ],
    task: Annotated[
        list[str] | None, typer.Option(help="Only this task; repeatable.", show_default=False)
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="Compare each method with this one, or with its own `control` (vanilla "
            "fine-tuning, not tuned); without: every pair.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page about it, too.", show_default=False)
    ] = None,
    latex: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a table for a paper (booktabs): tasks as rows, methods as columns.",
            show_default=False,
        ),
    ] = None,
    rows: Annotated[
        list[Row] | None,
        typer.Option("--with", help="What --latex shows, too; repeatable.", show_default=False),
    ] = None,
    gate: Annotated[
        str | None,
        typer.Option(
            metavar="CLAIM",
            help="Exit with 9 unless it holds: 'pare < mona on pdebench/advection_1d', several "
            "joined by `and`. < holds if the mean is lower and p, corrected, is below 0.05; "
            "<= if the mean is not higher, whatever p. A method may be `control`, which is not "
            "tuned.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Says which method wins on each task, over paired seeds, and what cannot be told apart.

    Differences are tested by sign-flips of the pairs (exact up to 20), and corrected by Holm for
    all comparisons of a task. Fewer than 6 replicates (`replicate: {seeds: 6}`) show nothing.
    """
    from sweeper.commands import compare as app
    from sweeper.planning.sweep_folder import name_of

    named = [name_of(each) for each in sweeps]
    found = app.compare(
        named,
        tasks=task or (),
        baseline=baseline,
        html=html,
        latex=latex,
        rows=rows or (),
        gate=gate,
    )
    show_comparison(found, as_json=as_json)
    if found["exit_code"]:
        failed = [f"{c['claim']}: {c['why']}" for c in found["gate"]["claims"] if not c["is_met"]]
        error = GateNotMet("\n".join(f"gate not met: {line}" for line in failed))
        output.show_error("compare", error, error.exit_code, as_json=False)
        raise typer.Exit(error.exit_code)


def best(
    sweep: SweepName,
    study: Annotated[
        str | None,
        typer.Option(
            help="Print this study's winning configuration as a sweep file that can be launched.",
            show_default=False,
            autocompletion=completion.studies,
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(min=1, help="List so many a study, the best first.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Says which settings are best, or prints a study's winner as a sweep file.

    Best is what validation says, over the seeds of its replicates where there are any.

        sweeper best mona_pdebench --study mona/pdebench/advection_1d > best.yaml
    """
    from sweeper.commands import results as app

    show_best(app.best(sweep, study, top), as_json=as_json)


def export(
    sweep: SweepName,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="csv and parquet: every trial; latex: a table of the methods. Without, the "
            "file's suffix says it: .csv, .parquet, .tex.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Where it goes; default: to the terminal."),
    ] = None,
) -> None:
    """Writes every trial with all its parameters, metrics and states, or a table for a paper."""
    from sweeper.commands import results as app

    written = app.export(sweep, form, out)
    if "content" in written:
        print(written["content"], end="")
    else:
        output.show(written, command="export", as_json=False)
