"""The command that submits a sweep to a SLURM cluster."""

from pathlib import Path
from typing import Annotated

import typer

from sweeper.cli import output
from sweeper.cli.options import (
    RUN,
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
)
from sweeper.console import stderr


def add_slurm(cli: typer.Typer) -> None:
    """Add this command to the command line."""
    cli.command(rich_help_panel=RUN)(slurm)


def slurm(
    file: File,
    nodes: Annotated[int, typer.Option("--nodes", "-N", min=1, help="Nodes of the job.")] = 1,
    gpus: Annotated[
        str,
        typer.Option(
            "--gpus-per-node", metavar="[TYPE:]NUMBER", help="GPUs of each node, such as a100:4."
        ),
    ] = "0",
    cpus: Annotated[
        int | None,
        typer.Option(
            "--cpus-per-node",
            min=1,
            help="Cores of each node; default: those of the trials that fit on its GPUs.",
        ),
    ] = None,
    mem: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Main memory of each node, such as 64G; default: the partition's."
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            "--time",
            "-t",
            help="Time limit of the job, such as 8h or 1-12:00:00; the sweep may take longer. "
            "Default: the partition's.",
        ),
    ] = None,
    partition: Annotated[
        str | None, typer.Option("--partition", "-p", help="Partition of the job.")
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", "-A", help="Account of the job.")
    ] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option(
            "--sbatch",
            metavar="OPTION",
            help="Another option of sbatch, such as --sbatch=--qos=long; repeatable.",
        ),
    ] = None,
    setup: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LINE",
            help="A line of shell that prepares the environment, such as 'module load cuda'; "
            "repeatable.",
        ),
    ] = None,
    printed: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File of what the job prints; default: slurm-%j.out in the folder of the sweep.",
        ),
    ] = None,
    grace: Annotated[
        int,
        typer.Option(
            min=30,
            max=3600,
            help="Seconds before the time limit at which trials save checkpoints and the job ends.",
        ),
    ] = 120,
    tmp: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for files that only one node uses.")
    ] = Path("/tmp"),  # noqa: S108  # the job makes a folder that only its user can enter
    chain: Annotated[
        bool,
        typer.Option(
            "--chain",
            help="Go on in a job that follows (afternotok), for clusters that do not queue a job "
            "again.",
        ),
    ] = False,
    max_restarts: Annotated[
        int, typer.Option(min=0, help="Most times that the job is queued again, or followed.")
    ] = 100,
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

    request = JobRequest(
        nodes=nodes, gpus=gpus, cpus=cpus, mem=mem, time=time, grace_s=grace, partition=partition,
        account=account, extra=tuple(extra or ()), setup=tuple(setup or ()), output=printed,
        tmp=tmp, chain=chain, max_restarts=max_restarts,
    )  # fmt: skip
    options = Options(
        profile=profile, sets=all_sets(sets, max_arms, no_dashboard=no_dashboard), trials=trials,
        name=name, storage=storage, address="auto", include=tuple(include or ()),
    )  # fmt: skip
    sent = app.slurm(file, options, request, dry_run=dry_run, console=stderr())
    output.show(sent, as_json=as_json, command="slurm")
