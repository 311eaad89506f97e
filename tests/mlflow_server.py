"""A real MLflow server that a test may kill and start again, and all that MLflow holds."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient


class Server:
    """`mlflow server` with its own store in a folder; the port stays through restarts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.uri = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._process is not None:
            return
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
            "--port", self.uri.rpartition(":")[2], "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self._folder / 'server.db'}",
            "--artifacts-destination", str(self._folder / "artifacts"),
        ]  # fmt: skip
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=os.environ | quiet, stdout=log, stderr=log, start_new_session=True
            )
        for _ in range(240):
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
                return
            time.sleep(0.25)
        pytest.fail(f"no MLflow server: {(self._folder / 'server.log').read_text()[-2000:]}")

    def experiment_id(self, name: str) -> str:
        found = MlflowClient(self.uri).get_experiment_by_name(name)
        assert found is not None
        return str(found.experiment_id)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def snapshot(uri: str, experiment: str = "pdebench") -> dict[str, dict[str, Any]]:
    """Returns all that MLflow holds of an experiment, by run name; ids replaced by names.

    Raises an AssertionError where two runs have one name.
    """
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id], max_results=1000)
    names = {run.info.run_id: run.info.run_name for run in runs}
    assert len(set(names.values())) == len(runs), sorted(names.values())
    content = {}
    for run in runs:
        tags = {k: v for k, v in run.data.tags.items() if k.startswith("sweeper.")}
        history = {
            key: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(
                run.info.run_id, key)]
            for key in run.data.metrics
        }  # fmt: skip
        content[run.info.run_name] = {
            "status": run.info.status,
            "parent": names.get(run.data.tags.get("mlflow.parentRunId", "")),
            "times": (run.info.start_time, run.info.end_time),
            "tags": tags,
            "params": run.data.params,
            "metrics": {key: sorted(points) for key, points in sorted(history.items())},
            "id": run.info.run_id,
        }
    return content


def without_ids(content: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns a snapshot that compares with one of another store."""
    return {
        name: {key: value for key, value in run.items() if key != "id"}
        for name, run in content.items()
    }
