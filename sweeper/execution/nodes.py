"""Facts about the nodes of a cluster: files that they see, and the memory cgroup of each.

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
ANSWER_S = 60.0  # for every node to have looked
COUNT_S = 5.0  # for every node to have counted, while the sweep waits


def capacities() -> list[dict[str, float]]:
    """Return what each living node of the cluster has: CPU, GPU and the rest, by Ray's names."""
    return [
        {name: float(count) for name, count in node["Resources"].items()}
        for node in ray.nodes()
        if node["Alive"]
    ]


def missing_on(paths: Sequence[Path]) -> tuple[Mapping[Path, list[str]], int]:
    """Return, for each of `paths` that some node lacks, the names of these nodes; and how many
    nodes there are. The only node of a cluster is taken to see what this process sees."""
    nodes = _living()
    if len(nodes) == 1:
        return {}, 1
    lacking: dict[Path, list[str]] = {}
    for node, absent in _ask(_absent, [str(path) for path in paths], timeout_s=ANSWER_S).items():
        for place in absent:
            lacking.setdefault(Path(place), []).append(nodes[node])
    return lacking, len(nodes)


def counts_of_nodes() -> Mapping[str, Count | None]:
    """Return the count of kernel kills of each node's memory cgroup, by the node's id."""
    return _ask(count_here, timeout_s=COUNT_S)


def _living() -> dict[str, str]:
    """Return the names of the living nodes, by their ids."""
    return {node["NodeID"]: node["NodeName"] for node in ray.nodes() if node["Alive"]}


def _ask(question: Callable[..., Answer], *arguments: Any, timeout_s: float) -> dict[str, Answer]:
    """Return what a function returns on each living node, by the node's id.

    A node that does not answer in time went away, and will run no trial.
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
