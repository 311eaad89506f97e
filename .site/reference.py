"""Generated pages: the options of all commands, all settings, the benchmark."""

import click
import typer.main

from sweeper.cli.main import cli
from sweeper.cli.tables import as_markdown
from sweeper.commands.benchmark.site import standings
from sweeper.commands.reference import reference
from sweeper.planning.samplers import PRUNERS, SAMPLERS
from sweeper.render.page.html import Link
from sweeper.render.page.site import INDEX, headline, methods_by_tasks
from sweeper.results.reproduction.files import committed_evidence
from sweeper.text import readable
from trainables.distances.registry import OWN as DISTANCES
from trainables.methods.registry import METHODS
from trainables.models.weights.description import BACKBONES

PLACE = "../benchmark"  # of the pages of the benchmark, seen from those of this folder


def settings() -> str:
    """Return a page with a section for each name, as `sweeper describe NAME` prints it."""
    names = [*METHODS, *DISTANCES, *SAMPLERS, *PRUNERS, *BACKBONES]
    sections = (as_markdown(reference(name, ())).lstrip() for name in names)
    text = (
        "What a sweep file searches or fixes, as `sweeper describe NAME` prints it: of methods, "
        "then of distances, samplers, pruners and backbones."
    )
    return "\n".join(["# Settings", "", text, "", *("#" + each for each in sections)])


def commands() -> str:
    """Return a page with a section for each command: its help and its options."""
    group = typer.main.get_command(cli)
    lines = ["# Options of commands", "", "`sweeper COMMAND --help` prints the same.", ""]
    return "\n".join([*lines, *_of("sweeper", group)])


def benchmark() -> str:
    """Return a page with the overview of the benchmark, and links to its own pages."""
    found = standings(sorted(committed_evidence().glob("*.json")))
    header, rows = methods_by_tasks(found)
    lines = [[_linked(cell) for cell in row] for row in rows]
    table = [header, ["---"] * len(header), *lines]
    how = "[How to read it, and how to submit a result](../search_spaces/guide/reproduce.md)"
    return "\n".join(
        ["# Which method wins?", "", headline(found), "",
         f'{how}. <a href="{PLACE}/{INDEX}">All boards, evidence and seeds</a>.', "",
         *(f"| {' | '.join(line)} |" for line in table), ""]
    )  # fmt: skip


def _linked(cell: object) -> str:
    if isinstance(cell, Link):
        return f'<a href="{PLACE}/{INDEX}#{cell.place}">{cell.text}</a>'
    return readable(cell)


def _of(name: str, command: click.Command) -> list[str]:
    lines = [f"## {name}", ""]
    text, _, example = (command.help or "").partition("\n\n")
    lines += [" ".join(text.split()), "", *(["```text", example, "```", ""] if example else [])]
    context = click.Context(command)
    rows = [row for each in command.params if (row := _row(each, context))]
    lines += ["| option | meaning |", "|---|---|", *rows, ""] if rows else []
    for child, each in getattr(command, "commands", {}).items():
        lines += _of(f"{name} {child}", each)
    return lines


def _row(parameter: click.Parameter, context: click.Context) -> str | None:
    record = parameter.get_help_record(context)
    if record is None:
        return None
    shown = (" ".join(text.split()).replace("|", "\\|") for text in record)
    return "| `{}` | {} |".format(*shown)
