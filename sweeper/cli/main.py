"""The `sweeper` command. Parses, calls `sweeper.app`, prints; decides nothing itself.

Results go to stdout (`--json`: one JSON object), progress and errors to stderr. Nothing heavy is
imported before a command needs it.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from sweeper.address import is_dashboard
from sweeper.app.disk import storage_fault
from sweeper.app.elsewhere import IsElsewhere, Remote
from sweeper.cli import output
from sweeper.cli.data import data
from sweeper.cli.files import add_files
from sweeper.cli.options import (
    Address,
    AsJson,
    File,
    Insecure,
    Name,
    Profile,
    Sets,
    SweepName,
    Trials,
)
from sweeper.cli.progress import progress
from sweeper.cli.results import add_results
from sweeper.cli.running import add_running
from sweeper.cli.upkeep import add_upkeep
from sweeper.console import ReaderLeft, is_plain, make_plain, stderr
from sweeper.errors import Interrupted, SweeperError, UsageError

cli = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None if is_plain(os.environ) else "rich",
)
cli.add_typer(data, name="data", help="Data of tasks: lists, imports, makes, verifies, deletes.")


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
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once a cluster at http://HEAD:8265 has it.")
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
    from sweeper.app import launch as app
    from sweeper.app import remote
    from sweeper.app.load import Options

    options = Options(
        profile=profile, sets=tuple(sets or ()), trials=trials, name=name,
        storage=storage, address=address, insecure=insecure,
    )  # fmt: skip
    if is_dashboard(address):
        sent = remote.launch(file, options, workdir=workdir, detach=detach, console=stderr())
        output.show(sent, as_json=as_json, command="launch")
        raise typer.Exit(sent["exit_code"])
    if detach or workdir:
        raise UsageError("--detach and --workdir need --address http://HEAD:8265, a dashboard's.")
    summary = app.launch(file, options, console=stderr())
    output.show_summary(summary, as_json=as_json)
    raise typer.Exit(summary["exit_code"])


add_running(cli)


add_files(cli)


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


add_results(cli)


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
    with progress("diagnose", stderr()) as told:
        found = app.diagnose(sweep, study, trial, what=chosen, samples=samples, progress=told)
    output.show_diagnosis(found, as_json=as_json)


add_upkeep(cli)


def main() -> None:
    """Runs the command line and exits with the code of `sweeper.errors`."""
    make_plain()
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        _close_stdout()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code; a deliberate error never shows a traceback."""
    as_json = "--json" in arguments
    words = [a for a in arguments if not a.startswith("-")]
    command = " ".join(words[: 2 if words[:1] == ["data"] else 1])
    try:
        return _invoke(arguments)
    except IsElsewhere as error:
        return _forward(error.remote, arguments, as_json=as_json)
    except (ReaderLeft, BrokenPipeError):
        _close_stdout()
        return 141
    except (SweeperError, OSError) as error:
        told = error if isinstance(error, SweeperError) else storage_fault(error)
        if told is None:
            raise
        output.show_error(command, told, told.exit_code, as_json=as_json)
        return told.exit_code
    except typer.TyperException as error:
        output.show_usage_error(command, error, as_json=as_json)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort) as error:
        if isinstance(error.__cause__, EOFError):  # a library's, which typer takes for Ctrl-D
            raise error.__cause__ from None
        output.show_error(command, Interrupted("interrupted"), 130, as_json=as_json)
        return 130


def _forward(remote: Remote, arguments: list[str], *, as_json: bool) -> int:
    """Runs a command on the cluster on which the sweep lives that it is about."""
    from sweeper.app.remote import forward

    try:
        return forward(remote, arguments, as_json=as_json)
    except SweeperError as error:
        output.show_error(arguments[0], error, error.exit_code, as_json=as_json)
        return error.exit_code
    except ReaderLeft:
        _close_stdout()
        return 141
    except KeyboardInterrupt:
        return 130  # what was asked for goes on there


def _invoke(arguments: list[str]) -> int:
    try:
        code = int(cli(arguments, standalone_mode=False, prog_name="sweeper") or 0)
    except typer.Exit as error:
        code = error.exit_code
    sys.stdout.flush()
    return code


def _close_stdout() -> None:
    """Lets whatever is left to be written go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
