"""How a ledger's database is connected to, and what is shown of its URL."""

import socket
import time

import pytest
from sqlalchemy import make_url

from sweeper.errors import BackendUnreachable
from sweeper.ledger import Ledger, database
from tests.support.servers.ports import free_port


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "FIRST_PATIENCE_S", 0.1)
    monkeypatch.setitem(database.NOTICE, "connect_timeout", 2)


def test_a_server_that_takes_connections_and_never_answers_is_noticed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.monotonic()
        with pytest.raises(BackendUnreachable, match="does not answer"):
            Ledger(f"postgresql+psycopg://me@127.0.0.1:{mute.getsockname()[1]}/x", "sweep")
        assert time.monotonic() - began < 6


@pytest.mark.parametrize(
    ("url", "without"),
    [
        ("postgresql+psycopg://me@db/x", set()),
        ("postgresql+psycopg://me@db/x?connect_timeout=60", {"connect_timeout"}),
        ("postgresql+pg8000://me@db/x", set(database.NOTICE)),
        ("sqlite:////ledger.db", set(database.NOTICE)),
    ],
)
def test_what_a_url_says_of_timeouts_holds(url: str, without: set[str]) -> None:
    assert database._options(make_url(url)).keys() == database.NOTICE.keys() - without


@pytest.mark.parametrize("option", ["password", "sslpassword"])
def test_no_option_that_is_a_secret_is_shown(option: str) -> None:
    url = f"postgresql+psycopg://me@127.0.0.1:{free_port()}/x?{option}=hunter2"
    with pytest.raises(BackendUnreachable) as caught:
        Ledger(url, "sweep")
    assert f"/x?{option}=***" in str(caught.value)
