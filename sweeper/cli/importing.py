"""The command that makes a sweep file of another tool's search."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sweeper.cli import output
from sweeper.cli.options import AsJson

# Tools whose searches can be imported, by the names of their modules.
Tool = Literal["wandb", "optuna", "ray", "hydra", "katib", "determined"]


def import_search(
    tool: Annotated[Tool, typer.Argument(help="The tool that has the search.")],
    file: Annotated[
        str,
        typer.Argument(
            help="Its file: W&B's sweep.yaml, Hydra's config.yaml, an Experiment of Katib, a "
            "configuration of Determined, a Python file for Ray Tune, which is not executed; of "
            "Optuna a database, optuna.db or a URL, with #STUDY if it has several."
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE.yaml", help="The sweep file to write.")
    ] = Path("sweep.yaml"),
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the sweep file if it exists.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a sweep file of another tool's search: space, sampler, budget, metric, early stopping.

    What it does not take over stands below, as comments with the reasons.

        sweeper import wandb sweep.yaml -o mine.yaml
        sweeper import optuna optuna.db -o mine.yaml
    """
    from sweeper.commands.importing import file as app

    done = app.import_search(tool, file, out, replace=replace)
    output.show(done, command="import", as_json=as_json)
