"""PostgreSQL keeps what was committed, loses connections when told to, and leaves nothing."""

from contextlib import ExitStack, closing

import psutil
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from sweeper.errors import SweeperError
from sweeper.ledger import Ledger
from sweeper.model import Study
from tests.support.servers.postgres import postgres
from tests.support.servers.process import is_running


@pytest.fixture(scope="module")
def server():
    with postgres() as server:
        yield server


@pytest.fixture
def connect():
    """Open connections, and close them whatever became of them."""
    with ExitStack() as stack:

        def open_one(url: str):
            engine = create_engine(url)
            stack.callback(engine.dispose)
            return stack.enter_context(engine.connect())

        yield open_one


def test_what_was_committed_outlives_a_crash(server, connect):
    connection = connect(server.url)
    connection.execute(text("CREATE TABLE kept (n integer)"))
    connection.execute(text("INSERT INTO kept VALUES (7)"))
    connection.commit()
    connection.execute(text("INSERT INTO kept VALUES (8)"))
    server.stop("immediate")
    with pytest.raises(OperationalError):
        connection.commit()
    with pytest.raises(OperationalError, match="refused"):
        connect(server.url)
    server.start()
    assert connect(server.url).scalars(text("SELECT n FROM kept")).all() == [7]


def test_databases_are_apart(server, connect):
    other = connect(server.create("other"))
    other.execute(text("CREATE TABLE only_here (n integer)"))
    other.commit()
    with pytest.raises(ProgrammingError, match="only_here"):
        connect(server.url).execute(text("SELECT * FROM only_here"))


def test_nothing_is_left():
    with postgres() as server:
        processes = of_port(server.port)
        assert len(processes) == 1
        children = processes[0].children(recursive=True)
        assert children
    assert not any(map(is_running, (*processes, *children)))


def of_port(port: int) -> list[psutil.Process]:
    """The processes that were started for this port."""
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if f"--port={port}" in (process.info["cmdline"] or [])]


def test_a_ledger_takes_all_that_one_in_sqlite_takes(server):
    """A recorder's notes are longer than 300 characters, a seed has up to 32 bits."""
    study = Study(name="nft/t", method="nft", task="t", objective="val/nrmse", seed=2**32 - 1)
    note = {"tally/nft/t": "x" * 5000}
    with closing(Ledger(server.create("long"), "sweep")) as ledger:
        ledger.add_study(study)
        ledger.note_mirror("mlflow", note)
        assert (ledger.studies(), ledger.mirror("mlflow")) == ((study,), note)


def test_a_value_that_it_refuses_is_told_as_that(server):
    too_long = Study(name="x" * 300, method="nft", task="t", objective="val/nrmse", seed=0)
    with closing(Ledger(server.create("strict"), "sweep")) as ledger:
        with pytest.raises(SweeperError, match=r"does not take a record: .*too long") as caught:
            ledger.add_study(too_long)
        assert type(caught.value) is SweeperError
        assert ledger.studies() == ()
