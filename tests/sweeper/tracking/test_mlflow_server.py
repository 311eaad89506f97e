"""The recorder against a real MLflow server that is late, dies, and comes back."""

import time

import pytest
from mlflow import MlflowClient

from sweeper.ledger import Ledger
from sweeper.tracking.mlflow_recorder import MlflowRecorder
from tests.support.ledgers import new_ledger, script
from tests.support.servers.mlflow_server import snapshot, without_ids

pytestmark = pytest.mark.slow


def recorder(ledger: Ledger, uri: str, experiment: str, lines: list[str]) -> MlflowRecorder:
    return MlflowRecorder(ledger, uri=uri, experiment=experiment, poll_s=0.02, notify=lines.append)


@pytest.mark.parametrize("killed_at", [0, 30], ids=["comes up late", "killed midway"])
def test_a_server_that_was_away_for_a_while_has_everything_once(
    tmp_path, server, expected, killed_at
):
    (tmp_path / "live").mkdir()
    ledger, lines = new_ledger(tmp_path / "live"), []
    experiment = f"killed at {killed_at}"
    follower = recorder(ledger, server.uri, experiment, lines)
    for count, _ in enumerate(script(ledger, tmp_path)):
        if count == killed_at:
            server.kill()
        if count == 0:
            follower.start()
        time.sleep(0.01)
    while not lines:
        time.sleep(0.02)
    assert "does not take records since" in lines[0]
    server.start()
    status = follower.stop(timeout_s=60)
    assert (status.pending, status.last_error) == (0, None)
    assert without_ids(snapshot(server.uri, experiment)) == expected
    assert len(lines) == 2, lines
    assert "is back" in lines[1]


def test_checkpoints_are_uploaded_to_a_server(tmp_path, server, ledger):
    status = recorder(ledger, server.uri, "uploads", []).sync()
    assert (status.pending, status.last_error) == (0, None)
    client = MlflowClient(server.uri)
    run = snapshot(server.uri, "uploads")["003 · mona · advection_1d"]
    paths = {a.path for a in client.list_artifacts(run["id"], "checkpoints")}
    assert "checkpoints/last.safetensors" in paths
    copy = client.download_artifacts(run["id"], "checkpoints/last.safetensors", str(tmp_path))
    with open(copy) as file:
        assert file.read() == "003 last.safetensors"
