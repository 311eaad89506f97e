"""The `sweeper` command. Parses, calls `sweeper.app`, prints; decides nothing itself.

Results go to stdout (`--json`: one JSON object), progress and errors to stderr. Nothing heavy is
imported before a command needs it.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sweeper.cli import output
from sweeper.cli.data import data
from sweeper.cli.progress import progress
from sweeper.errors import Interrupted, SweeperError

cli = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
cli.add_typer(data, name="data", help="The data of tasks: lists, imports, makes and verifies them.")

File = Annotated[Path, typer.Argument(help="The sweep file.", show_default=False)]
Profile = Annotated[
    str, typer.Option("--profile", help="auto, paper, laptop, or another of the file's profiles.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replaces a value of the file; repeatable."),
]
Trials = Annotated[
    int | None, typer.Option("--trials", min=1, help="Trials a study, preset and control included.")
]
Name = Annotated[str | None, typer.Option("--name", help="Another name for the sweep.")]
Address = Annotated[
    str, typer.Option("--address", help="`local`, or the address of a running Ray cluster.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
SweepName = Annotated[str, typer.Argument(help="A sweep in ./sweeps.", show_default=False)]


@cli.callback()
def root() -> None:
    """Fair hyperparameter sweeps over cross-modal fine-tuning: ORCA, PaRe, MoNA and ours."""


@cli.command()
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
    yes: Annotated[
        bool, typer.Option("--yes", help="Answer yes to whatever a launch asks; now, nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Runs the sweep that FILE describes, or goes on with it if it has begun."""
    del yes
    from sweeper.app import launch as app
    from sweeper.app.load import Options

    options = Options(
        profile=profile, sets=tuple(sets or ()), trials=trials, name=name,
        storage=storage, address=address,
    )  # fmt: skip
    summary = app.launch(file, options, console=output.stderr())
    output.show_summary(summary, as_json=as_json)
    raise typer.Exit(summary["exit_code"])


@cli.command()
def resume(sweep: SweepName, address: Address = "local", as_json: AsJson = False) -> None:
    """Goes on with a sweep that was interrupted, with the options it was launched with."""
    from sweeper.app import launch as app

    summary = app.resume(sweep, address=address, console=output.stderr())
    output.show_summary(summary, as_json=as_json, command="resume")
    raise typer.Exit(summary["exit_code"])


@cli.command()
def plan(
    file: File,
    profile: Profile = "auto",
    sets: Sets = None,
    trials: Trials = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Says what a launch would run: studies, trials, stages, rungs, data and disk."""
    from sweeper.app import plan as app
    from sweeper.app.load import Options

    options = Options(profile=profile, sets=tuple(sets or ()), trials=trials, name=name)
    output.show_plan(app.plan(file, options), as_json=as_json)


@cli.command()
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


@cli.command()
def schema() -> None:
    """Prints the JSON Schema of a sweep file, for editors."""
    from sweeper.app import inspect as app

    output.print_json(app.schema())


@cli.command("ls")
def list_sweeps(as_json: AsJson = False) -> None:
    """Lists the sweeps in ./sweeps."""
    from sweeper.app import inspect as app

    output.show_sweeps(app.sweeps(), as_json=as_json)


@cli.command()
def status(
    sweep: Annotated[
        str | None, typer.Argument(help="A sweep in ./sweeps; all if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Says how far a sweep is, and what is best so far."""
    from sweeper.app import inspect as app

    if sweep is None:
        output.show_sweeps(app.sweeps(), as_json=as_json, command="status")
    else:
        output.show_summary(app.status(sweep), as_json=as_json, command="status")


@cli.command()
def report(
    sweep: SweepName,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where the page goes.")] = None,
    as_json: AsJson = False,
) -> None:
    """Writes one self-contained HTML page about a sweep."""
    from sweeper.app import inspect as app

    output.show(app.report(sweep, out), as_json=as_json, command="report")


@cli.command()
def diagnose(
    sweep: SweepName,
    study: Annotated[
        str, typer.Argument(help="A study: pare/pdebench/advection_1d.", show_default=False)
    ],
    trial: Annotated[int, typer.Argument(min=0, help="A trial's number.", show_default=False)],
    what: Annotated[
        str | None,
        typer.Option(help="Of landscape,intermediate,scatter,otdd; all that can be, if left out."),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=6, help="Of each modality, at most; fewer are faster.")
    ] = 512,
    as_json: AsJson = False,
) -> None:
    """Looks into a trial's best weights, and writes what plots are made of as Parquet files."""
    from sweeper.app import diagnose as app

    chosen = None if what is None else [each.strip() for each in what.split(",")]
    with progress("diagnose", output.stderr()) as told:
        found = app.diagnose(sweep, study, trial, what=chosen, samples=samples, progress=told)
    output.show_diagnosis(found, as_json=as_json)


@cli.command()
def sync(sweep: SweepName, as_json: AsJson = False) -> None:
    """Ships to MLflow whatever it has not yet received of a sweep."""
    from sweeper.app import inspect as app

    output.show(app.sync(sweep), as_json=as_json, command="sync")


@cli.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the page listens.")] = 5000,
) -> None:
    """Opens MLflow's UI on the store that launches in this folder write to."""
    from sweeper.app import inspect as app

    app.ui(port)


@cli.command()
def doctor(as_json: AsJson = False) -> None:
    """Checks this machine: packages, weights, data, devices, disk, backends."""
    from sweeper.app import doctor as app

    output.show_checks(app.examine(), as_json=as_json)


def main() -> None:
    """Runs the command line and exits with the code of `sweeper.errors`."""
    code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code; a deliberate error never shows a traceback."""
    as_json = "--json" in arguments
    words = [a for a in arguments if not a.startswith("-")]
    command = " ".join(words[: 2 if words[:1] == ["data"] else 1])
    try:
        result = cli(arguments, standalone_mode=False, prog_name="sweeper")
        return int(result or 0)
    except SweeperError as error:
        output.show_error(command, error, error.exit_code, as_json=as_json)
        return error.exit_code
    except typer.Exit as error:
        return error.exit_code
    except typer.TyperException as error:
        output.show_usage_error(command, error, as_json=as_json)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        output.show_error(command, Interrupted("interrupted"), 130, as_json=as_json)
        return 130
    except BrokenPipeError:
        sys.stdout = None  # whoever read our output has left
        return 141


if __name__ == "__main__":
    main()
