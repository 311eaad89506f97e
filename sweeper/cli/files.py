"""Commands about a sweep file: what it would run and take, its faults, and what it may hold."""

from contextlib import nullcontext
from typing import Annotated

import typer

from sweeper.cli import output
from sweeper.cli.options import AsJson, File, Name, Profile, Sets, Trials
from sweeper.cli.progress import progress
from sweeper.console import stderr


def add_files(cli: typer.Typer) -> None:
    """Adds the commands."""
    for command in (plan, validate, schema):
        cli.command()(command)


def plan(
    file: File,
    profile: Profile = "auto",
    sets: Sets = None,
    trials: Trials = None,
    name: Name = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Measure first: a pilot of a few epochs for each study."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Says what a launch would run and take: studies, trials, epochs, data, hours and disk."""
    from sweeper.app import plan as app
    from sweeper.app.load import Options

    options = Options(profile=profile, sets=tuple(sets or ()), trials=trials, name=name)
    with progress("calibrate", stderr()) if calibrate else nullcontext() as told:
        planned = app.plan(file, options, calibrate=told)
    output.show_plan(planned, as_json=as_json)


def validate(
    file: File,
    profile: Profile = "auto",
    sets: Sets = None,
    trials: Trials = None,
    as_json: AsJson = False,
) -> None:
    """Checks a sweep file and lists all its faults at once."""
    from sweeper.app import inspect as app
    from sweeper.app.load import Options

    options = Options(profile=profile, sets=tuple(sets or ()), trials=trials)
    output.show(app.validate(file, options), as_json=as_json, command="validate")


def schema() -> None:
    """Prints the JSON Schema of a sweep file, for editors."""
    from sweeper.app import inspect as app

    output.print_json(app.schema())
