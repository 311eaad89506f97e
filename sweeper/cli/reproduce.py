"""The command that shows published figures and tables beside ours."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from sweeper.cli import output
from sweeper.cli.options import COMPARE, Address, AsJson, Insecure
from sweeper.console import print_text, stderr, stdout
from sweeper.errors import UsageError
from sweeper.text import readable

if TYPE_CHECKING:
    from sweeper.commands.reproduce import Reproductions
    from sweeper.results.reproduction.benchmark_table import BenchmarkTable


def add_reproduce(cli: typer.Typer) -> None:
    """Add this command to the command line."""
    cli.command(rich_help_panel=COMPARE)(reproduce)


def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Questions (freezing), figures (fig7, slide31), tables (table_pdebench), or all.",
            metavar="NAME...",
        ),
    ] = None,
    profile: Annotated[
        str,
        typer.Option(help="A profile of the files; paper: the settings of the papers, for GPUs."),
    ] = "laptop",
    rerun: Annotated[
        bool,
        typer.Option("--rerun", "--force", help="Run the sweeps even where there is evidence."),
    ] = False,
    confirm: Annotated[
        bool,
        typer.Option(
            "--confirm",
            help="Where the code alone is another one than that of the evidence, train one seed "
            "of each arm again. The same numbers, bit by bit, confirm the evidence. With --no-run "
            "nothing else runs.",
        ),
    ] = False,
    run: Annotated[
        bool | None,
        typer.Option(
            "--run/--no-run",
            help="Run sweeps without any evidence; or leave them out. By default those of "
            "questions run, and those of tables do not.",
        ),
    ] = None,
    html: Annotated[Path, typer.Option(metavar="FILE", help="The page to write.")] = Path(
        "reproduction.html"
    ),
    evidence: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A folder of evidence, which comes before that of the package. The evidence of "
            "sweeps that are finished here is written into it.",
        ),
    ] = None,
    is_list: Annotated[
        bool, typer.Option("--list", help="List all names with the state of their evidence.")
    ] = False,
    address: Address = "local",
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Write one page with figures of ours beside published findings, and a verdict for each claim.

    Numbers come from committed evidence as long as its code, settings and data are those of today.
    What has none is run first, as by `sweeper launch`; a second call goes on. A table shows what
    was published, the floors and what is recorded, with nothing run.

        sweeper reproduce fig7
        sweeper reproduce table2
        sweeper reproduce all --no-run
    """
    from sweeper.commands import reproduce as app

    asked = app.Asked(
        profile=profile, may_run=run, rerun=rerun, confirm=confirm, html=html, evidence=evidence,
        address=address, insecure=insecure,
    )  # fmt: skip
    if is_list:
        if names:
            raise UsageError("--list lists all names: give none, or leave it out.")
        found = app.listing(asked, console=stderr())
    elif not names:
        raise UsageError("name a figure or a table, or all; `sweeper reproduce --list` has them.")
    elif rerun and run is False:
        raise UsageError("--rerun runs sweeps and --no-run runs none: give one of them.")
    elif rerun and confirm:
        raise UsageError("--rerun replaces evidence and --confirm keeps it: give one of them.")
    else:
        found = app.reproduce(names, asked, console=stderr())
    if as_json:
        output.print_result(found, "reproduce")
    elif is_list:
        _show_list(found)
    else:
        _show(found)
    raise typer.Exit(found.exit_code)


def _show_list(found: "Reproductions") -> None:
    table = Table("name", "figures", "evidence", "question", box=None)
    for each in found.figures:
        table.add_row(
            *map(output.cell, (each.name, ", ".join(each.aliases), each.evidence, each.title))
        )
    output.print_table(stdout(), table)


def _show(found: "Reproductions") -> None:
    console = stdout()
    print_text(console, found.headline)
    for each in found.figures:
        print_text(console, f"{each.name}: {each.title}")
        for claim in each.claims:
            output.say(console, f"  {claim.says} {claim.sentence}")
        if each.benchmark is not None:
            _show_benchmark(each.benchmark)
        for line in each.evidence_notes:
            output.say(console, f"  {line}")
    print_text(console, f"wrote {found.html}")


def _show_benchmark(found: "BenchmarkTable") -> None:
    table = Table(*found.header, box=None)
    for line in found.lines:
        table.add_row(*(output.cell(readable(value)) for value in line))
    output.print_table(stdout(), table, spared=("metric", "of", "recorded here"))
    output.say(stdout(), found.remark)
