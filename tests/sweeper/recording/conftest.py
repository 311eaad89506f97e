"""One MLflow server for the session, empty SQLite stores, and a finished sweep to be shipped."""

import itertools
import shutil
from collections.abc import Iterator

import pytest
from mlflow import MlflowClient

from sweeper.recording.mlflow_recorder import MlflowRecorder
from tests.ledgers import finished_ledger
from tests.mlflow_server import Server, snapshot, without_ids


@pytest.fixture(scope="session")
def server_process(tmp_path_factory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("mlflow"))
    yield server
    server.kill()


@pytest.fixture
def server(server_process) -> Server:
    """A running server. Each test takes an experiment of its own."""
    server_process.start()
    return server_process


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """An SQLite store that MLflow has set up, to be copied: setting one up takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def new_store(empty_store, tmp_path):
    """Makes the URI of another empty SQLite store."""
    numbers = itertools.count()

    def make() -> str:
        folder = tmp_path / f"store-{next(numbers)}"
        folder.mkdir()
        shutil.copy(empty_store, folder / "mlflow.db")
        return f"sqlite:///{folder / 'mlflow.db'}"

    return make


@pytest.fixture
def ledger(tmp_path):
    ledger = finished_ledger(tmp_path)
    yield ledger
    ledger.close()


@pytest.fixture
def expected(ledger, new_store):
    """What MLflow holds after an undisturbed sync."""
    uri = new_store()
    assert MlflowRecorder(ledger, uri=uri, experiment="pdebench").sync().pending == 0
    return without_ids(snapshot(uri))
