"""Commands that start and steer a sweep: launch, continue, stop, follow."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.address import is_dashboard
from sweeper.cli import completion, output, tables
from sweeper.cli.options import (
    Address,
    AsJson,
    File,
    Include,
    Insecure,
    MaxArms,
    Name,
    NoDashboard,
    Profile,
    Sets,
    Storage,
    SweepName,
    Trial,
    Trials,
    all_sets,
)
from sweeper.console import stderr
from sweeper.errors import UsageError

if TYPE_CHECKING:
    from sweeper.commands.look import Summary


def launch(
    file: File,
    profile: Profile = "auto",
    sets: Sets = None,
    trials: Trials = None,
    max_arms: MaxArms = None,
    name: Name = None,
    storage: Storage = None,
    address: Address = "local",
    detach: Annotated[
        bool,
        typer.Option(
            "--detach",
            help="Run the sweep in the background, and return once it runs; on a cluster, once the "
            "job is accepted.",
        ),
    ] = False,
    workdir: Annotated[
        Path | None,
        typer.Option(
            help="With --address http://HOST:8265: the folder of the sweep on the cluster, which "
            "all nodes share."
        ),
    ] = None,
    include: Include = None,
    no_dashboard: NoDashboard = False,
    insecure: Insecure = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Answer yes to all questions; at present none are asked.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run the sweep that FILE describes, or continue it if it has begun.

    sweeper launch search_spaces/mona_pdebench.yaml --profile laptop
    """
    from sweeper.planning.load import Options

    options = Options(
        profile=profile, sets=all_sets(sets, max_arms, no_dashboard=no_dashboard), trials=trials,
        name=name, storage=storage, address=address, insecure=insecure,
        include=tuple(include or ()),
    )  # fmt: skip
    # A dashboard takes jobs alone, so that the file is sent, and a job launches it there.
    if is_dashboard(address):
        from sweeper.commands import background

        sent = background.send(file, options, workdir=workdir, detach=detach, console=stderr())
        output.show(sent, as_json=as_json, command="launch")
        raise typer.Exit(sent.exit_code)
    if workdir:
        raise UsageError("--workdir needs --address http://HEAD:8265, a dashboard's.")
    if detach:
        from sweeper.commands import background

        begun = background.launch(file, options, console=stderr())
        output.show(begun, as_json=as_json, command="launch")
        raise typer.Exit(begun.exit_code)
    from sweeper.commands import launch as app

    _end(app.launch(file, options, console=stderr()), "launch", as_json)


def run(
    script: Annotated[Path, typer.Argument(help="A script: FILE.py, or any program.")],
    words: Annotated[
        list[str] | None, typer.Argument(help="After --: further words of its command.")
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="A parameter: NAME=log(LOW,HIGH), NAME=uniform(LOW,HIGH), or the same with "
            "log_integers or integers, NAME=[A,B] or a value. "
            "The script gets it as --NAME, or where a word has {NAME}; repeatable.",
        ),
    ] = None,
    metric: Annotated[str, typer.Option(help="The reported value that the search follows.")] = "",
    goal: Annotated[str, typer.Option(help="minimize or maximize.")] = "minimize",
    steps: Annotated[int | None, typer.Option(help="Reports of a trial, if known.")] = None,
    trials: Trials = 32,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the sweep; default: the script's.")
    ] = None,
    sets: Sets = None,
    address: Address = "local",
    insecure: Insecure = False,
    no_dashboard: NoDashboard = False,
    as_json: AsJson = False,
) -> None:
    """Search for the best parameters of a script, which prints its results as lines of JSON.

    sweeper run train.py --search 'lr=log(1e-5,1e-1)' --metric loss --trials 40 -- --data x.npz
    """
    from sweeper.commands import launch as app
    from sweeper.planning.load import Options
    from sweeper.planning.one_line import read_search, sweep_file, words_of

    if is_dashboard(address):
        raise UsageError("--address: a job needs a sweep file: write one with `program.command`, "
                         f"and run: sweeper launch FILE --address {address}")  # fmt: skip
    if not metric:
        raise UsageError("--metric is missing: name the reported value that the search follows.")
    parameters, here = read_search(search or ()), str(Path.cwd())
    command = words_of(script, words or (), list(parameters))
    program = {"command": command, "metric": metric, "goal": goal, "steps": steps, "folder": here}
    options = Options(
        sets=all_sets(sets, None, no_dashboard=no_dashboard), address=address, insecure=insecure
    )
    with sweep_file(name or script.stem, program, parameters, trials or 32) as file:
        _end(app.launch(file, options, console=stderr()), "run", as_json)


def resume(
    sweep: SweepName,
    address: Address = "local",
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Continue a sweep that was interrupted, with the settings that it was launched with."""
    from sweeper.commands import launch as app
    from sweeper.planning.load import Options

    options = Options(address=address, insecure=insecure)
    _end(app.resume(sweep, options, console=stderr()), "resume", as_json)


def extend(
    sweep: SweepName,
    trials: Annotated[
        int,
        typer.Option(
            "--trials", min=1, max=100_000, help="Trials of each study in all, old ones included."
        ),
    ],
    address: Address = "local",
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Continue a sweep with more trials, as if it had been launched with them."""
    from sweeper.commands import launch as app
    from sweeper.planning.load import Options

    options = Options(address=address, insecure=insecure)
    _end(app.extend(sweep, trials, options, console=stderr()), "extend", as_json)


def retry(
    sweep: SweepName,
    failed: Annotated[
        bool, typer.Option("--failed", help="Failed trials: the default, and the only choice.")
    ] = True,
    address: Address = "local",
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Run the failed trials of a sweep again, from their last checkpoints."""
    from sweeper.commands import launch as app
    from sweeper.planning.load import Options

    options = Options(address=address, insecure=insecure)
    _end(app.retry(sweep, options, console=stderr()), "retry", as_json)


def rerun(
    sweep: SweepName,
    trial: Trial,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**63 - 1, help="Another seed; default: the trial's own."),
    ] = None,
    address: Address = "local",
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Run the configuration of one trial once more from the start, outside the search."""
    from sweeper.commands import launch as app
    from sweeper.planning.load import Options

    options = Options(address=address, insecure=insecure)
    _end(app.rerun(sweep, trial, seed, options, console=stderr()), "rerun", as_json)


def fork(
    sweep: SweepName,
    new: Annotated[str, typer.Argument(help="The name of the new sweep.")],
    sets: Sets = None,
    address: Address = "local",
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Run a new sweep with the settings of another one, which begins with its best trials.

    sweeper fork mona_pdebench wider --set refine.epochs=40
    """
    from sweeper.commands import launch as app
    from sweeper.planning.load import Options

    options = Options(sets=tuple(sets or ()), address=address, insecure=insecure)
    _end(app.fork(sweep, new, options, console=stderr()), "fork", as_json)


def stop(sweep: SweepName, as_json: AsJson = False) -> None:
    """Let the running trials of a sweep finish, and start no others."""
    from sweeper.commands import control
    from sweeper.planning.sweep_folder import existing

    output.show(control.stop(existing(sweep)), as_json=as_json, command="stop")


def cancel(sweep: SweepName, as_json: AsJson = False) -> None:
    """End a sweep now; `sweeper resume` continues it from its last checkpoints."""
    from sweeper.commands import control
    from sweeper.planning.sweep_folder import existing

    output.show(control.cancel(existing(sweep)), as_json=as_json, command="cancel")


def logs(
    sweep: SweepName,
    trial: Annotated[
        str | None,
        typer.Argument(
            help="Only this trial, as STUDY/NUMBER, with the output of its process.",
            autocompletion=completion.trials,
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep printing until the sweep ends.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the events of a sweep, or of one of its trials, one line each.

    With --json one object has all lines; with --follow, too, each line is an object with one.
    """
    from sweeper.commands import logs as app

    lines = app.follow(sweep, trial, forever=follow)
    # One object needs the end of the lines, for which `--follow` does not wait.
    if as_json and not follow:
        output.print_result(app.Log(sweep=sweep, trial=trial, lines=tuple(lines)), "logs")
        return
    for line in lines:
        if as_json:
            found = app.Log(sweep=sweep, trial=trial, lines=(line,))
            output.print_result(found, "logs", indent=None)
        else:
            output.line(line)


def _end(summary: "Summary", command: str, as_json: bool) -> None:
    """Print the summary of a launch, and exit with its code."""
    output.present(summary, tables.show_summary, command=command, as_json=as_json)
    raise typer.Exit(summary.exit_code)
