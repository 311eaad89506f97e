"""The command that submits a sweep to a SLURM cluster."""

from typing import Annotated

import typer

from sweeper.cli import output
from sweeper.cli.options import (
    AsJson,
    File,
    Include,
    MaxArms,
    Name,
    NoDashboard,
    Profile,
    Sets,
    Storage,
    Trials,
    all_sets,
    with_options_of,
)
from sweeper.console import stderr
from sweeper.slurm.options import JobOptions


@with_options_of(JobOptions)
def slurm(
    file: File,
    job: JobOptions,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the script, and submit nothing.")
    ] = False,
    profile: Profile = "auto",
    sets: Sets = None,
    trials: Trials = None,
    max_arms: MaxArms = None,
    name: Name = None,
    storage: Storage = None,
    include: Include = None,
    no_dashboard: NoDashboard = False,
    as_json: AsJson = False,
) -> None:
    """Submit the sweep that FILE describes as a job of SLURM; it goes on past any time limit.

    sweeper slurm search_spaces/mona_pdebench.yaml --nodes 2 --gpus-per-node 4 --time 8h -p gpu

    The job starts Ray on its nodes. Before its time limit trials save checkpoints, and the job is
    queued again, until the sweep is done. A job that is cancelled is not queued again.
    """
    from sweeper.commands import slurm as app
    from sweeper.planning.load import Options
    from sweeper.slurm.request import JobRequest

    request = JobRequest(**vars(job))
    # With `local` the trials would be compared with this machine, on which none of them runs.
    options = Options(
        profile=profile, sets=all_sets(sets, max_arms, no_dashboard=no_dashboard), trials=trials,
        name=name, storage=storage, address="auto", include=tuple(include or ()),
    )  # fmt: skip
    sent = app.slurm(file, options, request, dry_run=dry_run, console=stderr())
    output.show(sent, as_json=as_json, command="slurm")
