"""A real MLflow server that a test may kill and start again, and all that MLflow holds."""

import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from sweeper.ledger import Ledger
from sweeper.tracking.mlflow_recorder import MlflowRecorder
from tests.support.servers.ports import free_port, is_listening
from tests.support.servers.process import Process, wait_until

QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


class Server:
    """`mlflow server`, whose store and port stay through restarts; both are in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: Process | None = None

    def start(self) -> None:
        """Start the server, if it does not run, and wait until it answers."""
        if self._process is not None:
            return
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
            "--port", str(self.port), "--workers", "1", "--backend-store-uri",
            f"sqlite:///{self._folder / 'server.db'}", "--artifacts-destination",
            str(self._folder / "artifacts"),
        ]  # fmt: skip
        log = self._folder / "server.log"
        self._process = Process(command, log=log, environment=QUIET)
        self._process.wait_until(self._is_healthy, timeout_s=90)

    def kill(self) -> None:
        """End the server and its workers at once."""
        if self._process is not None:
            self._process.kill()
            self._process = None
            wait_until(lambda: not is_listening(self.port), timeout_s=30, what="its port")

    def experiment_id(self, name: str) -> str:
        """Return the id of an experiment that is there."""
        found = MlflowClient(self.uri).get_experiment_by_name(name)
        assert found is not None
        return str(found.experiment_id)

    def _is_healthy(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        return True


@contextmanager
def mlflow_server(folder: Path) -> Iterator[Server]:
    """Yield a running server."""
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def recorder(ledger: Ledger, uri: str, **options: Any) -> MlflowRecorder:
    """Return what ships a ledger to the experiment `pdebench`."""
    return MlflowRecorder(ledger, uri=uri, experiment="pdebench", **options)


def snapshot(uri: str, experiment: str = "pdebench") -> dict[str, dict[str, Any]]:
    """Return all that MLflow holds of an experiment, by run name; ids replaced by names.

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
    """Return a snapshot that compares with one of another store."""
    return {
        name: {key: value for key, value in run.items() if key != "id"}
        for name, run in content.items()
    }
