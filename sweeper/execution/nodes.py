"""Facts about the nodes of a cluster: resources, visible files and memory cgroups.

A trial may run on any node.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.execution.memory_kills import Count, count_here

Answer = TypeVar("Answer")
ANSWER_S = 60.0  # timeout of checks of files
COUNT_S = 5.0  # timeout of counters: the sweep waits meanwhile


def capacities() -> list[dict[str, float]]:
    """Return the resources of each living node of the cluster, by Ray's names: CPU, GPU."""
    return [
        {name: float(count) for name, count in node["Resources"].items()}
        for node in ray.nodes()
        if node["Alive"]
    ]


def missing_on(paths: Sequence[Path]) -> tuple[Mapping[Path, list[str]], int]:
    """Return the paths that some nodes lack, with the names of these nodes, and the node count.

    On a cluster with a single node, no path counts as missing.
    """
    nodes = _living()
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


def _living() -> dict[str, str]:
    """Return the names of living nodes by their ids."""
    return {node["NodeID"]: node["NodeName"] for node in ray.nodes() if node["Alive"]}


def _ask(question: Callable[..., Answer], *arguments: Any, timeout_s: float) -> dict[str, Answer]:
    """Return the result of a function on each living node, by the node's id.

    A node that does not answer in time is left out: it has failed and will run no trial.
    """
    task = ray.remote(num_cpus=0)(question)
    asked = {
        node: task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        ).remote(*arguments)
        for node in _living()
    }
    if not asked:
        return {}
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=timeout_s)
    answers: dict[str, Answer] = {}
    for node, answer in asked.items():
        with suppress(RayError):
            answers[node] = ray.get(answer, timeout=0.1)
    return answers


def _absent(places: Sequence[str]) -> list[str]:
    return [place for place in places if not Path(place).exists()]
