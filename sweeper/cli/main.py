"""The `sweeper` command. Parses, calls `sweeper.commands`, prints; decides nothing itself.

Results go to stdout (`--json`: one JSON object), progress and errors to stderr. Nothing heavy is
imported before a command needs it.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Annotated

import typer

from sweeper import __version__
from sweeper.address import is_dashboard
from sweeper.cli import completion, output
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
    Trial,
    Trials,
    sweep_name,
)
from sweeper.cli.progress import progress
from sweeper.cli.results import add_results
from sweeper.cli.running import add_running
from sweeper.cli.upkeep import add_upkeep
from sweeper.console import ReaderLeft, is_plain, make_plain, stderr
from sweeper.errors import Interrupted, SweeperError, UsageError
from sweeper.model import trial_name
from sweeper.planning.disk import storage_fault
from sweeper.planning.remote_ref import IsElsewhere, forget

FOLDER = ("-C", "--directory")  # options before the command
cli = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None if is_plain(os.environ) else "rich",
)
completion.keep_names_whole()
cli.add_typer(data, name="data", help="Data of tasks: lists, imports, makes, verifies, deletes.")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"sweeper {__version__}")
        raise typer.Exit


@cli.callback()
def root(
    ctx: typer.Context,
    directory: Annotated[
        Path | None,
        typer.Option(
            *FOLDER,
            metavar="DIR",
            exists=True,
            file_okay=False,
            show_default=False,
            help="Work in DIR, as if started there. SWEEPER_SWEEPS names a folder of sweeps "
            "other than ./sweeps.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version, and exit."
        ),
    ] = False,
) -> None:
    """Fair hyperparameter sweeps over cross-modal fine-tuning: ORCA, PaRe, MoNA and ours."""
    if directory is not None:
        ctx.with_resource(chdir(directory))


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
    output.show_summary(summary, as_json=as_json)
    raise typer.Exit(summary["exit_code"])


add_running(cli)


add_files(cli)


@cli.command("ls")
def list_sweeps(
    tag: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=VALUE]", help="Only those with this tag; repeatable.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Lists the sweeps in ./sweeps, or in SWEEPER_SWEEPS."""
    from sweeper.commands import inspect as app

    output.show_sweeps(app.sweeps(tag or ()), as_json=as_json, tags=tag or ())


@cli.command()
def status(
    sweep: Annotated[
        str | None,
        typer.Argument(
            help="A sweep: its name in ./sweeps, or its folder; all if left out.",
            callback=sweep_name,
            autocompletion=completion.sweeps,
        ),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="List its failed trials, each with its reason.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Says how far a sweep is, and what is best so far."""
    from sweeper.commands import inspect as app

    if failed:
        if sweep is None:
            raise UsageError("--failed: of which sweep? Write: sweeper status SWEEP --failed")
        output.show_failed(app.failed(sweep), as_json=as_json)
    elif sweep is None:
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
    from sweeper.commands import inspect as app

    output.show(app.report(sweep, out), as_json=as_json, command="report")


add_results(cli)


@cli.command()
def diagnose(
    sweep: SweepName,
    trial: Trial,
    number: Annotated[
        int | None,
        typer.Argument(min=0, help="Its number, where TRIAL is a study alone.", show_default=False),
    ] = None,
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
    from sweeper.commands import diagnose as app

    chosen = None if what is None else [each.strip() for each in what.split(",")]
    with progress("diagnose", stderr()) as told:
        name = trial if number is None else trial_name(trial, number)
        found = app.diagnose(sweep, name, what=chosen, samples=samples, progress=told)
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
    own = _without_folder(arguments)
    words = [a for a in own if not a.startswith("-")]
    command = " ".join(words[: 2 if words[:1] == ["data"] else 1])
    try:
        return _invoke(arguments)
    except IsElsewhere as error:
        return _forward(error, own, as_json=as_json)
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


def _without_folder(arguments: Sequence[str]) -> list[str]:
    """Return a command's words without the option that says in which folder to run it."""
    words = list(arguments)
    while words and words[0].startswith("-"):
        if words[0] in FOLDER:
            del words[:2]
        elif words[0].startswith(("-C", "--directory=")):
            del words[0]
        else:
            break
    return words


def _named(arguments: Sequence[str], there: IsElsewhere) -> list[str]:
    """Return a command's words with the sweep by its name, where its folder here named it."""
    words = list(arguments)
    for place, word in enumerate(words[1:], 1):
        if "/" in word and Path(word).name == there.remote.name:
            words[place] = there.remote.name
            break
    return words


def _forward(there: IsElsewhere, arguments: list[str], *, as_json: bool) -> int:
    """Runs a command on the cluster on which the sweep lives that it is about."""
    from sweeper.driver.remote import forward

    try:
        code = forward(there.remote, _named(arguments, there), as_json=as_json)
        if code == 0 and arguments[0] == "delete":
            forget(there.folder)
        return code
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
