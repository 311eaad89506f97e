"""What the nodes of a cluster see of a disk: a trial runs on any of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

ANSWER_S = 60.0  # for every node to have looked


def capacities() -> list[dict[str, float]]:
    """Return what each living node of the cluster has: CPU, GPU and the rest, by Ray's names."""
    return [
        {name: float(count) for name, count in node["Resources"].items()}
        for node in ray.nodes()
        if node["Alive"]
    ]


def missing_on(paths: Sequence[Path]) -> tuple[Mapping[Path, list[str]], int]:
    """Returns, for each of `paths` that some node lacks, the names of these nodes; and how many
    nodes there are. The only node of a cluster is taken to see what this process sees."""
    nodes = {node["NodeID"]: node["NodeName"] for node in ray.nodes() if node["Alive"]}
    if len(nodes) == 1:
        return {}, 1
    look = ray.remote(num_cpus=0)(_absent)
    places = [str(path) for path in paths]
    answers = [
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            places
        )
        for node in nodes
    ]
    lacking: dict[Path, list[str]] = {}
    for name, answer in zip(nodes.values(), answers, strict=True):
        try:
            absent = ray.get(answer, timeout=ANSWER_S)
        except RayError:  # it went away, and will run no trial
            continue
        for place in absent:
            lacking.setdefault(Path(place), []).append(name)
    return lacking, len(nodes)


def _absent(places: Sequence[str]) -> list[str]:
    return [place for place in places if not Path(place).exists()]
