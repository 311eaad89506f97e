"""Commands about a sweep that has begun: go on, add to it, end it, follow it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from sweeper.address import is_dashboard
from sweeper.cli import completion, output, tables
from sweeper.cli.options import (
    Address,
    AsJson,
    File,
    Insecure,
    Name,
    Profile,
    Sets,
    SweepName,
    Trial,
    Trials,
)
from sweeper.console import stderr
from sweeper.errors import UsageError


def add_launch(cli: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (launch, resume, extend, retry, rerun, stop, cancel, logs):
        cli.command()(command)


def resume(
    sweep: SweepName,
    address: Address = "local",
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Goes on with a sweep that was interrupted, with the options it was launched with."""
    from sweeper.commands.launch import Where
    from sweeper.commands.launch import resume as app

    where = Where(address=address, insecure=insecure)
    _end(app(sweep, where, console=stderr()), "resume", as_json)


def extend(
    sweep: SweepName,
    trials: Annotated[
        int, typer.Option("--trials", min=1, max=100_000, help="Trials a study, in all.")
    ],
    address: Address = "local",
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Goes on with a sweep until each study has more trials, as if it had been launched so."""
    from sweeper.commands import launch
    from sweeper.commands.launch import Where

    where = Where(address=address, insecure=insecure)
    _end(launch.extend(sweep, trials, where, console=stderr()), "extend", as_json)


def retry(
    sweep: SweepName,
    failed: Annotated[
        bool, typer.Option("--failed", help="The trials that failed; there is no other choice.")
    ] = True,
    address: Address = "local",
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Tries the failed trials of a sweep again, from their last checkpoints."""
    del failed
    from sweeper.commands import launch
    from sweeper.commands.launch import Where

    where = Where(address=address, insecure=insecure)
    _end(launch.retry(sweep, where, console=stderr()), "retry", as_json)


def rerun(
    sweep: SweepName,
    trial: Trial,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**63 - 1, help="Another seed; the trial's own if left out."),
    ] = None,
    address: Address = "local",
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Runs one trial's configuration once more, from its start, beside the search."""
    from sweeper.commands import launch
    from sweeper.commands.launch import Where

    where = Where(address=address, insecure=insecure)
    _end(launch.rerun(sweep, trial, seed, where, console=stderr()), "rerun", as_json)


def stop(sweep: SweepName, as_json: AsJson = False) -> None:
    """Lets the running trials of a sweep finish, and starts no other."""
    from sweeper.commands import control

    output.show(control.stop(sweep), as_json=as_json, command="stop")


def cancel(sweep: SweepName, as_json: AsJson = False) -> None:
    """Ends a sweep now, resumable: its running trials keep their last checkpoints."""
    from sweeper.commands import control

    output.show(control.cancel(sweep), as_json=as_json, command="cancel")


def logs(
    sweep: SweepName,
    trial: Annotated[
        str | None,
        typer.Argument(help="Of this trial only: STUDY/NUMBER.", autocompletion=completion.trials),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the sweep ends.")
    ] = False,
) -> None:
    """Prints what happened in a sweep, line by line; of one trial also what it printed."""
    from sweeper.commands import logs as app

    for line in app.follow(sweep, trial, forever=follow):
        output.line(line)


def _end(summary: Mapping[str, Any], command: str, as_json: bool) -> None:
    tables.show_summary(summary, as_json=as_json, command=command)
    raise typer.Exit(summary["exit_code"])


def launch(
    file: File,
    profile: Profile = "auto",
    sets: Sets = None,
    trials: Trials = None,
    name: Name = None,
    storage: Annotated[
        str | None, typer.Option(help="URL of the ledger; default: SQLite in the sweep's folder.")
    ] = None,
    address: Address = "local",
    detach: Annotated[
        bool,
        typer.Option(
            "--detach",
            help="Return once the sweep runs in the background, here or on the cluster it is sent "
            "to.",
        ),
    ] = False,
    workdir: Annotated[
        Path | None,
        typer.Option(help="Where on that cluster the sweep lives; a folder that nodes share."),
    ] = None,
    insecure: Insecure = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Answer yes to whatever a launch asks; now, nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Runs the sweep that FILE describes, or goes on with it if it has begun."""
    del yes
    from sweeper.commands import launch as app
    from sweeper.driver import remote
    from sweeper.planning.load import Options

    options = Options(
        profile=profile, sets=tuple(sets or ()), trials=trials, name=name,
        storage=storage, address=address, insecure=insecure,
    )  # fmt: skip
    if is_dashboard(address):
        sent = remote.launch(file, options, workdir=workdir, detach=detach, console=stderr())
        output.show(sent, as_json=as_json, command="launch")
        raise typer.Exit(sent["exit_code"])
    if workdir:
        raise UsageError("--workdir needs --address http://HEAD:8265, a dashboard's.")
    if detach:
        from sweeper.commands import background

        begun = background.launch(file, options, console=stderr())
        output.show(begun, as_json=as_json, command="launch")
        raise typer.Exit(begun["exit_code"])
    summary = app.launch(file, options, console=stderr())
    tables.show_summary(summary, as_json=as_json)
    raise typer.Exit(summary["exit_code"])
