"""The follower of a ledger: it has what the rows have, whenever it reads, and as a launch shows it.

Nothing is trained. The driver of these sweeps is this process, which holds the lease.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sweeper.driver.follower import Follower, time_after
from sweeper.ledger import Ledger
from sweeper.model import Outcome, TrialState
from tests.support.ledgers import EPOCHS, START, new_ledger, script
from tests.support.trials import begin, measured, sampled

STUDY = "nft/pdebench/advection_1d"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(new_ledger(tmp_path)) as ledger, ledger.hold():
        yield ledger


def follower(ledger: Ledger) -> Follower:
    """Return a follower whose clock is that of the ledger."""
    return Follower(ledger, clock=lambda: START)


def counts(ledger: Ledger) -> str:
    return ", ".join(f"{n} {state}" for state, n in ledger.count_states().items() if n)


def row(following: Follower, trial: str) -> dict[str, str]:
    table = following.table()
    at = table["trial"].index(trial)
    return {name: cells[at] for name, cells in table.items()}


def test_after_each_write_it_has_what_the_rows_have(ledger, tmp_path):
    following = follower(ledger)
    for _ in script(ledger, tmp_path):
        following.read()
        assert following.lines()[1] == counts(ledger)
    assert not following.read()


def test_it_has_the_same_however_often_it_reads(ledger, tmp_path):
    often = follower(ledger)
    writes = script(ledger, tmp_path)
    for _, _ in zip(range(60), writes, strict=False):
        often.read()
    once = follower(ledger)
    once.read()
    assert once.table() == often.table()
    assert once.lines()[:2] == often.lines()[:2]


def test_an_epoch_a_failure_and_the_floor_are_shown(ledger, tmp_path):
    following, epochs = follower(ledger), set()
    for _ in script(ledger, tmp_path):
        following.read()
        epochs |= set(following.table()["epoch"])
    assert {f"refine {epoch}/{EPOCHS}" for epoch in range(1, EPOCHS + 1)} <= epochs
    failed = row(following, f"{STUDY}/4")
    assert (failed["state"], failed["reason"]) == ("failed", "the loss is <nan> at refine epoch 4")
    assert "floor 0.4 (persistence)" in following.lines()[0]


def test_it_follows_a_pause_and_a_promotion_and_says_time_and_price(ledger):
    ledger.start({}, slots=2, prediction={
        name: {"low": 1.0, "expected": 2.0, "high": 3.0}
        for name in ("trial_hours", "epochs", "wall_hours")
    })  # fmt: skip
    following = follower(ledger)
    attempt = begin(ledger, sampled(STUDY, 0))
    paused = Outcome(state=TrialState.PAUSED)
    ledger.measure(STUDY, 0, attempt, measured(1, 0.5), paused)
    begin(ledger, sampled(STUDY, 1))
    following.read()
    assert following.lines()[1] == "1 running, 1 paused"
    assert row(following, f"{STUDY}/0")["state"] == "paused"
    state, _, price = following.lines()
    assert "running: 1 of " in state
    assert "to go" in state
    assert price.endswith("to go, predicted 1 to 3")
    ledger.start_attempt(STUDY, 0)
    assert following.read()
    assert following.lines()[1] == "2 running"
    assert row(following, f"{STUDY}/0")["state"] == "running"


def test_a_sweep_without_a_driver_has_crashed_and_one_that_goes_on_counts_anew(tmp_path):
    with closing(new_ledger(tmp_path)) as ledger:
        with ledger.hold():
            ledger.start({})
            begin(ledger, sampled(STUDY, 0))
        following = follower(ledger)
        following.read()
        assert following.is_over
        assert following.lines()[0].startswith("crashed: 0 of ")
        assert "to go" not in " ".join(following.lines())
        with ledger.hold():
            ledger.end("interrupted")
            ledger.start({})
            following.read()
            assert not following.is_over
            assert following.lines()[1] == "1 interrupted"


def test_a_work_rests_so_long_that_it_takes_its_share(monkeypatch):
    monkeypatch.setattr("time.thread_time", lambda: 12.0)
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    assert time_after(10.0, 0.01) == 300.0
