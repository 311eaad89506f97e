"""A SLURM cluster, asked by its own commands: the nodes of its partitions, and the submission."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import BackendUnreachable, CannotSchedule, UsageError, unknown
from sweeper.slurm.request import UNITS, JobRequest, as_time, seconds_of
from sweeper.text import visible

FORMAT = "%P|%l|%c|%m|%G|%D"  # partition, time limit, cores, MiB, devices, number of nodes
# It matches in `gpu:a100:4(S:0-1),shard:8`, where the type may be missing.
GPUS = re.compile(r"(?:^|,)gpu(?::[^:,()]+)?:(\d+)(?=[(,]|$)")
ANSWER_S = 60.0


@dataclass(frozen=True, kw_only=True)
class NodeKind:
    """The nodes of one partition that are alike."""

    partition: str
    is_default: bool
    limit_s: int | None  # of a job in the partition; None: no limit
    cpus: int
    memory_bytes: int
    gpus: int
    count: int

    def as_resources(self) -> dict[str, float]:
        """Return the resources of one node, by Ray's names."""
        return {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_bytes}


def kinds_of_nodes(partition: str | None) -> list[NodeKind]:
    """Return the kinds of nodes in a partition.

    Args:
        partition: Its name, or several names with commas; None: the default of the cluster.

    Raises:
        BackendUnreachable: There is no sinfo, or SLURM does not answer.
        UsageError: There is no such partition, or no default.
    """
    # Without -e sinfo joins unlike nodes in one line, as `32+` cores.
    kinds = [_kind(line) for line in _ask("sinfo", "-h", "-e", "-o", FORMAT).splitlines()]
    known = {kind.partition for kind in kinds}
    if partition is None:
        found = [kind for kind in kinds if kind.is_default]
        if not found:
            names = ", ".join(sorted(known))
            raise UsageError(f"this cluster has no default partition: say --partition: {names}.")
        return found
    for name in partition.split(","):
        if name not in known:
            raise UsageError(f"--partition: {unknown('partition', name, known)}")
    return [kind for kind in kinds if kind.partition in partition.split(",")]


def check_fits(request: JobRequest, cpus: int, kinds: Sequence[NodeKind]) -> None:
    """Check that the nodes of a partition have what a job asks for.

    `cpus` are the cores of each node of the job.

    Raises:
        CannotSchedule: They do not. The message has a line for each request that is too large.
    """
    if lines := list(_too_large(request, cpus, kinds)):
        raise CannotSchedule("\n".join(lines))


def _too_large(request: JobRequest, cpus: int, kinds: Sequence[NodeKind]) -> Iterator[str]:
    named = f"partition `{','.join(sorted({kind.partition for kind in kinds}))}`"
    memory = request.memory_bytes or 0
    count = sum(kind.count for kind in kinds)
    if request.nodes > count:
        yield f"--nodes {request.nodes}: {named} has {count}."
    wanted = (
        (f"--gpus-per-node {request.gpus}", request.num_gpus, max(k.gpus for k in kinds), ""),
        (f"--cpus-per-node {cpus}", cpus, max(k.cpus for k in kinds), ""),
        (f"--mem {request.mem}", memory >> 20, max(k.memory_bytes for k in kinds) >> 20, "M"),
    )
    over = [
        f"{option}: the largest node of {named} has {most}{unit}."
        for option, value, most, unit in wanted
        if value > most
    ]
    yield from over
    fitting = sum(
        kind.count
        for kind in kinds
        if kind.gpus >= request.num_gpus and kind.cpus >= cpus and kind.memory_bytes >= memory
    )
    # Each resource is on some node, but too few nodes have all of them.
    if not over and fitting < request.nodes <= count:
        yield f"--nodes {request.nodes}: {fitting} of {named} have all that a node is to have."
    limits = [kind.limit_s for kind in kinds]
    # If one kind of nodes has no limit, a job of any length can run.
    longest = None if None in limits else max(filter(None, limits), default=None)
    if request.time_s and longest is not None and request.time_s > longest:
        yield f"--time {request.time}: {named} has a limit of {as_time(longest)}."


def submit(script: Path) -> str:
    """Submit a script, and return the number of its job.

    Raises:
        BackendUnreachable: There is no sbatch, or SLURM does not answer.
        UsageError: SLURM refuses the job. The message has its reason.
    """
    # Where SLURM knows several clusters, sbatch prints JOB;CLUSTER.
    return _ask("sbatch", "--parsable", str(script)).strip().partition(";")[0]


def _ask(command: str, *arguments: str) -> str:
    """Return what a command of SLURM prints."""
    if shutil.which(command) is None:
        raise BackendUnreachable(
            f"no `{command}` on this machine: run this on a node of a SLURM cluster that takes "
            "jobs."
        )
    try:
        done = subprocess.run(
            [command, *arguments], capture_output=True, text=True, timeout=ANSWER_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        text = f"{command}: SLURM has not answered for {ANSWER_S:.0f} s."
        raise BackendUnreachable(text) from error
    if done.returncode != 0:
        why = "; ".join(visible(line) for line in done.stderr.splitlines() if line.strip())
        # sbatch alone is given the choices of a user, which may be at fault.
        is_away = "contact slurm controller" in why or "configuration source" in why
        kind = UsageError if command == "sbatch" and not is_away else BackendUnreachable
        raise kind(f"{why or f'{command} ended with exit code {done.returncode}'}.")
    return done.stdout


def _kind(line: str) -> NodeKind:
    """Return the nodes of one line of sinfo.

    Raises:
        BackendUnreachable: The line has another form.
    """
    try:
        partition, limit, cpus, memory, devices, count = line.split("|")
        # sinfo marks the default partition by `*`, and by `+` a number that some nodes exceed.
        return NodeKind(
            partition=partition.removesuffix("*"),
            is_default=partition.endswith("*"),
            limit_s=seconds_of(limit),
            cpus=int(cpus.rstrip("+")),
            memory_bytes=int(memory.rstrip("+")) * UNITS["M"],
            gpus=sum(map(int, GPUS.findall(devices))),
            count=int(count),
        )
    except ValueError as error:
        raise BackendUnreachable(f"sinfo printed a line of an unknown form: {line}") from error
