"""The command that audits a benchmark or a task before anything is trained."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from sweeper.cli import output
from sweeper.cli.options import AsJson, Include
from sweeper.cli.output import progress
from sweeper.console import print_text, stderr, stdout
from sweeper.text import readable

if TYPE_CHECKING:
    from sweeper.commands.audit import BenchmarkAudited, PredictorRow, TaskAudited


def audit(
    name: Annotated[
        str,
        typer.Argument(
            help="A benchmark (pdebench, nasbench360), a task, or the task file of an own task.",
            metavar="BENCHMARK|TASK",
        ),
    ],
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The page of a benchmark; default: audit_BENCHMARK.html."
        ),
    ] = None,
    include: Include = None,
    as_json: AsJson = False,
) -> None:
    """Show what predictors without a network reach: on a benchmark, or on a task of yours.

    Of a BENCHMARK: beside published numbers, with the reason, in a table and on a page. Of a TASK:
    near duplicates, targets that are nearly constant, what a linear map explains, the balance of
    labels, and what the test split can show. Published data are used where they are imported,
    generated ones otherwise.

        sweeper audit pdebench
        sweeper audit mine.task.yaml
    """
    from sweeper.commands import audit as app

    with progress("generating", stderr()) as report:
        found = app.audit(name, html, tuple(include or ()), progress=report)
    if isinstance(found, app.BenchmarkAudited):
        output.present(found, _show_benchmark, command="audit", as_json=as_json)
    else:
        output.present(found, _show_task, command="audit", as_json=as_json)


def _show_benchmark(found: "BenchmarkAudited") -> None:
    console = stdout()
    table = Table("task", "without a network", "its error", "published", "error", "ratio", box=None)
    for each in (row.audit for row in found.tasks):
        best = each.best_published or ""
        published = each.published.get(best)
        cells = (each.title, each.scores.floor, each.floor, best, published, each.ratio)
        table.add_row(*(output.cell(readable(cell)) for cell in cells))
    output.print_table(console, table)
    for row in found.tasks:
        source = f" ({row.audit.data_source} data)" if row.audit.data_source else ""
        text = row.audit.not_audited or row.reason or "No reason is known beside the numbers."
        output.say(console, f"{row.audit.task}{source}: {row.verdict}. {text}")
    output.say(console, found.answer)
    print_text(console, f"wrote {found.html}")


def _show_task(audited: "TaskAudited") -> None:
    from sweeper.commands.audit import predictor_rows

    console, found = stdout(), audited.audit
    splits = ", ".join(f"{count} {split}" for split, count in found.samples.items())
    print_text(console, f"{found.task}: {splits} samples, {found.data_source}; {found.metric}")
    table = Table("predictor", "test", "validation", "remark", box=None)
    for each in predictor_rows(found.scores):
        cells = (each.name, each.test, each.validation, _remark(each, found.scores.floor))
        table.add_row(*(output.cell(readable(cell)) for cell in cells))
    output.print_table(console, table)
    names = list(dict.fromkeys(name for point in found.curve for name in point.values))
    curve = Table("training samples", *names, box=None)
    for point in found.curve:
        values = (point.values.get(name) for name in names)
        curve.add_row(str(point.samples), *(output.cell(readable(value)) for value in values))
    output.print_table(console, curve)
    for line in found.findings:
        output.say(console, line)


def _remark(row: "PredictorRow", floor: str | None) -> str:
    if row.reason is not None:
        return row.reason
    # Validation chooses the floor, and what knows the equation can be no floor.
    if row.validation is None:
        return f"knows the equation; {readable(row.seconds)} core-seconds a sample"
    return "the floor" if row.name == floor else ""
