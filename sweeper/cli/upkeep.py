"""Commands that keep things in order: MLflow caught up and looked at, caches small, all found."""

from typing import Annotated

import typer

from sweeper.cli import output
from sweeper.cli.options import AsJson, Insecure, SweepName


def add_upkeep(cli: typer.Typer) -> None:
    """Adds these commands to the command line."""
    for command in (sync, ui, gc, doctor):
        cli.command()(command)


def sync(sweep: SweepName, as_json: AsJson = False) -> None:
    """Ships to MLflow whatever it has not yet received of a sweep."""
    from sweeper.app import inspect as app

    output.show(app.sync(sweep), as_json=as_json, command="sync")


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the page listens.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    insecure: Insecure = False,
) -> None:
    """Opens MLflow's UI on the store that launches in this folder write to, and says where the
    runs of each experiment are."""
    from sweeper.app import inspect as app

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
    """
    from sweeper.app import stages as app

    found = app.collect_garbage(
        place, max_bytes, force=force, dry_run=dry_run, released=release or ()
    )
    output.show(found, as_json=as_json, command="gc")


def doctor(as_json: AsJson = False) -> None:
    """Checks this machine: packages, weights, data, devices, disk, backends."""
    from sweeper.app import doctor as app

    output.show_checks(app.examine(), as_json=as_json)
