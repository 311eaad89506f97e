"""MLflow's server, with its store in PostgreSQL, keeps what it took through SIGKILL."""

import pytest
from mlflow import MlflowClient

from tests.support.servers.mlflow_server import mlflow_server
from tests.support.servers.ports import is_listening
from tests.support.servers.postgres import postgres


@pytest.fixture
def server(tmp_path):
    with postgres() as database, mlflow_server(tmp_path, store=database.url) as server:
        yield server


def test_what_it_took_outlives_it(server):
    client = MlflowClient(server.uri)
    run = client.create_run(client.create_experiment("kept"), run_name="kept")
    client.log_metric(run.info.run_id, "loss", 0.5, step=3)
    server.kill()
    assert not is_listening(server.port)
    server.start()
    (point,) = MlflowClient(server.uri).get_metric_history(run.info.run_id, "loss")
    assert (point.step, point.value) == (3, 0.5)
