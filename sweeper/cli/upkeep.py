"""Commands that keep things in order: MLflow caught up and looked at, caches small, all found."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from sweeper.cli import output, tables
from sweeper.cli.options import AsJson, Insecure, SweepName
from sweeper.console import stderr
from sweeper.errors import UsageError


def add_upkeep(cli: typer.Typer) -> None:
    """Adds these commands to the command line."""
    for command in (delete, tag, note, sync, ui, gc, doctor):
        cli.command()(command)


def delete(
    sweep: SweepName,
    runs: Annotated[
        bool, typer.Option("--runs", help="Delete its runs in MLflow, too; without, they stay.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Deletes a sweep that does not run: its folder, its rows in a ledger, its part of a store.

    Says first what that frees and what stays, and asks.
    """
    from sweeper.commands.delete import delete as app

    console = stderr()

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    def confirm(lines: Sequence[str]) -> bool:
        for line in lines:
            say(line)
        if yes:
            return True
        if as_json or not sys.stdin.isatty():
            raise UsageError("nothing was deleted: add --yes, since nobody can be asked here.")
        return typer.confirm(f"Delete `{sweep}`?", err=True)

    output.show(app(sweep, runs=runs, confirm=confirm, say=say), as_json=as_json, command="delete")


def tag(
    sweep: SweepName,
    tags: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME[=VALUE]...", help="What to set.", show_default=False),
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Takes a tag off; repeatable.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Puts tags on a sweep, for `ls --tag` and MLflow, or shows those that it has."""
    from sweeper.commands import remarks as app

    output.show(app.tag(sweep, tags or (), remove or ()), as_json=as_json, command="tag")


def note(
    sweep: SweepName,
    text: Annotated[
        str | None, typer.Argument(help="What to note; all notes if left out.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Notes something about a sweep, with the time and who says it, or shows its notes."""
    from sweeper.commands import remarks as app

    output.show(app.note(sweep, text), as_json=as_json, command="note")


def sync(sweep: SweepName, as_json: AsJson = False) -> None:
    """Ships to MLflow whatever it has not yet received of a sweep."""
    from sweeper.commands import mlflow as app

    output.show(app.sync(sweep), as_json=as_json, command="sync")


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the page listens.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    insecure: Insecure = False,
) -> None:
    """Opens MLflow's UI on the store that launches in this folder write to, and says where the
    runs of each experiment are."""
    from sweeper.commands import mlflow as app

    app.ui(host, port, insecure=insecure, say=output.line)


def gc(
    place: Annotated[
        str | None,
        typer.Argument(
            help="A store of stage results, a folder or a URL; default: this machine's.",
            show_default=False,
        ),
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option(
            help="What may stay; default: 20GiB, and with --release all that others use or keep.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also what sweeps that are not over use.")
    ] = False,
    release: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOLDER",
            help="Gives up what a sweep holds, by its name here; can be repeated.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Deletes stage results that trials share, used longest ago first, until the rest fits.

    What goes is computed anew by a trial that misses it. What a sweep uses stays until it is over.
    Unfinished checkpoints that killed trials left in ./sweeps go too.
    """
    from sweeper.planning import stage_store as app

    found = app.collect_garbage(
        place, max_bytes, force=force, dry_run=dry_run, released=release or ()
    )
    output.show(found, as_json=as_json, command="gc")


def doctor(as_json: AsJson = False) -> None:
    """Checks this machine: packages, weights, data, devices, disk, backends."""
    from sweeper.commands import doctor as app

    tables.show_checks(app.examine(), as_json=as_json)
