"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from sweeper.cli import completion

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
    str,
    typer.Option(
        "--address",
        envvar="SWEEPER_ADDRESS",
        help="`local`; HOST:PORT of a running Ray cluster, to be joined; or http://HOST:8265, its "
        "dashboard, to be sent there as a Ray Job.",
    ),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Allow what others on the network can reach and use."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def sweep_name(text: str | None) -> str | None:
    """Return the name of a sweep that may be written as the path of its folder."""
    from sweeper.planning.sweep_folder import name_of

    return None if text is None else name_of(text)


SweepName = Annotated[
    str,
    typer.Argument(
        help="A sweep: its name in ./sweeps, or its folder.",
        show_default=False,
        callback=sweep_name,
        autocompletion=completion.sweeps,
    ),
]
Trial = Annotated[
    str,
    typer.Argument(
        help="A trial, as STUDY/NUMBER; its number if there is but one study.",
        show_default=False,
        autocompletion=completion.trials,
    ),
]
