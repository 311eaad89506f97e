"""The script of a job: the template `job.sh.j2`, filled in for one sweep."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from sweeper.slurm.request import JobRequest, as_time

TRIES = 4  # starts of Ray on a node, which gives each 30 s
START_S = 300  # that Ray may take to start on all nodes
RAY_END_S = 8  # that Ray may take to end on a node; then it is killed
END_S = 14  # that its steps may take to end; then they are killed
LAUNCH_END_S = 8  # that the launch of a cancelled job may wait for Ray, which ends with it
GIB = 2**30
TRIALS_SHARE = (
    0.8  # of the memory of a node is for trials; Ray's processes and the driver have the rest
)
OBJECT_STORE_BYTES = GIB  # Ray would take a third of the node, and sweeps need next to nothing


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The launch that a job runs.

    Attributes:
        name: The name of the sweep.
        words: The arguments of `sweeper`, without the address of the cluster.
        folder: The folder of the sweep.
        workdir: The folder in which the command runs.
        python: The interpreter, with sweeper and Ray.
        environment: Variables that decide where a sweep reads and writes.
        dashboard: Ray has its dashboard.
    """

    name: str
    words: Sequence[str]
    folder: Path
    workdir: Path
    python: Path
    environment: Mapping[str, str]
    dashboard: bool = True


def render(launch: Launch, request: JobRequest, cpus: int) -> str:
    """Return the script of a job, for a POSIX shell.

    `cpus` are the cores of each node.
    """
    gpus, memory = request.num_gpus, memory_of_trials(request)
    store = OBJECT_STORE_BYTES
    # On a small node the object store must leave memory to trials.
    if request.memory_bytes is not None:
        store = min(store, request.memory_bytes // 8)
    return _template().render(
        name=launch.name,
        directives=_directives(launch, request, cpus),
        workdir=shlex.quote(str(launch.workdir)),
        python=shlex.quote(str(launch.python)),
        folder=shlex.quote(str(launch.folder)),
        environment=[(key, shlex.quote(value)) for key, value in launch.environment.items()],
        setup=request.setup,
        dashboard=launch.dashboard,
        words=shlex.join(launch.words),
        cpus=cpus,
        gpus=f" --gpus-per-node={shlex.quote(request.gpus)}" if gpus else "",
        num_gpus=gpus,
        memory=f" --memory={memory}" if memory is not None else "",
        object_store_bytes=store,
        tmp=shlex.quote(str(request.tmp)),
        chain=request.chain,
        max_restarts=request.max_restarts,
        tries=TRIES,
        start_s=START_S,
        ray_end_s=RAY_END_S,
        end_s=END_S,
        launch_end_s=LAUNCH_END_S,
    )


def memory_of_trials(request: JobRequest) -> int | None:
    """Return the bytes of a node that trials may ask for; None if the job does not say."""
    return None if request.memory_bytes is None else int(TRIALS_SHARE * request.memory_bytes)


def _directives(launch: Launch, request: JobRequest, cpus: int) -> list[str]:
    """Return the options of sbatch at the top of the script."""
    # sbatch reads `%` in a path as the begin of a pattern, such as %j.
    output = request.output or f"{str(launch.folder).replace('%', '%%')}/slurm-%j.out"
    named = {
        "job-name": f"sweeper-{launch.name}",
        "nodes": str(request.nodes),
        "ntasks-per-node": "1",
        "cpus-per-task": str(cpus),
        "gpus-per-node": request.gpus if request.num_gpus else None,
        "mem": request.mem,
        "time": None if request.time_s is None else as_time(request.time_s),
        "partition": request.partition,
        "account": request.account,
        # With `B:` the signal goes to the script alone, which ends its steps in order.
        "signal": f"B:TERM@{request.grace_s}",
        "output": output,
        # A job that is queued again would otherwise overwrite what its first run printed.
        "open-mode": "append",
    }
    lines = [f"--{key}={shlex.quote(value)}" for key, value in named.items() if value is not None]
    return [*lines, "--no-requeue" if request.chain else "--requeue", *request.extra]


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("sweeper.slurm", ""),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  # a shell script; values are quoted for the shell
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("job.sh.j2")
