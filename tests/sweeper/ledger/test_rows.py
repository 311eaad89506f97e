"""Checksums of rows: a flipped bit anywhere in a ledger's file is damage, or changes nothing."""

import random
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from sweeper.errors import UsageError
from sweeper.ledger import Ledger
from sweeper.ledger.database import LEDGER
from sweeper.model import Trial, TrialKind
from sweeper.planning.sweep_folder import started
from tests.support.ledgers import NAME, finished_ledger
from tests.support.servers.postgres import postgres
from tests.support.trials import measured

HEADER = 100  # bytes of SQLite's header


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep with rows in each table."""
    folder = tmp_path_factory.mktemp("x") / NAME
    folder.mkdir()
    with closing(finished_ledger(folder)) as ledger:
        ledger.set_tags({"paper": "one"})
        ledger.remark("the second try")
        ledger.note_mirror("mlflow", {"cursor": "9"})
    return folder


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / NAME))


def all_of(folder: Path) -> tuple[object, ...]:
    """Return all that a ledger has to say of its sweep."""
    with started(folder) as (ledger, record):
        studies = ledger.studies()
        return (
            record, studies, ledger.trials(), ledger.events(), ledger.tags(), ledger.remarks(),
            ledger.mirror("mlflow"), ledger.timeline(), ledger.count_states(), ledger.holder(),
            [ledger.facts(study.name) for study in studies],
            [ledger.all_measurements(study.name) for study in studies],
            [ledger.use_of_attempts(study.name) for study in studies],
            [ledger.order_of_ends(study.name) for study in studies],
        )  # fmt: skip


def check_flips(folder: Path, seed: int, *, count: int, until: int | None = None) -> None:
    """Flip bits of a ledger's file, one at a time, and check that each is found or harmless."""
    rng, before, file = random.Random(seed), all_of(folder), folder / LEDGER
    whole, found = file.read_bytes(), 0
    try:
        for _ in range(count):
            place, bit = rng.randrange(until or len(whole)), rng.randrange(8)
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            file.write_bytes(flipped)
            try:
                assert all_of(folder) == before, f"bit {bit} of byte {place}"
            except UsageError:
                found += 1
    finally:
        file.write_bytes(whole)
    assert found > count / 10


@pytest.mark.slow
def test_a_flipped_bit_is_never_a_result(folder):
    check_flips(folder, 0, count=30)
    check_flips(folder, 1, count=10, until=HEADER)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_many_flipped_bits_are_never_results(folder, seed):
    check_flips(folder, seed, count=1000)
    check_flips(folder, seed, count=100, until=HEADER)


def execute(url: str, statement: str) -> None:
    """Change a ledger behind its back."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


CHANGES = [  # of one row of each table, as a flipped bit would make them
    "update sweeps set state = 'finishee'",
    "update studies set seed = seed + 1 where position = 1",
    "update trials set value = value * 2 where number = 2",
    "update events set kind = 'measure`' where seq = 9",
    "update mirrors set ref = '8' where entity = 'cursor'",
    "update labels set value = 'onE'",
    "update remarks set by = 'you'",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_row_that_differs_from_its_checksum_is_damaged(copied, change):
    with closing(Ledger.in_folder(copied)) as ledger:
        ledger.check()
        execute(ledger.url, change)
        table = change.split()[1]
        told = rf"is damaged \(a row of `{table}` does not match its checksum\)\. Restore it from"
        with pytest.raises(UsageError, match=told):
            ledger.check()
        if table == "events":
            ledger.check(max_events=5)


def test_what_follows_a_json_that_cannot_be_read_is_told_at_once(copied):
    with closing(Ledger.in_folder(copied)) as ledger:
        execute(ledger.url, "update trials set params = '{' where number = 1")
        with pytest.raises(UsageError, match="is damaged"):
            ledger.trials()
        execute(ledger.url, "update trials set params = cast(x'22ff22' as text) where number = 1")
        with pytest.raises(UsageError, match=r"is damaged .*UTF-8"):
            ledger.trials()


def test_a_table_that_a_begun_ledger_lacks_is_not_made_anew(copied):
    execute(f"sqlite:///{copied / LEDGER}", "alter table events rename to evenus")
    with pytest.raises(UsageError, match=r"is damaged \(no such table: events\)"):
        all_of(copied)


@pytest.mark.slow
def test_postgres_has_the_same_checksums():
    with postgres() as server, closing(Ledger(server.url, "sweep")) as ledger:
        ledger.start({"host": "nöde", "load": [1.5, float("nan"), 1e-300]})
        params = {"refine.lr": 1e-4, "refine.optimizer": "ädam"}
        trial = Trial(study="nft/t", number=0, kind=TrialKind.SAMPLED, params=params, seed=2**62)
        ledger.add_trial(trial)
        attempt = ledger.start_attempt("nft/t", 0)
        step = measured(1, 0.1, num_epochs=2, metrics={"x": float("inf")})
        ledger.measure("nft/t", 0, attempt, step)
        ledger.set_tags({"a": "b"})
        ledger.check()
        execute(server.url, "update trials set params = '{}' where number = 0")
        with pytest.raises(UsageError, match="a row of `trials` does not match"):
            ledger.check()
        with closing(Ledger(server.url, "another")) as other:
            other.check()
