"""Histories: what a trial took, whatever attempts it needed."""

from sweeper.results import read
from sweeper.results.read import read_histories
from tests.support.ledgers import EPOCHS, TASK


def test_epochs_that_an_attempt_ran_again_cost_but_are_shown_once(ledger):
    found = read_histories(ledger)[f"nft/{TASK}", 2]  # its first attempt dies after 3 epochs
    assert [m.epoch for m in found.measurements] == list(range(1, EPOCHS + 1))
    assert found.measurements == ledger.measurements(f"nft/{TASK}", 2)
    assert found.epochs == EPOCHS + 1
    assert found.seconds == 2.0 * 3 + 2.0 * EPOCHS


def test_stages_without_the_objective_count_as_epochs_and_give_no_objective(ledger):
    found = read_histories(ledger)[f"mona/{TASK}", 0]
    assert found.epochs == 2 + EPOCHS
    assert len(found.objectives) == EPOCHS
    assert found.metrics["meta/outer_loss"] == 0.5


def test_trials_are_ordered_by_when_they_ended(ledger):
    found = read_histories(ledger)
    assert sorted(found, key=lambda key: found[key].ended) == [
        (f"{method}/{TASK}", number) for method in ("mona", "nft") for number in range(5)
    ]


def test_events_come_in_pages(ledger, monkeypatch):
    whole = read_histories(ledger)
    monkeypatch.setattr(read, "PAGE", 7)
    assert read_histories(ledger) == whole
