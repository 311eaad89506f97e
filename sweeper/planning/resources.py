"""What a trial asks for against what a cluster has, before anything starts."""

import os
import re
from collections.abc import Collection, Mapping, Sequence

import psutil

from sweeper.config.faults import shown
from sweeper.config.sweep import Sweep
from sweeper.errors import CannotSchedule, UsageError
from sweeper.execution.trial_environment import BUCKETS
from sweeper.planning.devices import count_gpus

GIB = 2**30
MOST = 10_000  # trials at once
Node = Mapping[str, float]  # what one machine of a cluster has, by Ray's names: CPU, GPU
NODES = re.compile(r"(?:(?P<count>\d{1,5}) *nodes? *(?:x|\*|of|with) *)?(?P<each>.+)", re.I)
DEVICES = re.compile(r"(?P<count>\d{1,5}) *(?P<name>CPU|GPU)s?", re.I)


def local_gpus() -> int:
    """GPUs that a local cluster is started with."""
    return count_gpus()


def request(sweep: Sweep) -> dict[str, float]:
    """Returns what one trial asks of Ray."""
    wanted = {"cpu": float(sweep.resources.cpu), "gpu": float(sweep.resources.gpu)}
    if sweep.resources.memory is not None:
        wanted["memory"] = float(sweep.resources.memory)
    return wanted


def passed_on(sweep: Sweep, environment: Collection[str]) -> list[str]:
    """Return the variables of an environment that trials get because this sweep asks for them.

    These are the names of `resources.env`, and the keys of buckets that hold checkpoints or results
    of stages.
    """
    stores = [sweep.checkpoints.store]
    stores += [store.place for study in sweep.studies() if (store := sweep.stage_store_of(study))]
    buckets = [BUCKETS[scheme] for scheme in map(_scheme, stores) if scheme in BUCKETS]
    asked = set(sweep.resources.env)
    return [name for name in environment if name in asked or any(b.match(name) for b in buckets)]


def _scheme(store: str | None) -> str:
    return (store or "").partition("://")[0]


def occupied(sweep: Sweep) -> tuple[str, float]:
    """Returns what a trial occupies: GPUs, or CPU cores where it has no GPU."""
    gpu = float(sweep.resources.gpu)
    return ("gpu", gpu) if gpu else ("cpu", float(sweep.resources.cpu))


def check_request(sweep: Sweep, address: str) -> None:
    """Checks against this machine, before a local cluster is started. Raises CannotSchedule."""
    if address == "local":
        check_cluster(sweep, this_machine())


def this_machine() -> dict[str, float]:
    """Returns what a local cluster has."""
    return {
        "CPU": float(os.cpu_count() or 1),
        "GPU": float(local_gpus()),
        "memory": float(psutil.virtual_memory().total),
    }


def check_cluster(sweep: Sweep, available: dict[str, float]) -> None:
    """Checks against a running cluster.

    Raises:
        CannotSchedule: A trial asks for more than the whole cluster has; it would wait for ever.
    """
    for key, name in (("cpu", "CPU"), ("gpu", "GPU")):
        wanted, there = request(sweep)[key], available.get(name, 0.0)
        if wanted > there:
            raise CannotSchedule(
                f"resources.{key}: a trial asks for {wanted:g}, the cluster has {there:g}; write "
                f"`{key}: {there:g}`{' or less' * bool(there)}, or add a node."
            )
    if told := _memory(sweep, [available], "the cluster"):
        raise CannotSchedule(told)


def concurrency(sweep: Sweep, available: dict[str, float]) -> int:
    """Returns how many trials run at once: what fits, capped by `search.max_concurrent`."""
    return min(_fits(sweep, available), sweep.search.max_concurrent or MOST)


def notes(sweep: Sweep, available: dict[str, float]) -> list[str]:
    """Returns what is no fault, but may not be what was meant."""
    wanted, fits = sweep.search.max_concurrent, _fits(sweep, available)
    return _too_many(wanted, fits)


def notes_on(sweep: Sweep, nodes: Sequence[Node]) -> list[str]:
    """Return the same of a cluster whose nodes are known."""
    fits = max(1, sum(_fits(sweep, node, least=0) for node in nodes))
    return _too_many(sweep.search.max_concurrent, fits)


def _too_many(wanted: int | None, fits: int) -> list[str]:
    if wanted is None or wanted <= fits:
        return []
    return [
        f"`search.max_concurrent: {wanted}` is more than the cluster holds: {fits} at once will "
        "run."
    ]


def parse_cluster(text: str) -> list[Node]:
    """Return the nodes that a text such as `4 nodes x 8 GPUs, 96 CPUs` describes: each has all
    that follows the `x`.

    Raises:
        UsageError: It describes none.
    """
    matched = NODES.fullmatch(text.strip())
    parts = re.split(r" *(?:,|\+|and) *", matched["each"].strip()) if matched else []
    found = [DEVICES.fullmatch(part) for part in parts]
    node = {each["name"].upper(): float(each["count"]) for each in found if each}
    count = int(matched["count"] or 1) if matched else 0
    if not all(found) or len(node) != len(found) or not node.get("CPU") or not count:
        raise UsageError(
            f"--cluster {shown(text)}: write it as '4 nodes x 8 GPUs, 96 CPUs', where each node "
            "has what follows the x, or as '16 CPUs' for one node."
        )
    return [node] * count


def slots_on(sweep: Sweep, nodes: Sequence[Node]) -> int:
    """Return how many trials run at once on these nodes, capped by `search.max_concurrent`: a
    trial is on one of them."""
    fits = sum(_fits(sweep, node, least=0) for node in nodes)
    return min(max(1, fits), sweep.search.max_concurrent or MOST, MOST)


def unschedulable(sweep: Sweep, nodes: Sequence[Node], *, where: str) -> list[str]:
    """Return why no node holds a trial: a line for each resource of which none has enough."""
    lines = []
    for key, name in (("cpu", "CPU"), ("gpu", "GPU")):
        wanted = request(sweep)[key]
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if wanted > most:
            lines.append(
                f"resources.{key}: a trial asks for {wanted:g}, and {where} has {most:g}; write "
                f"`{key}: {most:g}`{' or less' * bool(most)}, or plan for a cluster that has it: "
                "--cluster '1 node x 8 GPUs, 96 CPUs'."
            )
    if told := _memory(sweep, nodes, where):
        lines.append(told)
    if not lines and not any(_fits(sweep, node, least=0) for node in nodes):
        lines.append(f"resources: no node of {where} has both the CPUs and the GPUs of a trial.")
    return lines


def _memory(sweep: Sweep, nodes: Sequence[Node], where: str) -> str | None:
    """Say that no node has the memory of a trial, where they say what they have: Ray would let it
    wait for ever."""
    wanted, known = sweep.resources.memory, [n["memory"] for n in nodes if "memory" in n]
    if wanted is None or not known or wanted <= max(known):
        return None
    return (
        f"resources.memory: a trial asks for {wanted / GIB:.4g}GiB, and {where} has "
        f"{max(known) / GIB:.4g}GiB; write less, or null for no limit."
    )


def _fits(sweep: Sweep, available: Node, *, least: int = 1) -> int:
    """Return how many trials the cluster, or one of its nodes, holds; `least` where none fits, and
    Ray would make it wait."""
    fits = [
        int(available.get(name, 0.0) / wanted + 1e-9)
        for key, name in (("cpu", "CPU"), ("gpu", "GPU"))
        if (wanted := request(sweep)[key]) > 0
    ]
    return max(least, min([*fits, MOST]))
