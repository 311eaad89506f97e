"""Arguments and options that several commands share."""

import os
from collections.abc import Callable
from dataclasses import Field, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from sweeper.cli import completion
from sweeper.console import is_plain, print_text, stderr


def new_group() -> typer.Typer:
    """Return a group of commands without any."""
    return typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        # Rich draws boxes of characters that an ASCII locale lacks.
        rich_markup_mode=None if is_plain(os.environ) else "rich",
    )


def _sweep_file(text: str) -> Path:
    """Return the path of a sweep file, and say if it is a shipped one."""
    from sweeper.spec.shipped import located

    file = located(Path(text))
    if file != Path(text):
        print_text(stderr(), f"{text}: the shipped file {file}")
    return file


File = Annotated[
    Path,
    typer.Argument(
        parser=_sweep_file,
        help="The sweep file, or the name of a shipped one, such as mona_pdebench.",
    ),
]
Profile = Annotated[
    str,
    typer.Option(
        "--profile",
        help="A profile of the file, such as paper or laptop; auto: laptop if no GPU is visible.",
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace a value of the file, such as search.trials=8; repeatable.",
    ),
]
Trials = Annotated[
    int | None,
    typer.Option("--trials", min=1, help="Trials of each study, preset and control included."),
]
MaxArms = Annotated[
    int | None,
    typer.Option(
        "--max-arms",
        min=2,
        max=1000,
        help="Most arms of one method on one task (`compare_by`), instead of the file's.",
    ),
]
NoDashboard = Annotated[
    bool,
    typer.Option("--no-dashboard", help="Start Ray without its dashboard: resources.dashboard."),
]
Name = Annotated[str | None, typer.Option("--name", help="Another name for the sweep.")]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar="SWEEPER_STORAGE",
        help="URL of the database that holds the ledger, such as postgresql+psycopg://me@host/db; "
        "default: an SQLite file in the sweep's folder.",
    ),
]
Include = Annotated[
    list[Path] | None,
    typer.Option(
        "--include",
        metavar="PATH",
        help="A task file (*.task.yaml) of own tasks, or a folder of them; repeatable.",
    ),
]
Address = Annotated[
    str,
    typer.Option(
        "--address",
        envvar="SWEEPER_ADDRESS",
        help="Where to run: `local` on this machine; HOST:PORT in a running Ray cluster; "
        "http://HOST:8265, its dashboard, as a Ray Job.",
    ),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Allow services that others on the network can reach and use."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def with_options_of(kind: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that a dataclass declares, in place of its parameter of this type.

    The metadata of a field has the `names` of its option and what else Typer takes of one. A tuple
    is an option that can be repeated.
    """
    declared = {each.name: each for each in fields(kind)}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters: list[Parameter] = []
        for each in signature(command).parameters.values():
            if each.annotation is kind:
                joined = each.name
                parameters += map(_parameter, declared.values())
            else:
                parameters.append(each)

        @wraps(command)
        def run(**given: Any) -> None:
            mine = {name: given.pop(name) for name in declared}
            # Typer gives a list or None where the field has a tuple.
            values = {
                k: tuple(v or ()) if declared[k].default == () else v for k, v in mine.items()
            }
            command(**given, **{joined: kind(**values)})

        # Typer takes parameters from the signature, and type hints from the annotations.
        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def _parameter(of: Field[object]) -> Parameter:
    """Return the parameter of a command that stands for a field."""
    names, shown = of.metadata["names"], {k: v for k, v in of.metadata.items() if k != "names"}
    repeats = of.default == ()
    kind: Any = list[str] | None if repeats else of.type
    default = None if repeats else of.default
    annotation = Annotated[kind, typer.Option(*names, **shown)]
    return Parameter(
        of.name, Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation
    )


def all_sets(
    sets: list[str] | None, max_arms: int | None, *, no_dashboard: bool = False
) -> tuple[str, ...]:
    """Return the changes of a file that the options make, as KEY=VALUE."""
    arms = [] if max_arms is None else [f"max_arms={max_arms}"]
    return (*(sets or ()), *arms, *["resources.dashboard=false"] * no_dashboard)


def sweep_name(text: str | None) -> str | None:
    """Return the name of a sweep that may be written as the path of its folder."""
    from sweeper.planning.sweep_folder import name_of

    return None if text is None else name_of(text)


SweepName = Annotated[
    str,
    typer.Argument(
        help="A sweep: its name in ./sweeps, or its folder.",
        callback=sweep_name,
        autocompletion=completion.sweeps,
    ),
]
Trial = Annotated[
    str,
    typer.Argument(
        help="A trial, as STUDY/NUMBER; or its number, if the sweep has one study.",
        autocompletion=completion.trials,
    ),
]
