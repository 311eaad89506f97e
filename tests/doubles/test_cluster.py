"""Toy trials on two nodes go on after the raylet of one, and nothing else of it, is killed."""

import time

import pytest

from tests.support.servers.cluster import ray_cluster
from tests.support.servers.process import wait_until
from tests.support.toy import sweep as toy_sweep
from tests.support.toy.history import mlflow_violations, read, violations

TRIALS = 4
OPTIONS = ("--trials", str(TRIALS), "--epochs", "6", "--epoch-s", "0.3", "--pruning", "none")


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster(nodes=[1]) as cluster:
        yield cluster


def test_trials_of_a_node_without_its_raylet_go_on_elsewhere(cluster, tmp_path, new_store):
    doomed = cluster.add_node()
    folder, uri = tmp_path / "toy", new_store()
    options = (*OPTIONS, "--tracking", uri, "--address", cluster.address)
    driver = toy_sweep.start(folder, *options, environment=cluster.environment)
    try:
        wait_until(lambda: epochs_on(folder, doomed) >= 2, timeout_s=120, what="a trial there")
        (raylet,) = (p for p in doomed.descendants() if p.name() == "raylet")
        raylet.kill()  # its workers go on until they notice
        lost_at = time.time()
        cluster.wait_for_nodes(2, timeout_s=60)
        assert driver.wait(240) == 0, driver.tail()
    finally:
        driver.kill()
        doomed.kill()
    ledger = toy_sweep.open_ledger(folder)
    assert violations(folder, ledger, planned={"toy/task_0": TRIALS}, faults=1) == []
    assert mlflow_violations(ledger, uri, "toy") == []
    (again,) = {line.key for line in read(folder) if line.attempt > 1}
    starts = [line.time for line in read(folder) if line.key == again and line.event == "started"]
    assert starts[1] - lost_at < 30


def epochs_on(folder, node) -> int:
    """Return how many epochs the processes of a node have trained."""
    pids = {process.pid for process in node.descendants()}
    return sum(line.event == "epoch" and line.pid in pids for line in read(folder))
