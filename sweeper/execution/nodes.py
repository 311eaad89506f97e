"""Facts about the nodes of a cluster: resources, visible files and memory cgroups.

A trial may run on any node.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray._private.state import state
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply
from ray.exceptions import RayError
from ray.experimental.internal_kv import _internal_kv_get
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.execution.memory_kills import Count, count_here

OWN_TYPE = re.compile(r"node_[0-9a-f]+")  # of a node that no autoscaler started
Answer = TypeVar("Answer")
ANSWER_S = 60.0  # timeout of checks of files
COUNT_S = 5.0  # timeout of counters: the sweep waits meanwhile


def capacities() -> list[dict[str, float]]:
    """Return the resources of each node that stays in the cluster, by Ray's names: CPU, GPU."""
    return [
        {name: float(count) for name, count in node["Resources"].items()} for node in _staying()
    ]


def is_on_leaving_node(actor: str) -> bool:
    """Return whether an actor runs, or ran, on a node that is draining or has left the cluster.

    Args:
        actor: The actor's id in hexadecimal digits.
    """
    node = ray._private.state.actors(actor).get("Address", {}).get("NodeID")
    return bool(node) and node not in _names()


def can_grow() -> bool:
    """Return whether an autoscaler reports to the cluster, so that it may add nodes.

    A monitor without an autoscaler's config reports, too: it names the type of each node after the
    node alone. Ray tells drivers neither the types nor the numbers of nodes that could be added.
    """
    status = _internal_kv_get(DEBUG_AUTOSCALING_STATUS)  # of the first version of the autoscaler
    if status:
        return has_types(json.loads(status).get("autoscaler_report") or {})
    with suppress(Exception):  # the head does not know of a second version
        return is_scaled(ray._private.worker.global_worker.gcs_client.get_cluster_status())
    return False


def has_types(report: Mapping[str, Any]) -> bool:
    """Return whether a report of the autoscaler names a type of nodes."""
    kinds = [*(report.get("active_nodes") or ()), *(report.get("idle_nodes") or ())]
    return any(not OWN_TYPE.fullmatch(kind) for kind in kinds)


def is_scaled(status: bytes) -> bool:
    """Return whether the second version of the autoscaler has reported, and knows node types."""
    reply = GetClusterStatusReply()
    reply.ParseFromString(status)
    states = reply.cluster_resource_state.node_states
    return reply.HasField("autoscaling_state") and any(n.ray_node_type_name for n in states)


def missing_on(paths: Sequence[Path]) -> tuple[Mapping[Path, list[str]], int]:
    """Return the paths that some nodes lack, with the names of these nodes, and the node count.

    On a cluster with a single node, no path counts as missing.
    """
    nodes = _names()
    if len(nodes) == 1:
        return {}, 1
    lacking: dict[Path, list[str]] = {}
    for node, absent in _ask(_absent, [str(path) for path in paths], timeout_s=ANSWER_S).items():
        for place in absent:
            lacking.setdefault(Path(place), []).append(nodes[node])
    return lacking, len(nodes)


def counts_of_nodes() -> Mapping[str, Count | None]:
    """Return the number of kills in each node's memory cgroup, by the node's id."""
    return _ask(count_here, timeout_s=COUNT_S)


def _staying() -> list[dict[str, Any]]:
    """Return what Ray tells of each living node that is not draining."""
    leaving = state.get_draining_nodes()
    return [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in leaving]


def _names() -> dict[str, str]:
    """Return the names of the nodes that stay in the cluster by their ids."""
    return {node["NodeID"]: node["NodeName"] for node in _staying()}


def _ask(question: Callable[..., Answer], *arguments: Any, timeout_s: float) -> dict[str, Answer]:
    """Return the result of a function on each living node, by the node's id.

    A node that does not answer in time is left out: it has failed and will run no trial.
    """
    # Without a core of its own the question also reaches a node that is full of trials.
    task = ray.remote(num_cpus=0)(question)
    asked = {
        node: task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        ).remote(*arguments)
        for node in _names()
    }
    if not asked:
        return {}
    # One wait for all nodes: asked in turn, each dead one would cost the whole time.
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=timeout_s)
    answers: dict[str, Answer] = {}
    for node, answer in asked.items():
        with suppress(RayError):
            answers[node] = ray.get(answer, timeout=0.1)
    return answers


def _absent(places: Sequence[str]) -> list[str]:
    return [place for place in places if not Path(place).exists()]
