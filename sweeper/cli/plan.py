"""Commands about a sweep file: what it would run and take, its faults, and what it may hold."""

from contextlib import nullcontext
from typing import Annotated

import typer

from sweeper.address import is_dashboard
from sweeper.cli import output, tables
from sweeper.cli.options import (
    Address,
    AsJson,
    File,
    Insecure,
    Name,
    Profile,
    Sets,
    Trials,
)
from sweeper.cli.output import progress
from sweeper.console import stderr
from sweeper.errors import CannotSchedule


def add_plan(cli: typer.Typer) -> None:
    """Adds the commands."""
    for command in (plan, validate, schema, describe):
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
    address: Address = "local",
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="NODES",
            help="Plan for a cluster that is described: '4 nodes x 8 GPUs, 96 CPUs'.",
            show_default=False,
        ),
    ] = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Say what a launch would run and take: studies, trials, epochs, data, hours and disk.

    On this machine, or on the cluster that --address or --cluster names. Exits with 7 if no trial
    can run there, once all of it is said.
    """
    from sweeper.commands import plan as app
    from sweeper.driver import remote
    from sweeper.planning.load import Options

    options = Options(
        profile=profile, sets=tuple(sets or ()), trials=trials, name=name,
        address="local" if cluster else address, insecure=insecure,
    )  # fmt: skip
    if is_dashboard(options.address):
        code = remote.plan(file, options, calibrate=calibrate, as_json=as_json)
        raise typer.Exit(code)
    with progress("calibrate", stderr()) if calibrate else nullcontext() as told:
        planned = app.plan(file, options, cluster=cluster, calibrate=told)
    tables.show_plan(planned, as_json=as_json)
    if refused := planned["unschedulable"]:
        error = CannotSchedule("\n".join(refused))
        output.show_error("plan", error, error.exit_code, as_json=False)
        raise typer.Exit(error.exit_code)


def validate(
    file: File,
    profile: Profile = "auto",
    sets: Sets = None,
    trials: Trials = None,
    as_json: AsJson = False,
) -> None:
    """Checks a sweep file and lists all its faults at once."""
    from sweeper.commands import plan as app
    from sweeper.planning.load import Options

    options = Options(profile=profile, sets=tuple(sets or ()), trials=trials)
    output.show(app.validate(file, options), as_json=as_json, command="validate")


def schema() -> None:
    """Prints the JSON Schema of a sweep file, for editors."""
    from sweeper.commands import plan as app

    output.print_json(app.schema())


def describe(
    name: Annotated[
        str, typer.Argument(help="A method, a task or a backbone.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Say what a method, task or backbone is, and what can be set of it, with its limits.

    sweeper describe orca
    sweeper describe nasbench360/ecg
    sweeper describe dinov2_small
    """
    from sweeper.commands import reference as app

    tables.show_reference(app.reference(name), as_json=as_json)
