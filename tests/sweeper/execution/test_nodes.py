"""What nodes see, on two of them: the second one has a disk of its own over a folder."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.execution.nodes import has_types, is_scaled
from tests.support.command import ROOT
from tests.support.servers.cluster import RayCluster

LOOK = """
import sys, time
from pathlib import Path
import ray
from sweeper.execution.cluster import connect
from sweeper.execution.nodes import missing_on

address, wanted, *paths = sys.argv[1:]
with connect(address):
    deadline = time.monotonic() + 90
    while sum(n["Alive"] for n in ray.nodes()) != int(wanted) and time.monotonic() < deadline:
        time.sleep(0.2)
    lacking, count = missing_on([Path(path) for path in paths])
    print({path.name: nodes for path, nodes in lacking.items()}, count)
"""


def look(head: RayCluster, wanted: int, *paths: Path) -> str:
    """Return what nodes lack of `paths`, once there are `wanted` of them."""
    command = [sys.executable, "-c", LOOK, head.address, str(wanted), *map(str, paths)]
    environment = os.environ | head.environment | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture
def blind_node(ray_head: RayCluster, tmp_path: Path) -> Iterator[Path]:
    """A second node without CPUs, which sees nothing in the folder that is lent."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a process a disk of its own")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    ray = Path(sys.executable).with_name("ray")
    script = f"mount -t tmpfs none {hidden} && exec {ray} start --block --num-cpus=0 " + (
        f"--address={ray_head.address} --node-ip-address=127.0.0.1 --node-name=blind"
    )
    node = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script],
        env=os.environ | ray_head.environment | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield hidden
    finally:
        os.killpg(node.pid, signal.SIGTERM)
        try:
            node.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(node.pid, signal.SIGKILL)
            node.wait()
        look(ray_head, 1)


def test_row_69_what_some_nodes_do_not_see_is_told_with_their_names(ray_head, blind_node, tmp_path):
    for folder in (blind_node / "data", tmp_path / "shared"):
        folder.mkdir()
    seen = look(ray_head, 2, blind_node / "data", tmp_path / "shared")
    assert seen == "{'data': ['blind']} 2"


ID = "56a659e641239de9fa44cf086c831ba8e4254df0f3915b0c27db34b7"


@pytest.mark.parametrize(
    ("report", "grows"),
    [
        ({"active_nodes": {f"node_{ID}": 1}, "idle_nodes": None}, False),
        ({"active_nodes": {}, "idle_nodes": {}}, False),
        ({}, False),
        ({"active_nodes": {"ray.head.default": 1}, "idle_nodes": None}, True),
        ({"active_nodes": {}, "idle_nodes": {"gpu-group": 2}}, True),
    ],
)
def test_a_monitor_without_an_autoscaler_names_no_types_of_nodes(report, grows):
    assert has_types(report) == grows


@pytest.mark.parametrize(
    ("reports", "kind", "grows"),
    [(True, "gpu-group", True), (True, "", False), (False, "gpu-group", False)],
)
def test_the_second_autoscaler_has_to_report_and_to_know_types(reports, kind, grows):
    """KubeRay names types without an autoscaler, too; a monitor alone reports, without types."""
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

    reply = GetClusterStatusReply()
    reply.cluster_resource_state.node_states.add(ray_node_type_name=kind)
    if reports:
        reply.autoscaling_state.autoscaler_state_version = 3
    assert is_scaled(reply.SerializeToString()) == grows
