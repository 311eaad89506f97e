"""A cluster grows, and a node is told to leave it: the sweep follows, and no epoch is lost."""

import os
import re
import signal
from contextlib import suppress

from sqlalchemy.exc import DBAPIError

from tests.support.servers.cluster import RayCluster, ray_cluster, shell_on, short_folder
from tests.support.servers.process import wait_until
from tests.support.small_programs import HeldSweep
from tests.support.small_sweep import TRIALS, Sweep, finish, wait_for_epochs

STEPS = 100
TWO = ("--set", "search.max_concurrent=2")
SETS = (f"program.steps={STEPS}", "fixed.nap=0.2", "checkpoints.every=1000")
LONG = ("--trials", "2", *TWO, *(word for each in SETS for word in ("--set", each)))
RESIZED, ENDED = "cluster_resized", "attempt_ended"
BUSY_S = 120.0  # other tests run beside these


def running(sweep: Sweep) -> list[int]:
    """Return the running trials; none before there is a ledger."""
    with suppress(DBAPIError):
        return [n for (n,) in sweep.rows("select number from trials where state = 'running'")]
    return []


def ends_by_drain(sweep: Sweep) -> list[tuple[int, dict]]:
    """Return the ends of attempts that lost their node."""
    return [(n, end) for n, end in sweep.events(ENDED) if end["failure"] == "lost_node"]


def test_a_sweep_takes_a_node_that_joins_and_leaves_one_that_drains(tmp_path, data_home) -> None:
    with ray_cluster(nodes=[1]) as cluster:
        sweep = HeldSweep(shell_on(cluster, tmp_path, data_home), "elastic")
        launch = sweep.start(*LONG)
        wait_for_epochs(sweep, 2)
        first = cluster.nodes[1]
        cluster.add_node(1)
        wait_until(lambda: sweep.events(RESIZED), timeout_s=BUSY_S, what="the sweep to grow")
        # A machine that will go ends its services by SIGTERM.
        os.kill(first.process.pid, signal.SIGTERM)
        wait_until(lambda: ends_by_drain(sweep), timeout_s=BUSY_S, what="a trial to leave")
        left, payload = ends_by_drain(sweep)[0]
        err = finish(launch)

    outcome = payload["state"], payload["failure"], payload["counts"]
    assert outcome == ("waiting", "lost_node", False)
    assert "its node leaves the cluster" in payload["reason"]
    logs = sorted((sweep.folder / "trials").glob(f"*/{left:04d}/attempt-*/log.txt"))
    printed = re.compile(rf"^run (\d+)/{STEPS}:", re.MULTILINE)
    trained = [printed.findall(log.read_text()) for log in logs]
    assert [int(step) for each in trained for step in each] == list(range(1, STEPS + 1))
    assert len(trained) == 2, "one attempt on each node"
    assert trained[1]  # the first one may have to leave before its first epoch
    rows = sweep.rows("select state, uncounted from trials order by uncounted")
    assert rows == [("complete", 0), ("complete", 1)]
    assert [size["slots"] for _, size in sweep.events(RESIZED)][:2] == [2, 1]
    assert "the cluster has 3 nodes now: 2 trials at once." in err


def test_an_autoscaler_adds_the_nodes_that_a_sweep_waits_for(tmp_path, data_home) -> None:
    with short_folder() as folder:
        cluster = RayCluster(folder, quick_to_bury=False)
        try:
            cluster.start_autoscaling(num_cpus=1, most=2)
            shell = shell_on(cluster, tmp_path, data_home)
            sweep = Sweep(shell, "growing", on_backbone=True)
            launch = sweep.start("--set", "refine.epochs=500", *TWO)
            wait_for_epochs(sweep, 1)
            wait_until(lambda: cluster.num_alive() == 3, timeout_s=BUSY_S, what="two nodes")
            err = finish(launch)
            wait_until(lambda: cluster.num_alive() == 1, timeout_s=BUSY_S, what="no idle node")
            refused = sweep.start("--name", "huge", "--set", "resources.cpu=64")
            wait_until(
                lambda: cluster.num_alive() == 1 and running(Sweep(shell, "huge")),
                timeout_s=BUSY_S,
                what="trials that no node can hold, and that wait",
            )
            refused.send_signal(signal.SIGTERM)
            waited = finish(refused, code=143)
        finally:
            cluster.close()
    assert "waiting for nodes: the cluster's autoscaler has to add one" in err
    assert "waiting for nodes: the cluster's autoscaler has to add one" in waited
    states = sweep.rows("select state, uncounted from trials")
    assert states == [("complete", 0)] * TRIALS
