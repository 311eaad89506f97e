"""How a ledger's database is connected to, and what is shown of its URL."""

import socket
import sqlite3
import time
from contextlib import closing

import pytest
from sqlalchemy import make_url

from sweeper.errors import BackendUnreachable, SweeperError
from sweeper.ledger import Ledger, database
from sweeper.model import Study
from tests.support.servers.ports import free_port
from tests.support.servers.postgres import postgres


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "FIRST_PATIENCE_S", 0.1)
    monkeypatch.setitem(database.NOTICE, "connect_timeout", 2)


@pytest.mark.slow
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
    assert database.driver_options(make_url(url)).keys() == database.NOTICE.keys() - without


@pytest.mark.parametrize("option", ["password", "sslpassword"])
def test_no_option_that_is_a_secret_is_shown(option: str) -> None:
    url = f"postgresql+psycopg://me@127.0.0.1:{free_port()}/x?{option}=hunter2"
    with pytest.raises(BackendUnreachable) as caught:
        Ledger(url, "sweep")
    assert f"/x?{option}=***" in str(caught.value)


@pytest.mark.parametrize(("on_network", "journal"), [(False, "wal"), (True, "delete")])
def test_a_file_that_other_machines_can_open_has_a_rollback_journal(
    tmp_path, monkeypatch, on_network, journal
) -> None:
    monkeypatch.setattr(database, "is_on_network", lambda path: on_network)
    file = tmp_path / "ledger.db"
    with closing(Ledger(f"sqlite:///{file}", "sweep")), closing(sqlite3.connect(file)) as other:
        assert other.execute("pragma journal_mode").fetchone() == (journal,)
        assert (tmp_path / "ledger.db-shm").exists() is not on_network


def test_a_file_whose_address_has_options_is_written_like_any_other(tmp_path) -> None:
    file = tmp_path / "ledger.db"
    url = f"sqlite:///{file}?timeout=5"
    with closing(Ledger(url, "sweep")), closing(sqlite3.connect(file)) as other:
        assert other.execute("pragma journal_mode").fetchone() == ("wal",)


def test_a_moved_ledger_gets_the_journal_of_its_new_place(tmp_path, monkeypatch) -> None:
    file = tmp_path / "ledger.db"
    for on_network, journal in ((False, "wal"), (True, "delete"), (False, "wal")):
        monkeypatch.setattr(database, "is_on_network", lambda path, there=on_network: there)
        Ledger(f"sqlite:///{file}", "sweep").close()
        with closing(sqlite3.connect(file)) as other:
            assert other.execute("pragma journal_mode").fetchone() == (journal,)


@pytest.fixture(scope="module")
def server():
    with postgres() as server:
        yield server


def test_a_ledger_in_postgres_takes_all_that_one_in_sqlite_takes(server) -> None:
    """A recorder's notes are longer than 300 characters, a seed has up to 32 bits."""
    study = Study(name="nft/t", method="nft", task="t", objective="val/nrmse", seed=2**32 - 1)
    note = {"tally/nft/t": "x" * 5000}
    with closing(Ledger(server.create("long"), "sweep")) as ledger:
        ledger.add_study(study)
        ledger.note_mirror("mlflow", note)
        assert (ledger.studies(), ledger.mirror("mlflow")) == ((study,), note)


def test_a_value_that_postgres_refuses_is_told_as_that(server) -> None:
    too_long = Study(name="x" * 300, method="nft", task="t", objective="val/nrmse", seed=0)
    with closing(Ledger(server.create("strict"), "sweep")) as ledger:
        with pytest.raises(SweeperError, match=r"does not take a record: .*too long") as caught:
            ledger.add_study(too_long)
        assert type(caught.value) is SweeperError
        assert ledger.studies() == ()


@pytest.mark.parametrize("name", ["C# code", "why?", "50%41", "über all"])
def test_a_folder_whose_name_has_signs_of_urls_holds_its_own_ledger(tmp_path, name) -> None:
    with closing(Ledger.in_folder(tmp_path / name)) as ledger:
        ledger.note("x")
    with closing(Ledger.in_folder(tmp_path / name)) as again:
        assert [each.payload["text"] for each in again.events()] == ["x"]
    assert (tmp_path / name / database.LEDGER).is_file()
    assert [each.name for each in tmp_path.iterdir()] == [name]
