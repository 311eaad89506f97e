"""The resources of this machine and of clusters, compared with the request of a trial.

This module does not load torch.
"""

import os
import platform
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import psutil

from sweeper.errors import CannotSchedule, UsageError
from sweeper.execution import mps
from sweeper.execution.cluster import BUCKETS
from sweeper.planning.gpus import (
    count_for_torch,
    count_gpus,
    fault_of_torch,
    gpus_of_torch,
    has_slices,
)
from sweeper.spec.faults import shown
from sweeper.spec.sweep import Sweep
from sweeper.text import format_bytes

GIB = 2**30
CUDA_BYTES = 3 * GIB  # of main memory, for a process's context and the libraries of CUDA
MAX_CONCURRENT = 10_000  # concurrent trials
NodeResources = Mapping[str, float]  # of one node of a cluster, by Ray's names: CPU, GPU
NODES = re.compile(r"(?:(?P<count>\d{1,5}) *nodes? *(?:x|\*|of|with) *)?(?P<each>.+)", re.I)
DEVICES = re.compile(r"(?P<count>\d{1,5}) *(?P<name>CPU|GPU)s?", re.I)


def cpu_name() -> str:
    """Return the name of the processor."""
    with suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def request(sweep: Sweep) -> dict[str, float]:
    """Return the resources that one trial requests from Ray."""
    wanted = {"cpu": cores(sweep), "gpu": float(sweep.resources.gpu)}
    if (memory := memory_of(sweep)) is not None:
        wanted["memory"] = float(memory)
    return wanted


def cores(sweep: Sweep) -> float:
    """Return the CPU cores of a trial: those of the file, and of several processes one for each."""
    cpu, processes = sweep.resources.cpu, sweep.resources.num_processes
    return float(cpu if processes == 1 else max(cpu, processes))


def memory_of(sweep: Sweep) -> int | None:
    """Return the main memory that all processes of a trial may hold together; None: any.

    With a GPU, CUDA's own part of each process comes on top of what the file says, which is tuned
    on CPUs.
    """
    memory, resources = sweep.resources.memory, sweep.resources
    if memory is None or not resources.gpu:
        return memory
    return memory + CUDA_BYTES * resources.num_processes


def threads_of(sweep: Sweep) -> int:
    """Return the CPU threads of each process of a trial."""
    return max(1, int(sweep.resources.cpu) // sweep.resources.num_processes)


def passed_on(sweep: Sweep, environment: Collection[str]) -> list[str]:
    """Return the names of environment variables that this sweep passes on to its trials.

    These are the names in `resources.env`, and the keys of buckets for checkpoints or stage
    results.
    """
    stores = [sweep.checkpoints.store]
    stores += [store.place for study in sweep.studies if (store := sweep.stage_store_of(study))]
    schemes = [(store or "").partition("://")[0] for store in stores]
    buckets = [BUCKETS[scheme] for scheme in schemes if scheme in BUCKETS]
    asked = set(sweep.resources.env)
    return [name for name in environment if name in asked or any(b.match(name) for b in buckets)]


def occupied(sweep: Sweep) -> tuple[str, float]:
    """Return the kind and the number of devices that a trial occupies: GPUs, or else CPU cores."""
    gpu = float(sweep.resources.gpu)
    return ("gpu", gpu) if gpu else ("cpu", float(sweep.resources.cpu))


def check_request(sweep: Sweep, address: str) -> None:
    """Check a request against this machine before a local cluster starts.

    Raises:
        CannotSchedule: A trial asks for more than this machine has, or for MPS that cannot be
            started.
    """
    if address == "local":
        check_nodes(sweep, [this_machine()], where="this machine")
    if uses_mps(sweep) and (fault := _without_mps(address)):
        raise CannotSchedule(f"resources.mps: {fault}, or write `mps: false`.")


def uses_mps(sweep: Sweep) -> bool:
    """Return whether MPS has an effect on a sweep that asks for it: its trials share a GPU."""
    return sweep.resources.mps and 0 < sweep.resources.gpu < 1


def with_mps(sweep: Sweep, logs: Path) -> AbstractContextManager[dict[str, str]]:
    """Return a context in which MPS runs here if the sweep uses it; it holds MPS's variables."""
    return mps.running(logs) if uses_mps(sweep) else nullcontext({})


def _without_mps(address: str) -> str | None:
    """Return why MPS cannot be started for trials at `address`, with a way out; or None."""
    if address != "local":
        return (
            "a sweep starts MPS on its own machine alone. On a cluster of others, start "
            "nvidia-cuda-mps-control on each node before Ray (see docker/README.md)"
        )
    if has_slices():
        return "MPS is not started on slices of GPUs (MIG); use `gpu: 1` on each slice"
    if not (mps.is_installed() or mps.is_running()):
        return "nvidia-cuda-mps-control is not here; install it with NVIDIA's driver"
    return None


def check_torch(sweep: Sweep, address: str) -> None:
    """Check that torch can use the GPUs of this machine, if trials here ask for one.

    Raises:
        CannotSchedule: It cannot. On other machines, such a trial fails.
    """
    if address == "local" and (fault := unusable(sweep)):
        raise CannotSchedule(fault)


def unusable(sweep: Sweep) -> str | None:
    """Return why trials that ask for a GPU of this machine cannot use it, or None.

    Torch is asked in a process of its own, only if the trials ask for a GPU.
    """
    fault = fault_of_torch(count_for_torch(), gpus_of_torch()) if sweep.resources.gpu else None
    return fault and f"resources.gpu: {fault} To train on CPUs, write `gpu: 0`."


def this_machine() -> NodeResources:
    """Return the resources of a local cluster."""
    return {
        "CPU": float(os.cpu_count() or 1),
        "GPU": float(count_gpus()),
        "memory": float(psutil.virtual_memory().total),
    }


def check_nodes(
    sweep: Sweep,
    nodes: Sequence[NodeResources],
    *,
    where: str = "the largest node of the cluster",
    grows: bool = False,
) -> list[str]:
    """Check a request against the nodes of a cluster.

    Args:
        sweep: The sweep, with its request.
        nodes: The nodes of the cluster.
        where: The largest of the nodes, in words.
        grows: An autoscaler may add a larger node.

    Returns:
        Notes on what an autoscaler has to add before a trial can run.

    Raises:
        CannotSchedule: No node has as much as a trial asks for, which would wait forever.
    """
    more = "launch on a cluster that has it: --address HOST:PORT"
    if where != "this machine":
        more = "add a node that has it"
    lines = unschedulable(sweep, nodes, where=where, more=more)
    if lines and not grows:
        raise CannotSchedule("\n".join(lines))
    return [f"waiting for nodes: the cluster's autoscaler has to add one. {line}" for line in lines]


def notes_on(sweep: Sweep, nodes: Sequence[NodeResources]) -> list[str]:
    """Return notes on settings that are valid but may be unintended."""
    fits = max(1, sum(_fits(sweep, node) for node in nodes))
    if (wanted := sweep.search.max_concurrent) is None or wanted <= fits:
        return []
    return [
        f"`search.max_concurrent: {wanted}` is more than the cluster holds: {fits} at once will "
        "run."
    ]


def parse_cluster(text: str) -> list[NodeResources]:
    """Return the nodes of a description such as `4 nodes x 8 GPUs, 96 CPUs`.

    The resources after the `x` are those of each node.

    Raises:
        UsageError: The text is not such a description.
    """
    matched = NODES.fullmatch(text.strip())
    parts = re.split(r" *(?:,|\+|and) *", matched["each"].strip()) if matched else []
    found = [DEVICES.fullmatch(part) for part in parts]
    node = {each["name"].upper(): float(each["count"]) for each in found if each}
    count = int(matched["count"] or 1) if matched else 0
    # A resource that is named twice leaves fewer names than parts.
    if not all(found) or len(node) != len(found) or not node.get("CPU") or not count:
        raise UsageError(
            f"--cluster {shown(text)}: write it as '4 nodes x 8 GPUs, 96 CPUs', where each node "
            "has what follows the x, or as '16 CPUs' for one node."
        )
    return [node] * count


def slots_on(sweep: Sweep, nodes: Sequence[NodeResources]) -> int:
    """Return the number of concurrent trials on these nodes, at most `search.max_concurrent`.

    Each trial runs on a single node.
    """
    fits = sum(_fits(sweep, node) for node in nodes)
    return min(max(1, fits), sweep.search.max_concurrent or MAX_CONCURRENT, MAX_CONCURRENT)


def unschedulable(
    sweep: Sweep,
    nodes: Sequence[NodeResources],
    *,
    where: str,
    more: str = "plan for a cluster that has it: --cluster '1 node x 8 GPUs, 96 CPUs'",
) -> list[str]:
    """Return the reasons why no node can run a trial: a line for each scarce resource.

    Args:
        sweep: The sweep, with its request.
        nodes: The nodes of the cluster.
        where: The largest of the nodes, in words.
        more: The way to get more, in words.
    """
    lines = []
    for key, name in (("cpu", "CPU"), ("gpu", "GPU")):
        wanted = request(sweep)[key]
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if wanted > most:
            lines.append(
                f"resources.{key}: a trial asks for {wanted:g}, and {where} has {most:g}; write "
                f"`{key}: {most:g}`{' or less' * bool(most)}, or {more}."
            )
    if message := _memory(sweep, nodes, where):
        lines.append(message)
    # Each resource is on some node, but no node has all of them.
    if not lines and not any(_fits(sweep, node) for node in nodes):
        lines.append(f"resources: no single node has all that a trial asks for, but {more}.")
    return lines


def _memory(sweep: Sweep, nodes: Sequence[NodeResources], where: str) -> str | None:
    """Return a message if no node has enough memory for a trial: Ray would let it wait forever.

    Nodes of unknown memory count as large enough.
    """
    wanted, known = memory_of(sweep), [n["memory"] for n in nodes if "memory" in n]
    if wanted is None or not known or wanted <= max(known):
        return None
    of_cuda = f", {CUDA_BYTES / GIB:g}GiB of it for CUDA" * bool(sweep.resources.gpu)
    return (
        f"resources.memory: a trial asks for {wanted / GIB:.4g}GiB{of_cuda}, and {where} has "
        f"{max(known) / GIB:.4g}GiB; write less, or null for no limit."
    )


def _fits(sweep: Sweep, node: NodeResources) -> int:
    """Return the number of trials that fit on a node."""
    wanted = request(sweep)
    gpus = node.get("GPU", 0.0)
    # 1e-9 makes up for rounding: 0.3 / 0.1 is 2.9999999999999996.
    fits = [int(node.get("CPU", 0.0) / wanted["cpu"] + 1e-9)]
    if 0 < wanted["gpu"] < 1:  # Ray places a trial on one GPU, never on the remainders of two
        fits.append(int(gpus) * sharers(wanted["gpu"]))
    elif wanted["gpu"]:
        fits.append(int(gpus / wanted["gpu"]))
    if "memory" in wanted and "memory" in node:
        fits.append(int(node["memory"] / wanted["memory"]))
    return min(*fits, MAX_CONCURRENT)


def side_by_side(sweep: Sweep) -> int:
    """Return the number of trials that run at once on one GPU of this machine; 1 on CPUs."""
    return slots_on(sweep, [{**this_machine(), "GPU": 1.0}]) if sweep.resources.gpu else 1


def sharers(gpu: float) -> int:
    """Return the number of trials on one GPU if each asks for `gpu` GPUs."""
    return int(1 / gpu + 1e-9) if 0 < gpu < 1 else 1


def over_memory(gpu: float, peak_bytes: int, memory_bytes: int | None) -> str | None:
    """Return a message if the trials that share a GPU need more memory than it has.

    None means that they fit, that no GPU is shared, or that its memory is unknown.

    Args:
        gpu: The GPUs that a trial asks for.
        peak_bytes: The peak memory of one trial on a GPU.
        memory_bytes: The memory of the GPU.
    """
    count = sharers(gpu)
    if memory_bytes is None or count < 2 or count * peak_bytes <= memory_bytes:
        return None
    fit = memory_bytes // peak_bytes
    hint = "write `resources.gpu: 1`" if fit < 2 else f"write `resources.gpu: {1 / fit:.2g}`"
    memory, peak = format_bytes(memory_bytes, "GiB"), format_bytes(peak_bytes, "GiB")
    return (
        f"{count} trials share a GPU of {memory}, and one was measured to hold {peak}: at their "
        "peaks they do not fit together. Each is kept to its share, and batches are halved where "
        f"it runs out; to avoid that, {hint}, or lower a batch size."
    )
