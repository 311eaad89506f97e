"""A Ray cluster of several nodes on this machine, each of which a test may kill."""

import json
import os
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.command import ROOT, Shell
from tests.support.servers.ports import free_port, free_ports
from tests.support.servers.process import Process, is_running, wait_until

RAY = Path(sys.executable).with_name("ray")
PATHS = {  # of each node: its commands, and the trainables that tests bring
    "PATH": os.pathsep.join([str(RAY.parent), os.environ["PATH"]]),
    "PYTHONPATH": str(ROOT),
}
STORE_BYTES = 200_000_000
QUICK = {  # a killed node is found dead after 3 s, one that is cut off after 10
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
}
# As Ray's `AutoscalingCluster`, which reads a file that installed Rays lack, and calls `ray stop`.
FAKE_NODES = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
FAKE_HEAD_NODE_ID = f"{'f' * 51}00000"  # which Ray's provider of fake nodes expects
AGENTS = (
    "dashboard-agent-listen-port", "dashboard-agent-grpc-port", "metrics-export-port",
    "runtime-env-agent-port", "node-manager-port", "object-manager-port",
)  # fmt: skip


@dataclass(frozen=True)
class Host:
    """The place of a node: its address, and the prefix of a command that runs there."""

    ip: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()


HERE = Host()


class Node:
    """One `ray start`: its raylet, agents and workers, in a process group of their own."""

    def __init__(self, process: Process, ports: Mapping[str, int]) -> None:
        self.process, self.ports = process, ports  # those of its agents, by their option's name

    def workers(self) -> list[psutil.Process]:
        """Return the processes in which trials run, or have run."""
        found = []
        for process in self.descendants():
            with suppress(psutil.Error):
                if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::sweeper "):
                    found.append(process)
        return found

    def descendants(self) -> list[psutil.Process]:
        """Return all processes that the node started and that still have it above them."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """End the node and all that it started at once, also what has a group of its own."""
        started = self.descendants()
        self.process.kill()
        for process in started:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        wait_until(
            lambda: not any(map(is_running, started)),
            timeout_s=30,
            what="a node's processes to end",
        )


class RayCluster:
    """A head with token authentication and the jobs API, all ports of its own; nodes may join.

    `environment` holds what clients need besides the address.
    """

    def __init__(self, folder: Path, *, quick_to_bury: bool, host: Host = HERE) -> None:
        self.folder, self._host = folder, host
        self._gcs, self._dashboard, self._client = free_ports(3)
        self.address = f"{host.ip}:{self._gcs}"
        self.http = f"http://{host.ip}:{self._dashboard}"
        token = folder / "token"
        token.touch(0o600)
        token.write_text("f" * 64)
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        self._settings = {**self.environment, **PATHS, **(QUICK if quick_to_bury else {})}
        self.nodes: list[Node] = []  # all that run or ran, the head first
        self._num_started = 0

    def start(self, *, num_cpus: int = 0, num_gpus: int = 0, options: Sequence[str] = ()) -> None:
        """Start the head; with no CPU it runs no trial."""
        self._ray_start(
            self._host, "--head", f"--port={self._gcs}", f"--ray-client-server-port={self._client}",
            f"--dashboard-host={self._host.ip}", f"--dashboard-port={self._dashboard}",
            "--disable-usage-stats", f"--num-cpus={num_cpus}", f"--num-gpus={num_gpus}",
            *options,
        )  # fmt: skip

    def start_autoscaling(self, *, num_cpus: int, most: int, idle_s: float = 6.0) -> None:
        """Start the head with Ray's autoscaler, which adds and removes nodes of this machine.

        They are processes below the head's, so that `close` ends them with it.

        Args:
            num_cpus: Of each node that it adds; the head has none.
            most: Nodes that it adds at most.
            idle_s: Seconds after which an idle node is removed.
        """
        head = "ray.head.default"
        kinds = {
            head: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "small": {"resources": {"CPU": num_cpus}, "node_config": {}, "max_workers": most},
        }
        hooks = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray",
                 "worker_start_ray")  # fmt: skip
        config = {
            "cluster_name": "fake", "max_workers": most, "idle_timeout_minutes": idle_s / 60,
            "provider": {"type": "external", "module": FAKE_NODES, "gcs_address": self.address,
                         "head_node_id": FAKE_HEAD_NODE_ID, "launch_multiple": True,
                         "use_node_id_as_ip": True, "disable_node_updaters": True,
                         "disable_launch_config_check": True},
            "auth": {}, "docker": {}, "file_mounts": {}, "cluster_synced_files": [],
            "available_node_types": kinds, "head_node_type": head,
            **{f"{hook}_commands": [] for hook in hooks},
        }  # fmt: skip
        file = self.folder / "autoscaler.json"
        file.write_text(json.dumps(config))
        self._settings |= {
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
            "RAY_NODE_TYPE_NAME": head,  # as those who start a head with an autoscaler set it
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        }
        self.start(options=(f"--autoscaling-config={file}",))

    def add_node(self, num_cpus: int = 1, *, host: Host = HERE) -> Node:
        """Start another node, which has joined when this returns."""
        there = self.num_alive()
        node = self._ray_start(host, f"--address={self.address}", f"--num-cpus={num_cpus}")
        self.wait_for_nodes(there + 1)
        return node

    def _ray_start(self, host: Host, *arguments: str) -> Node:
        """Start a node; once more if Ray gave up after the 30 s that it waits on a busy machine."""
        try:
            return self._try_to_start(host, *arguments)
        except AssertionError as error:
            if "timed out during startup" not in str(error):
                raise
            self.nodes.pop().kill()
            return self._try_to_start(host, *arguments)

    def _try_to_start(self, host: Host, *arguments: str) -> Node:
        self._num_started += 1
        name = f"n{self._num_started}"  # short: socket paths have a limit
        log = self.folder / f"{name}.log"
        ports = {agent: free_port() for agent in AGENTS}
        command = [
            *host.prefix, str(RAY), "start", "--block", f"--node-ip-address={host.ip}",
            *arguments, *(f"--{agent}={port}" for agent, port in ports.items()),
            f"--object-store-memory={STORE_BYTES}", f"--temp-dir={self.folder / name}",
        ]  # fmt: skip
        node = Node(Process(command, log=log, environment=self._settings), ports)
        self.nodes.append(node)
        node.process.wait_until(lambda: "Ray runtime started" in log.read_text(), timeout_s=240)
        return node

    def num_alive(self) -> int:
        """Return how many nodes the cluster itself holds for alive, the head included."""
        token = Path(self.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
        headers = {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"{self.http}/nodes?view=summary", headers=headers)
        with urllib.request.urlopen(request, timeout=20) as response:
            nodes = json.load(response)["data"]["summary"]
        return sum(node["raylet"].get("state") == "ALIVE" for node in nodes)

    def wait_for_nodes(self, count: int, timeout_s: float = 60.0) -> None:
        """Return once so many nodes are alive in the cluster's own eyes."""
        wait_until(lambda: self.num_alive() == count, timeout_s=timeout_s, what=f"{count} nodes")

    def kill_node(self, node: Node) -> None:
        """SIGKILL of all of a node: a machine that lost its power."""
        node.kill()

    def close(self) -> None:
        """End every node."""
        for node in reversed(self.nodes):
            node.kill()


@contextmanager
def short_folder() -> Iterator[Path]:
    """Yield a folder for Ray whose path is short, since that of a socket has a limit."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def ray_cluster(
    *, num_cpus: int = 0, num_gpus: int = 0, nodes: Sequence[int] = (), quick_to_bury: bool = True
) -> Iterator[RayCluster]:
    """Yield a cluster whose logs and sockets are in a folder of its own.

    Args:
        num_cpus: Of the head.
        nodes: CPUs of the other nodes that it starts with.
        quick_to_bury: Whether a killed node is found dead after 3 s, and not after 15.
    """
    with short_folder() as folder:
        cluster = RayCluster(folder, quick_to_bury=quick_to_bury)
        try:
            cluster.start(num_cpus=num_cpus, num_gpus=num_gpus)
            for cpus in nodes:
                cluster.add_node(cpus)
            yield cluster
        finally:
            cluster.close()


def shell_on(cluster: RayCluster, folder: Path, home: Path) -> Shell:
    """Return a shell in a folder whose commands find a cluster by themselves."""
    environment = {
        **cluster.environment,
        "SWEEPER_HOME": str(home),
        "SWEEPER_ADDRESS": cluster.address,
    }
    return Shell(folder, environment)
