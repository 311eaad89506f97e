"""The recorder against a real MLflow server that is late, dies, and comes back."""

import time

import pytest
from mlflow import MlflowClient

from sweeper.ledger import Ledger
from sweeper.tracking.mlflow_recorder import MlflowRecorder
from tests.support.ledgers import finished_ledger, new_ledger, script
from tests.support.servers.mlflow_server import snapshot, without_ids

pytestmark = pytest.mark.slow


def recorder(ledger: Ledger, uri: str, experiment: str, lines: list[str]) -> MlflowRecorder:
    return MlflowRecorder(ledger, uri=uri, experiment=experiment, poll_s=0.02, notify=lines.append)


def undisturbed(folder, new_store) -> dict:
    """Return the content of MLflow, in a store of its own, if nothing goes wrong."""
    uri, ledger = new_store(), finished_ledger(folder)
    MlflowRecorder(ledger, uri=uri, experiment="pdebench").sync()
    return without_ids(snapshot(uri))


def test_a_server_that_comes_up_late_has_everything_once(tmp_path, server_process, new_store):
    expected = undisturbed(tmp_path, new_store)
    server_process.kill()
    (tmp_path / "live").mkdir()
    ledger, lines = new_ledger(tmp_path / "live"), []
    follower = recorder(ledger, server_process.uri, "late", lines)
    follower.start()
    list(script(ledger, tmp_path))
    while not lines:
        time.sleep(0.02)
    assert "does not take records since" in lines[0]
    server_process.start()
    status = follower.stop(timeout_s=60)
    assert (status.pending, status.last_error) == (0, None)
    assert without_ids(snapshot(server_process.uri, "late")) == expected
    assert len(lines) == 2, lines
    assert "is back" in lines[1]


def test_a_server_that_is_killed_midway_and_comes_back_has_everything_once(
    tmp_path, server, new_store
):
    expected = undisturbed(tmp_path, new_store)
    (tmp_path / "live").mkdir()
    ledger, lines = new_ledger(tmp_path / "live"), []
    follower = recorder(ledger, server.uri, "killed", lines)
    follower.start()
    for count, _ in enumerate(script(ledger, tmp_path)):
        time.sleep(0.01)
        if count == 30:
            server.kill()
    while not lines:
        time.sleep(0.02)
    server.start()
    status = follower.stop(timeout_s=60)
    assert (status.pending, status.last_error) == (0, None)
    assert without_ids(snapshot(server.uri, "killed")) == expected
    assert len(lines) == 2, lines


def test_checkpoints_are_uploaded_to_a_server(tmp_path, server):
    ledger = finished_ledger(tmp_path)
    status = recorder(ledger, server.uri, "uploads", []).sync()
    assert (status.pending, status.last_error) == (0, None)
    client = MlflowClient(server.uri)
    run = snapshot(server.uri, "uploads")["003 · mona · advection_1d"]
    paths = {a.path for a in client.list_artifacts(run["id"], "checkpoints")}
    assert "checkpoints/last.safetensors" in paths
    copy = client.download_artifacts(run["id"], "checkpoints/last.safetensors", str(tmp_path))
    with open(copy) as file:
        assert file.read() == "003 last.safetensors"
