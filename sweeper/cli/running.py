"""Commands about a sweep that has begun: go on, add to it, end it, follow it."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sweeper.cli import completion, output
from sweeper.cli.options import Address, AsJson, Insecure, SweepName, Trial
from sweeper.console import stderr


def add_running(cli: typer.Typer) -> None:
    """Adds these commands to the command line."""
    for command in (resume, extend, retry, rerun, stop, cancel, logs):
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
    from sweeper.commands import continue_sweep
    from sweeper.commands.launch import Where

    where = Where(address=address, insecure=insecure)
    _end(continue_sweep.extend(sweep, trials, where, console=stderr()), "extend", as_json)


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
    from sweeper.commands import continue_sweep
    from sweeper.commands.launch import Where

    where = Where(address=address, insecure=insecure)
    _end(continue_sweep.retry(sweep, where, console=stderr()), "retry", as_json)


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
    from sweeper.commands import continue_sweep
    from sweeper.commands.launch import Where

    where = Where(address=address, insecure=insecure)
    _end(continue_sweep.rerun(sweep, trial, seed, where, console=stderr()), "rerun", as_json)


def stop(sweep: SweepName, as_json: AsJson = False) -> None:
    """Lets the running trials of a sweep finish, and starts no other."""
    from sweeper.commands import ask

    output.show(ask.stop(sweep), as_json=as_json, command="stop")


def cancel(sweep: SweepName, as_json: AsJson = False) -> None:
    """Ends a sweep now, resumable: its running trials keep their last checkpoints."""
    from sweeper.commands import ask

    output.show(ask.cancel(sweep), as_json=as_json, command="cancel")


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
    output.show_summary(summary, as_json=as_json, command=command)
    raise typer.Exit(summary["exit_code"])
