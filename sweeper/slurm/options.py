"""The options of a job of SLURM, declared once for the command line and the request."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def _option(default: object, *names: str, **shown: object) -> Any:
    """Return a field with what the command line shows of it: names, `help`, `metavar`, limits."""
    return field(default=default, metadata={"names": names, **shown})


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """The options of a job. Each field has its meaning as the help of its option."""

    nodes: int = _option(1, "--nodes", "-N", min=1, help="Nodes of the job.")
    gpus: str = _option(
        "0", "--gpus-per-node", metavar="[TYPE:]NUMBER", help="GPUs of each node, such as a100:4."
    )
    cpus: int | None = _option(
        None,
        "--cpus-per-node",
        min=1,
        help="Cores of each node; default: those of the trials that fit on its GPUs.",
    )
    mem: str | None = _option(
        None,
        "--mem",
        metavar="SIZE",
        help="Main memory of each node, such as 64G; default: the partition's.",
    )
    time: str | None = _option(
        None,
        "--time",
        "-t",
        help="Time limit of the job, such as 8h or 1-12:00:00; the sweep may take longer. Default: "
        "the partition's.",
    )
    partition: str | None = _option(None, "--partition", "-p", help="Partition of the job.")
    account: str | None = _option(None, "--account", "-A", help="Account of the job.")
    extra: tuple[str, ...] = _option(
        (),
        "--sbatch",
        metavar="OPTION",
        help="Another option of sbatch, such as --sbatch=--qos=long; repeatable.",
    )
    setup: tuple[str, ...] = _option(
        (),
        "--setup",
        metavar="LINE",
        help="A line of shell that prepares the environment, such as 'module load cuda'; "
        "repeatable.",
    )
    output: str | None = _option(
        None,
        "--output",
        "-o",
        metavar="FILE",
        help="File of what the job prints; default: slurm-%j.out in the folder of the sweep.",
    )
    grace_s: int = _option(
        120,
        "--grace",
        min=30,
        max=3600,
        help="Seconds before the time limit at which trials save checkpoints and the job ends.",
    )
    tmp: Path = _option(  # noqa: RUF009  # a field
        Path("/tmp"),  # noqa: S108  # the job makes a folder that only its user can enter
        "--tmp",
        metavar="DIR",
        help="Folder for files that only one node uses.",
    )
    chain: bool = _option(
        False,
        "--chain",
        help="Go on in a job that follows (afternotok), for clusters that do not queue a job "
        "again.",
    )
    max_restarts: int = _option(
        100, "--max-restarts", min=0, help="Most times that the job is queued again, or followed."
    )
