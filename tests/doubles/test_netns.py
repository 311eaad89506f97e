"""A host that is cut off is as good as lost, and comes back without harm."""

import subprocess
import sys

from tests.support.servers.netns import network, ray_on_hosts
from tests.support.servers.process import wait_until
from tests.support.toy import sweep as toy_sweep
from tests.support.toy.history import mlflow_violations, read, violations

TRIALS = 4
OPTIONS = ("--trials", str(TRIALS), "--epochs", "8", "--epoch-s", "0.3", "--pruning", "none")
TALK = """
import socket, sys
socket.create_connection((sys.argv[1], 7), timeout=1)
"""


def can_reach(source, target) -> bool:
    """Return whether a host answers another, if only that nothing listens."""
    command = [*source.prefix, sys.executable, "-c", TALK, target.ip]
    done = subprocess.run(command, capture_output=True, text=True)
    return "ConnectionRefusedError" in done.stderr


def test_a_host_is_cut_off_and_back():
    with network(3) as hosts:
        one, two, three = hosts.hosts
        assert can_reach(one, two)
        hosts.cut(two)
        assert not can_reach(one, two)
        assert not can_reach(two, three)
        assert can_reach(one, three)
        hosts.heal(two)
        assert can_reach(one, two)
        name = hosts.name
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    assert name not in left


def test_trials_of_a_host_that_is_cut_off_go_on_elsewhere(tmp_path, new_store):
    folder, uri = tmp_path / "toy", new_store()
    with ray_on_hosts() as made:
        cluster, hosts = made.cluster, made.network
        lost, host = cluster.nodes[2], hosts.hosts[2]
        options = (*OPTIONS, "--tracking", uri, "--address", cluster.address)
        driver = toy_sweep.start(
            folder, *options, environment=cluster.environment, prefix=hosts.hosts[0].prefix
        )
        try:
            pids = set()

            def is_under_way() -> bool:
                pids.update(process.pid for process in lost.descendants())
                return sum(line.event == "epoch" and line.pid in pids for line in read(folder)) > 1

            wait_until(is_under_way, timeout_s=120, what="a trial there")
            hosts.cut(host)
            cluster.wait_for_nodes(2, timeout_s=90)
            assert driver.wait(240) == 0, driver.tail()
            hosts.heal(host)
            wait_until(
                lambda: not lost.process.is_alive, timeout_s=180, what="a buried node to end"
            )
        finally:
            driver.kill()
    ledger = toy_sweep.open_ledger(folder)
    assert violations(folder, ledger, planned={"toy/task_0": TRIALS}, faults=1) == []
    assert mlflow_violations(ledger, uri, "toy") == []
    assert max(line.attempt for line in read(folder)) == 2
