"""Commands of upkeep: deletion, tags and notes, MLflow, caches, and checks of this machine."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer

from sweeper.cli import output, tables
from sweeper.cli.options import AsJson, Insecure, SweepName
from sweeper.console import print_text, stderr
from sweeper.errors import UsageError


def delete(
    sweep: SweepName,
    runs: Annotated[bool, typer.Option("--runs", help="Delete its runs in MLflow, too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a sweep that is not running: its folder, its ledger, its checkpoints.

    Shows first what that frees and what stays, and asks.
    """
    from sweeper.commands.upkeep.delete import delete as app

    say = partial(print_text, stderr())

    def confirm(lines: Sequence[str]) -> bool:
        for line in lines:
            say(line)
        if yes:
            return True
        if not output.can_ask(as_json=as_json):
            raise UsageError("nothing was deleted: add --yes, since nobody can be asked here.")
        # The question goes to stderr, because stdout has the result alone.
        return typer.confirm(f"Delete `{sweep}`?", err=True)

    output.show(app(sweep, runs=runs, confirm=confirm, say=say), as_json=as_json, command="delete")


def tag(
    sweep: SweepName,
    tags: Annotated[
        list[str] | None, typer.Argument(metavar="NAME[=VALUE]...", help="Tags to set.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Remove a tag; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set tags of a sweep, for `sweeper ls --tag` and MLflow, or show its tags.

    sweeper tag mona_pdebench baseline stage=paper
    """
    from sweeper.commands.upkeep import remarks as app

    output.show(app.tag(sweep, tags or (), remove or ()), as_json=as_json, command="tag")


def note(
    sweep: SweepName,
    text: Annotated[str | None, typer.Argument(help="The note; default: show all notes.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a note to a sweep, with the time and its author, or show its notes."""
    from sweeper.commands.upkeep import remarks as app

    output.show(app.note(sweep, text), as_json=as_json, command="note")


def sync(sweep: SweepName, as_json: AsJson = False) -> None:
    """Send MLflow the records of a sweep that it has not received yet."""
    from sweeper.commands.upkeep import mlflow as app

    output.show(app.sync(sweep), as_json=as_json, command="sync")


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of the page.")] = 5000,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Run MLflow's UI for the sweeps of this folder, and print the address of each experiment."""
    from sweeper.commands.upkeep import mlflow as app

    say = partial(output.announce, command="ui", as_json=as_json)
    app.ui(host, port, insecure=insecure, say=say)


def gc(
    place: Annotated[
        str | None,
        typer.Argument(
            help="A store of stage results, a folder or a URL; default: that of this machine."
        ),
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option(
            help="The size that may stay, such as 5GiB; default: 20GiB; with --release: no limit."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Delete results that unfinished sweeps use, too.")
    ] = False,
    release: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOLDER",
            help="Release the results of a sweep that will not go on, by its name in the store; "
            "repeatable.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be deleted.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete stage results that trials share, the least recently used first, until the rest fits.

    A trial that needs a deleted result computes it again. Results that unfinished sweeps use stay.
    Unfinished checkpoints that killed trials left in ./sweeps are deleted, too, and so are unused
    copies of plugins in SWEEPER_HOME.
    """
    from sweeper.commands.upkeep import gc as app

    found = app.collect_garbage(
        place, max_bytes, force=force, dry_run=dry_run, released=release or ()
    )
    output.show(found, as_json=as_json, command="gc")


def doctor(
    everything: Annotated[
        bool,
        typer.Option("--all", help="Show sources that are not here, too; few sweeps need them."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check this machine: packages, devices, weights, data, disk and backends."""
    from sweeper.commands.upkeep import doctor as app

    by = partial(tables.show_checks, everything=everything)
    output.present(app.examine(), by, command="doctor", as_json=as_json)
