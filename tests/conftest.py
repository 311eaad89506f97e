"""What all tests share: Hypothesis settings, a clean environment, one Ray head, one data home."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("sweeper", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("sweeper")

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "NO_COLOR": "1",
}
os.environ |= QUIET
for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "MLFLOW_RUN_ID", "SWEEPER_HOME"):
    os.environ.pop(name, None)


@dataclass(frozen=True)
class RayHead:
    """A Ray head of this session's own, on loopback, with two logical GPUs."""

    address: str
    environment: dict[str, str]


def free_port() -> int:
    """Returns a port that is free, and that Ray does not take for its own parts."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port > 20_000 and port != 52_365:
            return port


@pytest.fixture(scope="session")
def ray_head(tmp_path_factory) -> Iterator[RayHead]:
    """Starts one head for the whole session, and ends its process group and no other."""
    folder = tmp_path_factory.mktemp("r")  # short: socket paths have a limit
    token = folder / "token"
    token.touch(0o600)
    token.write_text("f" * 64)
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    root = str(Path(__file__).resolve().parent.parent)
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block",
        "--node-ip-address=127.0.0.1", f"--port={address.rpartition(':')[2]}",
        "--num-cpus=2", "--num-gpus=2", "--dashboard-host=127.0.0.1",
        f"--dashboard-port={free_port()}",
        f"--dashboard-agent-listen-port={free_port()}",
        f"--temp-dir={folder}",
        "--disable-usage-stats",
    ]  # fmt: skip
    log = (folder / "head.log").open("w")
    head = subprocess.Popen(
        command,
        env=os.environ | environment | {"PYTHONPATH": root},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        _wait_for_head(head, address, folder / "head.log")
        yield RayHead(address, environment)
    finally:
        if head.poll() is None:
            os.killpg(head.pid, signal.SIGTERM)
        try:
            head.wait(timeout=4)
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, signal.SIGKILL)
            head.wait()
        log.close()


def _wait_for_head(head: subprocess.Popen[bytes], address: str, log: Path) -> None:
    host, _, port = address.partition(":")
    for _ in range(240):
        if head.poll() is not None:
            pytest.fail(f"ray start ended with {head.returncode}: {log.read_text()}")
        if "Ray runtime started" in log.read_text():
            with socket.create_connection((host, int(port)), timeout=5):
                return
        time.sleep(0.25)
    pytest.fail(f"the Ray head did not come up: {log.read_text()}")


@pytest.fixture(scope="session")
def data_home(tmp_path_factory) -> Path:
    """A SWEEPER_HOME that the session's tests share, so that data are made once."""
    return tmp_path_factory.mktemp("home")
