"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

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
SweepName = Annotated[str, typer.Argument(help="A sweep in ./sweeps.", show_default=False)]
