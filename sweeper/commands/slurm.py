"""The submission of a sweep as a job of a SLURM cluster, after all checks that need no node."""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from rich.console import Console

from sweeper.commands.background import launch_words
from sweeper.commands.launch import check
from sweeper.commands.result import Message
from sweeper.console import print_text
from sweeper.errors import CannotSchedule, SweeperError, UsageError
from sweeper.planning import resources
from sweeper.planning.catalog import home
from sweeper.planning.load import Options
from sweeper.planning.plugin_path import active_paths
from sweeper.planning.sweep_folder import SLURM_SCRIPT, SWEEPS
from sweeper.slurm.cluster import NodeKind, check_fits, kinds_of_nodes, submit
from sweeper.slurm.request import JobRequest
from sweeper.slurm.script import Launch, memory_of_trials, render
from sweeper.spec.sweep import Sweep
from sweeper.text import holds_secret

LAPTOP = "laptop"  # the profile of machines without a GPU
PLACES = (SWEEPS, "MLFLOW_TRACKING_URI")  # variables that the job has as this process has them


@dataclass(frozen=True, kw_only=True)
class Submission(Message):
    """A job that was submitted, or the script of one that was not."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"job", "file"})

    sweep: str
    script: str  # its text
    file: Path | None = None
    job: str | None = None


def slurm(
    file: Path, options: Options, request: JobRequest, *, dry_run: bool, console: Console
) -> Submission:
    """Submit the sweep of `file` to the SLURM cluster of this machine.

    `dry_run` submits and writes nothing. Without SLURM here, nothing is asked of it.

    Raises:
        FileFaults: The file is not valid.
        UsageError: There is no such partition, or SLURM refuses the job.
        CannotSchedule: No node, or no node of this job, can run a trial.
        BackendUnreachable: SLURM is not here, or does not answer.
    """
    if options.storage is not None and holds_secret(options.storage):
        raise UsageError(
            "--storage: a password would be written into the script: leave it out, and name a "
            "PGPASSFILE that only you can read."
        )
    # A job without GPUs takes the profile that a launch takes on a machine without them.
    sweep, folder = check(file, replace(options, has_gpu=request.num_gpus > 0), console)
    if sweep.profile == LAPTOP:
        # In the job `auto` never means `laptop`, because it joins a cluster.
        options = replace(options, profile=LAPTOP)
    cpus = _cpus(sweep, request)
    kinds = _kinds(request.partition, console, dry_run=dry_run)
    _check_trials(sweep, request, cpus, kinds)
    if kinds:
        check_fits(request, cpus, kinds)
    launch = Launch(
        name=sweep.name,
        words=_words(file, options),
        folder=folder,
        workdir=Path.cwd(),
        python=Path(sys.executable),
        environment=dict(_environment()),
        dashboard=sweep.resources.dashboard,
    )
    script = render(launch, request, cpus)
    if dry_run:
        return Submission(message=script.rstrip("\n"), sweep=sweep.name, script=script)
    place, job = _submit(script, folder)
    text = (
        f"submitted `{sweep.name}` as job {job} ({place}). All its nodes have to see {Path.cwd()}, "
        f"{folder}, {home()} and {sys.prefix}. Once it runs, follow it with: sweeper logs -f "
        f"{sweep.name}"
    )
    return Submission(message=text, sweep=sweep.name, script=script, file=place, job=job)


def _kinds(partition: str | None, console: Console, *, dry_run: bool) -> Sequence[NodeKind]:
    """Return the kinds of nodes of a partition; none in a dry run without SLURM."""
    try:
        return kinds_of_nodes(partition)
    # An unknown partition is a fault in a dry run as well.
    except UsageError:
        raise
    except SweeperError as error:
        if not dry_run:
            raise type(error)(f"{error} With --dry-run it prints the script alone.") from error
        print_text(console, f"not compared with the nodes of a cluster: {error}")
        return []


def _cpus(sweep: Sweep, request: JobRequest) -> int:
    """Return the cores of each node: by default those of the trials that fit on its GPUs.

    Raises:
        UsageError: The trials need no GPU, so that the cores alone decide how many fit.
    """
    if request.cpus is not None:
        return request.cpus
    cpu, gpu = resources.cores(sweep), float(sweep.resources.gpu)
    if not gpu:
        raise UsageError(
            f"--cpus-per-node: say how many cores of each node the job is to have; a trial takes "
            f"{cpu:g}."
        )
    trials = int(request.num_gpus / gpu) if gpu >= 1 else request.num_gpus * resources.sharers(gpu)
    return max(1, math.ceil(cpu * max(1, trials)))


def _check_trials(sweep: Sweep, request: JobRequest, cpus: int, kinds: Sequence[NodeKind]) -> None:
    """Check that a node of the cluster, and one of the job, can run a trial.

    Raises:
        CannotSchedule: They cannot.
    """
    node = {"CPU": float(cpus), "GPU": float(request.num_gpus)}
    if (memory := memory_of_trials(request)) is not None:
        node["memory"] = float(memory)
    named = ", ".join(sorted({kind.partition for kind in kinds}))
    for nodes, where, more in (
        (
            [kind.as_resources() for kind in kinds],
            f"the largest node of partition `{named}`",
            "choose another --partition",
        ),
        (
            [node],
            "a node of the job",
            "ask for more: --gpus-per-node, --cpus-per-node, --mem",
        ),
    ):
        lines = resources.unschedulable(sweep, nodes, where=where, more=more) if nodes else []
        if lines:
            raise CannotSchedule("\n".join(lines))


def _words(file: Path, options: Options) -> list[str]:
    """Return the arguments of `sweeper` in the job."""
    words, _ = launch_words(file, options)
    # The job has a command line of its own, which has to name the plugins.
    plugins = [word for path in active_paths() for word in ("--plugin", path)]
    return [*plugins, *words]


def _environment() -> Iterator[tuple[str, str]]:
    """Yield the variables that decide where the sweep reads and writes; none is secret."""
    yield "SWEEPER_HOME", str(home())
    for name in PLACES:
        if (value := os.environ.get(name)) and not holds_secret(value):
            yield name, value


def _submit(script: str, folder: Path) -> tuple[Path, str]:
    """Write a script into the folder of its sweep and submit it; return its path and the job.

    Raises:
        SweeperError: It was not submitted, and its file is removed.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / SLURM_SCRIPT
    place.write_text(script, encoding="utf-8")
    try:
        return place, submit(place)
    except SweeperError:
        place.unlink()
        if is_new:
            with suppress(OSError):
                folder.rmdir()
        raise
