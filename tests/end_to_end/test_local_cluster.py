"""The cluster that a launch starts: only this machine reaches it, and only with its token."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import psutil
import pytest

from tests.support.canary import Canaries
from tests.support.command import ROOT
from tests.support.servers.process import wait_until

DECOY = "127.0.0.1:1"  # a cluster of somebody else
AGENT_PORT = 52365  # Ray's own choice, which another cluster of this machine may have
CANARIES = Canaries.hatch(
    "PGPASSWORD", "MLFLOW_TRACKING_PASSWORD", "HF_TOKEN", "WANDB_API_KEY", "GITHUB_TOKEN"
)
START = """
import json, os, sys
from pathlib import Path
from sweeper.execution import cluster

cluster.set_environment(Path(sys.argv[1]))
options = {"num_cpus": 1, "passed_on": ["AWS_SECRET_ACCESS_KEY"], "dashboard": "no" not in sys.argv}
with cluster.connect("local", **options) as mine:
    import ray
    ray.get(ray.remote(lambda: 1).remote())  # so that there is a worker too
    kept = ("PGPASSWORD" in os.environ)
    print(json.dumps({**vars(mine), "kept": kept}), flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class Local:
    """A running local cluster, and the processes that it is made of."""

    process: psutil.Process
    address: str
    dashboard: str | None
    token_file: Path

    def status(self, path: str, token: str | None, *, post: bool = False) -> int:
        """Return how the dashboard answers a request that shows `token`."""
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = json.dumps({"entrypoint": "true"}).encode() if post else None
        request = urllib.request.Request(f"{self.dashboard}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@contextmanager
def started(*words: str) -> Iterator[Local]:
    """Start one where another cluster is said to run, in the ways in which Ray is told of it."""
    with (
        tempfile.TemporaryDirectory() as folder,  # short: socket paths have a limit
        socket.socket() as taken,
    ):
        with suppress(OSError):  # then another cluster has it
            taken.bind(("127.0.0.1", AGENT_PORT))
            taken.listen()
        decoy = Path(folder, "ray", "ray_current_cluster")
        decoy.parent.mkdir()
        decoy.write_text(DECOY)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")} | {
            "PYTHONPATH": str(ROOT), "RAY_TMPDIR": folder, "RAY_ADDRESS": DECOY,
            "AWS_SECRET_ACCESS_KEY": "of a store that trials write to", **CANARIES.environment,
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(Path(folder, "token")), *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            facts = json.loads(process.stdout.readline())
            assert facts["kept"], "the driver needs it"
            yield Local(
                psutil.Process(process.pid), facts["address"], facts["dashboard"],
                Path(facts["token_file"]),
            )  # fmt: skip
        finally:
            process.stdin.close()
            process.wait(timeout=120)
            process.stdout.close()


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    with started() as local:
        yield local


def is_loopback(text: str) -> bool:
    address = ip_address(text)
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (inner or address).is_loopback


def test_it_joins_no_other_cluster_and_listens_to_this_machine_alone(local: Local) -> None:
    assert local.address != DECOY
    heard = {
        connection.laddr.ip
        for process in (local.process, *local.process.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert heard
    assert [address for address in heard if not is_loopback(address)] == []


@pytest.mark.parametrize(
    ("path", "post"),
    [("/api/version", False), ("/nodes?view=summary", False), ("/api/jobs/", True)],
)
def test_it_answers_those_who_have_its_token(local: Local, path: str, post: bool) -> None:
    assert local.token_file.stat().st_mode & 0o777 == 0o600
    token = local.token_file.read_text()
    assert local.status(path, None, post=post) == 401
    assert local.status(path, "0" * 64, post=post) == 403
    wait_until(  # a job is answered with 500 until the agent that runs jobs is up
        lambda: local.status(path, token, post=post) == 200, timeout_s=120, what="an answer"
    )


def test_its_processes_have_no_secret_but_those_that_are_passed_on(local: Local) -> None:
    inherited = [process.environ() for process in local.process.children(recursive=True)]
    assert any("AWS_SECRET_ACCESS_KEY" in each for each in inherited)
    assert CANARIES.found_in(json.dumps(inherited)) == []


def parts_of(local: Local) -> set[str]:
    """Return the names of Ray's processes that a cluster can do without."""
    words = [w for each in local.process.children(recursive=True) for w in each.cmdline()]
    return {Path(word).name for word in words} & {"dashboard.py", "monitor.py", "log_monitor.py"}


def test_without_a_dashboard_neither_its_server_nor_its_monitor_runs(local: Local) -> None:
    assert parts_of(local) == {"dashboard.py", "monitor.py"}
    with started("no") as other:
        assert other.dashboard is None
        assert parts_of(other) == set()
