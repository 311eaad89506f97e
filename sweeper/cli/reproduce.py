"""The command that shows published figures and tables beside ours."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.table import Table

from sweeper.cli import output
from sweeper.cli.options import Address, AsJson, Insecure
from sweeper.console import print_text, stderr, stdout
from sweeper.errors import UsageError
from sweeper.text import readable

if TYPE_CHECKING:
    from sweeper.commands.reproduce import Asked, Reproductions
    from sweeper.results.reproduction.benchmark_table import BenchmarkTable


PAGE = Path("reproduction.html")


def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Questions (freezing), figures (fig7, slide31), tables (table_pdebench), or all; "
            "after `confirm`, those whose evidence is to be checked, or a JSON file of evidence.",
            metavar="[confirm] NAME...",
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
    run: Annotated[
        bool | None,
        typer.Option(
            "--run/--no-run",
            help="Run sweeps without any evidence; or leave them out. By default those of "
            "questions run, and those of tables do not.",
        ),
    ] = None,
    html: Annotated[Path, typer.Option(metavar="FILE", help="The page to write.")] = PAGE,
    evidence: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A folder of evidence, which comes before that of the package. The evidence of "
            "sweeps that are finished here is written into it.",
        ),
    ] = None,
    salt: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="After `confirm FILE`: draws the seed together with the hash of the file; what "
            "nobody knew when the file was made.",
        ),
    ] = "",
    is_list: Annotated[
        bool, typer.Option("--list", help="List all names with the state of their evidence.")
    ] = False,
    paper: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the paper about what the benchmarks measure, by evidence alone.",
        ),
    ] = None,
    address: Address = "local",
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Write one page with figures of ours beside published findings, and a verdict for each claim.

    Numbers come from committed evidence as long as its code, settings and data are those of today.
    What has none is run first, as by `sweeper launch`; a second call goes on. A table shows what
    was published, the floors and what is recorded, with nothing run.

    After a change of the code, `confirm` trains one seed of each arm again, drawn by the hash of
    the evidence. The same bits, or differences below the recorded ones between processors, confirm
    it. On another processor than that of the evidence, and by its code, it records these.
    `confirm FILE` checks submitted evidence by its own settings, and exits with 9 if its numbers
    do not come out again.

        sweeper reproduce fig7
        sweeper reproduce table2
        sweeper reproduce all --no-run
        sweeper reproduce confirm fig7 --evidence trainables/evidence
        sweeper reproduce confirm mine.json
        sweeper reproduce --paper paper.html
    """
    from sweeper.commands import reproduce as app

    if paper is not None:
        if run is not None or rerun or is_list or salt or html != PAGE:
            raise UsageError("--paper writes one page by evidence alone: leave other options out.")
        _write_paper(paper, names, evidence, as_json=as_json)
        return
    confirm, names = (names or [])[:1] == ["confirm"], names or []
    names = names[1:] if confirm else names
    asked = app.Asked(
        profile=profile, may_run=run, rerun=rerun, confirm=confirm, html=html, evidence=evidence,
        address=address, insecure=insecure,
    )  # fmt: skip
    if confirm and any(name.endswith(".json") for name in names):
        _check(names, asked, salt, as_json=as_json)
    if salt:
        raise UsageError("--salt draws a seed of `confirm FILE.json`: leave it out elsewhere.")
    if fault := _fault(names, asked, is_list=is_list):
        raise UsageError(fault)
    if is_list:
        found, by = app.listing(asked, console=stderr()), _show_list
    else:
        found, by = app.reproduce(names, asked, console=stderr()), _show
    output.present(found, by, command="reproduce", as_json=as_json)
    raise typer.Exit(found.exit_code)


def _fault(names: list[str], asked: "Asked", *, is_list: bool) -> str:
    """Return what is wrong with a combination of options, or ""."""
    if is_list:
        return "--list lists all names: give none, or leave it out." * bool(names)
    if not names:
        return "name a figure or a table, or all; `sweeper reproduce --list` has them."
    if asked.rerun and asked.may_run is False:
        return "--rerun runs sweeps and --no-run runs none: give one of them."
    if asked.confirm and (asked.rerun or asked.may_run):
        return "`confirm` checks evidence that is there: leave out --rerun and --run."
    return ""


def _check(names: list[str], asked: "Asked", salt: str, *, as_json: bool) -> NoReturn:
    """Check submitted evidence, print the result, and exit."""
    from sweeper.commands.benchmark import submission

    if len(names) > 1:
        raise UsageError("`confirm FILE.json` checks one file: give one, and no other names.")
    checked = submission.check(Path(names[0]), asked, salt=salt, console=stderr())
    output.show(checked, command="reproduce", as_json=as_json)
    raise typer.Exit(checked.exit_code)


def _write_paper(
    html: Path, names: list[str] | None, evidence: Path | None, *, as_json: bool
) -> None:
    from sweeper.commands.reproduce import write_paper

    if names:
        raise UsageError("--paper is about all evidence: give no names, or leave it out.")
    written = write_paper(html, evidence, console=stderr())
    if as_json:
        output.print_result(written, "reproduce")
    else:
        print_text(stdout(), f"wrote {written.html}")


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
