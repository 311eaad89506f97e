"""How many trials the nodes of a cluster hold, whether it is here, described or far away."""

import pytest

from sweeper.errors import CannotSchedule, UsageError
from sweeper.planning import resources
from sweeper.planning.resources import parse_cluster, slots_on, unschedulable
from sweeper.spec.sweep import Sweep
from tests.support.pricing import sweep_of


def asking(**resources: float | str) -> Sweep:
    return sweep_of(resources=resources)


@pytest.mark.parametrize(
    ("text", "count", "node"),
    [
        ("4 nodes x 8 GPUs, 96 CPUs", 4, {"GPU": 8, "CPU": 96}),
        ("1 node x 96 CPUs and 1 gpu", 1, {"GPU": 1, "CPU": 96}),
        ("16 CPUs", 1, {"CPU": 16}),
        ("2 nodes of 1 GPU + 4 CPU", 2, {"GPU": 1, "CPU": 4}),
    ],
)
def test_a_cluster_is_read_from_words(text, count, node):
    assert parse_cluster(text) == [node] * count


@pytest.mark.parametrize(
    "text",
    ["", "many", "4 nodes", "8 GPUs", "0 nodes x 4 CPUs", "0 CPUs", "4 x 8", "4 CPUs, 4 CPUs",
     "4 nodes x 8 GPUs, 96 cores", "-1 nodes x 4 CPUs"],
)  # fmt: skip
def test_what_describes_no_cluster_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match="4 nodes x 8 GPUs, 96 CPUs"):
        parse_cluster(text)


@pytest.mark.parametrize(
    ("cpu", "gpu", "slots"),
    [(4, 0.5, 64), (4, 1, 32), (12, 0.5, 32), (96, 0, 4), (64, 0, 4), (1, 0, 384)],
)
def test_trials_at_once_are_those_that_each_node_holds(cpu, gpu, slots):
    nodes = parse_cluster("4 nodes x 8 GPUs, 96 CPUs")
    assert slots_on(asking(cpu=cpu, gpu=gpu), nodes) == slots
    assert unschedulable(asking(cpu=cpu, gpu=gpu), nodes, where="it") == []


def test_a_trial_that_only_all_nodes_together_hold_cannot_run():
    nodes = parse_cluster("4 nodes x 1 GPU, 8 CPUs")
    (line,) = unschedulable(asking(cpu=16), nodes, where="the largest node there")
    assert line.startswith("resources.cpu: a trial asks for 16, and the largest node there has 8; ")
    mixed = [*parse_cluster("8 CPUs"), *parse_cluster("1 CPU, 8 GPUs")]
    (line,) = unschedulable(asking(cpu=4, gpu=1), mixed, where="it")
    assert line.startswith("resources: no single node has all that a trial asks for, but plan ")


@pytest.mark.parametrize(
    ("wanted", "nodes", "told"),
    [
        ({"gpu": 1}, "2 nodes x 2 CPUs", "resources.gpu: a trial asks for 1, and the largest node"),
        ({"gpu": 4}, "2 nodes x 2 GPUs, 2 CPUs", "resources.gpu: a trial asks for 4, and the larg"),
        ({"cpu": 4}, "2 nodes x 2 CPUs", "resources.cpu: a trial asks for 4, and the largest node"),
        ({"cpu": 2, "memory": "3GiB"}, "2 nodes x 2 CPUs", "resources.memory: a trial asks for 3G"),
    ],
)
def test_a_launch_does_not_wait_for_what_no_node_of_its_cluster_holds(wanted, nodes, told):
    """Ray would never place such a trial, though all nodes together have enough."""
    found = [{**node, "memory": 2.0 * 2**30} for node in parse_cluster(nodes)]
    with pytest.raises(CannotSchedule, match=told):
        resources.check_nodes(asking(**wanted), found)


@pytest.mark.parametrize(
    ("gpu", "gpus", "slots"),
    [(0.4, 2, 4), (0.3, 2, 6), (0.6, 3, 3), (0.25, 2, 8), (1, 3, 3), (0.1, 1, 10)],
)
def test_a_share_is_of_one_gpu_and_never_of_the_remainders_of_two(gpu, gpus, slots):
    assert slots_on(asking(cpu=1, gpu=gpu), parse_cluster(f"{gpus} GPUs, 96 CPUs")) == slots


def test_a_trial_with_a_gpu_may_hold_cudas_part_of_main_memory_too():
    assert resources.request(asking(memory="2GiB"))["memory"] == 2 * 2**30
    with_gpu = asking(memory="2GiB", gpu=0.5)
    assert resources.request(with_gpu)["memory"] == 5 * 2**30
    (line,) = unschedulable(with_gpu, [{"CPU": 4, "GPU": 1, "memory": 4 * 2**30}], where="it")
    assert "asks for 5GiB, 3GiB of it for CUDA, and it has 4GiB" in line


def test_each_process_of_a_trial_has_a_core_and_cudas_part_of_memory():
    several = resources.request(asking(gpu=4, memory="2GiB"))
    assert several == {"cpu": 4.0, "gpu": 4.0, "memory": (2 + 4 * 3) * 2**30}
    assert resources.request(asking(gpu=2, cpu=8))["cpu"] == 8.0
    assert resources.request(asking(cpu=0.5))["cpu"] == 0.5


def test_memory_bounds_the_trials_of_a_node_too():
    node = {"CPU": 96.0, "memory": 10.0 * 2**30}
    assert slots_on(asking(cpu=1, memory="3GiB"), [node, node]) == 6


def test_more_at_once_than_fit_is_noted():
    nodes = parse_cluster("2 nodes x 4 CPUs")
    sweep = sweep_of(search={"trials": 8, "max_concurrent": 9})
    assert slots_on(sweep, nodes) == 8
    (note,) = resources.notes_on(sweep, nodes)
    assert "8 at once" in note
    assert resources.notes_on(sweep_of(search={"trials": 8, "max_concurrent": 8}), nodes) == []


def test_memory_that_no_node_has_is_told_and_not_waited_for():
    sweep = asking(memory="9GiB")
    assert unschedulable(sweep, [{"CPU": 4.0}], where="it") == []  # it does not say
    nodes = [{"CPU": 4.0, "memory": 4.0 * 2**30}, {"CPU": 4.0, "memory": 8.0 * 2**30}]
    (line,) = unschedulable(sweep, nodes, where="it")
    assert line.startswith("resources.memory: a trial asks for 9GiB, and it has 8GiB; ")
    with pytest.raises(CannotSchedule, match="the largest node of the cluster has 8GiB"):
        resources.check_nodes(sweep, nodes)
    assert unschedulable(asking(memory="8GiB"), nodes, where="it") == []


def test_an_autoscaler_may_add_what_no_node_has():
    sweep, nodes = asking(cpu=4), parse_cluster("2 nodes x 2 CPUs")
    (note,) = resources.check_nodes(sweep, nodes, grows=True)
    assert note.startswith("waiting for nodes: the cluster's autoscaler has to add one. resources.")
    assert resources.check_nodes(asking(cpu=2), nodes, grows=True) == []
    assert resources.check_nodes(asking(cpu=2), nodes) == []
    (none,) = resources.check_nodes(asking(cpu=1), [], grows=True)
    assert "has 0" in none
