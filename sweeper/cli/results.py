"""Commands about what sweeps found: which method wins, the best settings, every trial."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sweeper.cli import completion, output, tables
from sweeper.cli.options import AsJson, SweepName, Trial, sweep_name
from sweeper.cli.output import progress
from sweeper.console import stderr
from sweeper.errors import GateNotMet, UsageError
from sweeper.model import trial_name


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
    """Add these commands to the command line."""
    cli.command("ls")(list_sweeps)
    for command in (status, report, compare, best, export, diagnose):
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
    from sweeper.commands import results as app
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
    tables.show_comparison(found, as_json=as_json)
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

    tables.show_best(app.best(sweep, study, top), as_json=as_json)


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


def list_sweeps(
    tag: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=VALUE]", help="Only those with this tag; repeatable.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Lists the sweeps in ./sweeps, or in SWEEPER_SWEEPS."""
    from sweeper.commands import look as app

    tables.show_sweeps(app.sweeps(tag or ()), as_json=as_json, tags=tag or ())


def status(
    sweep: Annotated[
        str | None,
        typer.Argument(
            help="A sweep: its name in ./sweeps, or its folder; all if left out.",
            callback=sweep_name,
            autocompletion=completion.sweeps,
        ),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="List its failed trials, each with its reason.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Says how far a sweep is, and what is best so far."""
    from sweeper.commands import look as app

    if failed:
        if sweep is None:
            raise UsageError("--failed: of which sweep? Write: sweeper status SWEEP --failed")
        tables.show_failed(app.failed(sweep), as_json=as_json)
    elif sweep is None:
        tables.show_sweeps(app.sweeps(), as_json=as_json, command="status")
    else:
        tables.show_summary(app.status(sweep), as_json=as_json, command="status")


def report(
    sweep: SweepName,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where the page goes.")] = None,
    as_json: AsJson = False,
) -> None:
    """Writes one self-contained HTML page about a sweep."""
    from sweeper.commands import results as app

    output.show(app.report(sweep, out), as_json=as_json, command="report")


def diagnose(
    sweep: SweepName,
    trial: Trial,
    number: Annotated[
        int | None,
        typer.Argument(min=0, help="Its number, where TRIAL is a study alone.", show_default=False),
    ] = None,
    what: Annotated[
        str | None,
        typer.Option(help="Of landscape,intermediate,scatter,otdd; all that can be, if left out."),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=6, help="Of each modality, at most; fewer are faster.")
    ] = 512,
    as_json: AsJson = False,
) -> None:
    """Looks into a trial's best weights, and writes what plots are made of as Parquet files."""
    from sweeper.commands import diagnose as app

    chosen = None if what is None else [each.strip() for each in what.split(",")]
    with progress("diagnose", stderr()) as told:
        name = trial if number is None else trial_name(trial, number)
        found = app.diagnose(sweep, name, what=chosen, samples=samples, progress=told)
    tables.show_diagnosis(found, as_json=as_json)
