"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from sweeper.cli import completion
from sweeper.console import print_text, stderr

RUN, LOOK, COMPARE = "Run", "Look", "Compare"  # the panels of `sweeper --help`
DATA, MAINTAIN = "Data and sweep files", "Maintain"


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
        help="URL of the database that holds the ledger, such as postgresql://me@host/db; "
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
