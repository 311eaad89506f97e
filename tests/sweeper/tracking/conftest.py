"""One MLflow server for the session, and a finished sweep to be shipped."""

from collections.abc import Iterator

import pytest

from tests.support.ledgers import finished_ledger
from tests.support.servers.mlflow_server import Server, recorder, snapshot, without_ids


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


@pytest.fixture
def ledger(tmp_path):
    ledger = finished_ledger(tmp_path)
    yield ledger
    ledger.close()


@pytest.fixture
def expected(ledger, new_store):
    """Return the content of MLflow after an undisturbed sync."""
    uri = new_store()
    assert recorder(ledger, uri).sync().pending == 0
    return without_ids(snapshot(uri))
