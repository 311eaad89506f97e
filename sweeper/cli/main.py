"""The `sweeper` command: it parses arguments, calls `sweeper.commands` and prints the results.

Results go to stdout (`--json`: one JSON object), progress and errors to stderr. Heavy packages are
imported only by the commands that need them.
"""

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper import __version__
from sweeper.cli import completion, launch, output, plan, results, upkeep
from sweeper.cli.audit import audit
from sweeper.cli.data import data
from sweeper.cli.importing import import_search
from sweeper.cli.options import new_group
from sweeper.cli.reproduce import reproduce
from sweeper.cli.site import site
from sweeper.cli.slurm import slurm
from sweeper.cli.trial import trial
from sweeper.console import ReaderLeft, make_plain
from sweeper.errors import Interrupted, SweeperError, UsageError, storage_fault

if TYPE_CHECKING:
    from sweeper.planning.sweep_folder import IsElsewhere

FOLDER = ("-C", "--directory")  # options before the command
OBJECTS = 50_000  # new ones between two collections
PLUGIN = "--plugin"  # likewise, but users may write it anywhere
RUN, LOOK, COMPARE = "Run", "Look", "Compare"  # the panels of `sweeper --help`
DATA, MAINTAIN = "Data and sweep files", "Maintain"
NAMES = {"list_sweeps": "ls", "import_search": "import"}  # of functions named otherwise

cli = new_group()
completion.keep_names_whole()
cli.add_typer(
    data, name="data", help="List, import, generate, verify and delete data.", rich_help_panel=DATA
)
cli.add_typer(trial, name="trial", help="Stop, skip, retry or add one trial.", rich_help_panel=RUN)


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
            help="Run the command in DIR. The sweeps are in DIR/sweeps, or in the folder that "
            "SWEEPER_SWEEPS names.",
        ),
    ] = None,
    plugins: Annotated[
        list[Path] | None,
        typer.Option(
            PLUGIN,
            metavar="PATH",
            help="Use the methods, tasks and other objects of a plugin that is not installed: a "
            "folder with a pyproject.toml, or a Python file; repeatable. It may also be written "
            "after the command.",
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
    if plugins:
        from sweeper.planning.catalog import usable_home
        from sweeper.planning.plugin_path import activate

        for path in plugins:
            activate(path, usable_home())


for panel, commands in (
    (RUN, (launch.launch, launch.run, launch.resume, launch.extend, launch.retry, launch.rerun,
           launch.fork, launch.stop, launch.cancel)),
    (LOOK, (launch.logs,)),
    (RUN, (slurm,)),
    (LOOK, (results.list_sweeps, results.status, results.report, results.watch, results.best,
            results.export, results.predict, results.diagnose)),
    (COMPARE, (results.compare, reproduce, site)),
    (RUN, (plan.init, plan.validate, plan.plan)),
    (DATA, (plan.describe, plan.schema)),
    (RUN, (import_search,)),
    (DATA, (audit,)),
    (LOOK, (upkeep.ui,)),
    (MAINTAIN, (upkeep.delete, upkeep.tag, upkeep.note, upkeep.sync, upkeep.gc, upkeep.doctor)),
):  # fmt: skip
    for command in commands:
        cli.command(NAMES.get(command.__name__), rich_help_panel=panel)(command)


def main() -> None:
    """Run the command line, and exit with a code of `sweeper.errors`."""
    make_plain()
    # The modules that a command imports stay. To look through them again and again for what can be
    # freed takes a tenth of the time of a short command.
    gc.set_threshold(OBJECTS)
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        _close_stdout()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors for users show no traceback."""
    end = arguments.index("--") if "--" in arguments else None  # the words of a program follow
    as_json = "--json" in arguments[:end]
    arguments, plugins = _divided(arguments)
    own = _without_folder(arguments)
    words = [a for a in own if not a.startswith("-")]
    command = " ".join(words[: 2 if words[:1] in (["data"], ["trial"]) else 1])
    try:
        return _invoke([*plugins, *arguments])
    except (ReaderLeft, BrokenPipeError):
        _close_stdout()
        # A shell has this code for a process that SIGPIPE ended.
        return 141
    except (SweeperError, OSError) as error:
        if (there := _elsewhere(error)) is not None:
            return _forward(there, own, command, as_json=as_json)
        fault = error if isinstance(error, SweeperError) else _fault_of(error)
        if fault is None:
            raise
        output.show_error(command, fault, fault.exit_code, as_json=as_json)
        return fault.exit_code
    except typer.TyperException as error:
        output.show_usage_error(command, error, as_json=as_json)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort) as error:
        if isinstance(error.__cause__, EOFError):  # raised by a library; Typer takes it for Ctrl-D
            raise error.__cause__ from None
        output.show_error(command, Interrupted("interrupted"), 130, as_json=as_json)
        return 130
    except Exception as error:
        # A program gets its object, and a report of this fault needs the traceback.
        if as_json:
            output.show_internal_error(command, error)
        raise


def _fault_of(error: OSError) -> SweeperError | None:
    """Return the fault of a disk that refuses, or of a working folder that was deleted."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return UsageError("the working folder was deleted: change into another one.")
    return storage_fault(error)


def _divided(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments without the options that name plugins, and these options."""
    words = list(arguments)
    plugins: list[str] = []
    end = words.index("--") if "--" in words else len(words)
    # In this order a deletion moves no word that is still to be looked at.
    for place in reversed(range(end)):
        if words[place] == PLUGIN and place + 1 < end:
            plugins[:0] = [PLUGIN, words[place + 1]]
            del words[place : place + 2]
        elif words[place].startswith(f"{PLUGIN}="):
            plugins.insert(0, words.pop(place))
    return words, plugins


def _without_folder(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without the option of the folder to run in."""
    words = list(arguments)
    while words and words[0].startswith("-"):
        if words[0] in FOLDER:
            del words[:2]
        elif words[0].startswith(("-C", "--directory=")):
            del words[0]
        else:
            break
    return words


def _elsewhere(error: Exception) -> "IsElsewhere | None":
    """Return the error if it says that the sweep of the command lives on a cluster."""
    from sweeper.planning.sweep_folder import IsElsewhere  # it loads the ledger's database

    return error if isinstance(error, IsElsewhere) else None


def _named(arguments: Sequence[str], there: "IsElsewhere") -> list[str]:
    """Return the arguments with the name of the sweep in the place of its local folder."""
    words = list(arguments)
    for place, word in enumerate(words[1:], 1):
        if "/" in word and Path(word).name == there.remote.name:
            words[place] = there.remote.name
            break
    return words


def _forward(there: "IsElsewhere", arguments: list[str], command: str, *, as_json: bool) -> int:
    """Run a command on the cluster that its sweep lives on."""
    from sweeper.driver.remote import forward
    from sweeper.planning.sweep_folder import NOTE, forget

    try:
        code = forward(there.remote, _named(arguments, there), as_json=as_json)
        # The note would lead to a sweep that is gone.
        if code == 0 and arguments[0] == "delete":
            forget(there.folder, NOTE)
        return code
    except SweeperError as error:
        output.show_error(command, error, error.exit_code, as_json=as_json)
        return error.exit_code
    except ReaderLeft:
        _close_stdout()
        return 141
    except KeyboardInterrupt:
        return 130  # the job on the cluster goes on


def _invoke(arguments: list[str]) -> int:
    try:
        # By itself Typer prints errors and exits, so that no JSON could tell them.
        code = int(cli(arguments, standalone_mode=False, prog_name="sweeper") or 0)
    except typer.Exit as error:
        code = error.exit_code
    # A reader that has left shows here, where it still decides the exit code.
    sys.stdout.flush()
    return code


def _close_stdout() -> None:
    """Discard all further output."""
    # Python flushes stdout at its exit, and would print an error about the closed pipe.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
