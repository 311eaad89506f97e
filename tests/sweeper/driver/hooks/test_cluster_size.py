"""A sweep follows the nodes of its cluster: slots, demand for an autoscaler, waiting trials."""

import threading

import pytest

from sweeper.core.runner import SweepRunner
from sweeper.driver.hooks.cluster_size import PATIENCE_S, REFRESH_S, WAITING_S, ClusterSize
from sweeper.driver.hooks.fair_share import FairShare
from sweeper.ledger import EventKind
from sweeper.planning.catalog import catalog
from sweeper.spec.loader import loads_sweep
from tests.bad_inputs.rows import VALID
from tests.support.fakes import FixedSampler, new_ledger, plan

SMALL = {"CPU": 2.0}


class Cluster:
    """A cluster of nodes with two cores each; a trial takes one."""

    def __init__(self, folder, *, nodes: int = 1, grows: bool = False, at_once: str = "null"):
        suggestions = [{"refine.lr": 0.1 * (i + 1)} for i in range(40)]
        self.ledger = new_ledger(folder)
        self.runner = SweepRunner([plan(FixedSampler(suggestions), num_trials=40)], self.ledger)
        self.nodes, self.now = nodes, 0.0
        self.said: list[str] = []
        self.resized: list[int] = []
        self.joined = threading.Event()
        text = f"{VALID}resources: {{cpu: 1}}\n".replace(
            "trials: 8", f"trials: 40, max_concurrent: {at_once}"
        )
        self.hook = ClusterSize(
            sweep=loads_sweep(text, catalog()),
            runner=self.runner,
            ledger=self.ledger,
            read=lambda: [SMALL] * self.nodes,
            grows=grows,
            resized=self.resized.append,
            joined=self.joined.set,
            say=self.said.append,
            clock=lambda: self.now,
        )
        self.wait(REFRESH_S)

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += REFRESH_S
            self.hook.tick()

    def start_all(self) -> int:
        """Start as many trials as may start; return how many run."""
        while self.runner.next_trial() is not None:
            pass
        return self.runner.num_running

    def sizes(self) -> list[dict]:
        events = self.ledger.events(kinds=[EventKind.CLUSTER_RESIZED])
        return [dict(event.payload) for event in events]


def test_a_node_that_joins_takes_trials_and_one_that_leaves_takes_none(tmp_path) -> None:
    cluster = Cluster(tmp_path)
    assert cluster.start_all() == 2
    cluster.nodes = 3
    cluster.wait(REFRESH_S)
    assert cluster.joined.wait(10), "it is checked for data"
    assert cluster.start_all() == 6
    cluster.nodes = 1
    cluster.wait(REFRESH_S)
    assert cluster.runner.is_at_limit
    assert cluster.start_all() == 6, "what runs is left alone"
    assert cluster.resized == [2, 6, 2]
    assert cluster.said == [
        "the cluster has 3 nodes now: 6 trials at once.",
        "the cluster has 1 node now: 2 trials at once.",
    ]
    assert cluster.sizes() == [
        {"nodes": 3, "slots": 6, "waiting": 0},
        {"nodes": 1, "slots": 2, "waiting": 0},
    ]


def test_a_cluster_that_stays_as_it_is_leaves_no_trace(tmp_path) -> None:
    cluster = Cluster(tmp_path)
    cluster.wait(1000)
    assert (cluster.said, cluster.sizes()) == ([], [])
    assert not cluster.joined.is_set()


def test_without_a_node_one_trial_waits(tmp_path) -> None:
    cluster = Cluster(tmp_path, nodes=0)
    assert cluster.start_all() == 1


def test_an_autoscaler_sees_as_many_trials_again_as_run_and_later_one(tmp_path) -> None:
    cluster = Cluster(tmp_path, grows=True)
    assert cluster.start_all() == 4
    cluster.nodes = 2
    cluster.wait(REFRESH_S)
    assert cluster.start_all() == 8
    cluster.wait(PATIENCE_S)
    cluster.wait(REFRESH_S)
    assert cluster.runner.slots == 5
    cluster.nodes = 3
    cluster.wait(REFRESH_S)
    assert cluster.runner.slots == 12, "it grows again"


def test_no_more_trials_wait_than_the_file_allows_at_once(tmp_path) -> None:
    cluster = Cluster(tmp_path, grows=True, at_once="3")
    assert cluster.start_all() == 3


@pytest.mark.parametrize(("nodes", "share"), [(1, 1), (4, 4)])
def test_the_share_of_one_of_two_sweeps_follows(tmp_path, nodes, share) -> None:
    cluster = Cluster(tmp_path, nodes=nodes)
    FairShare(cluster.runner, 2, lambda: (0, 2), cluster.said.append).tick()
    assert cluster.runner.limit == share
    assert cluster.start_all() == share


def test_trials_that_wait_for_nodes_are_recorded_once_they_have_waited(tmp_path) -> None:
    cluster = Cluster(tmp_path, grows=True)
    cluster.start_all()
    cluster.runner.num_without_node = 2
    cluster.wait(WAITING_S)
    assert cluster.sizes() == []
    cluster.wait(10 * WAITING_S)
    assert cluster.sizes() == [{"nodes": 1, "slots": 2, "waiting": 2}]
    assert cluster.said == ["2 trials waiting for nodes."]
    cluster.runner.num_without_node = 0
    cluster.wait(REFRESH_S)
    assert cluster.sizes()[1:] == [{"nodes": 1, "slots": 2, "waiting": 0}]
