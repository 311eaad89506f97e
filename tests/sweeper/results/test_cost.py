"""Cost: every second of every trial is counted once, and told what it went on."""

import pytest

from sweeper.results.entries import cost_of
from sweeper.results.read import read_studies
from tests.support.compared_ledgers import Scores, write
from tests.support.ledgers import TASK


def test_search_and_replicates_are_told_apart(tmp_path):
    scores = Scores(
        method="pare", task=TASK, best=[0.2] * 3, control=[0.5] * 2, num_trials=4, epochs=5,
        seconds=2.0,
    )  # fmt: skip
    (found,) = read_studies([write(tmp_path, "s", [scores], resources={"gpu": 0.5, "cpu": 4})])
    cost = cost_of(found)
    assert (cost.device, cost.trials, cost.epochs) == ("gpu", 9, 45)
    assert cost.searched == pytest.approx(0.5 * 4 * 10)
    assert cost.repeated == pytest.approx(0.5 * 5 * 10)
    assert cost.total == pytest.approx(0.5 * 90)
    assert cost.epoch_seconds == 2.0
    assert cost.peak_memory_bytes is None


@pytest.mark.slow
def test_what_led_nowhere_is_a_part_of_the_whole(large_ledger):
    for tuned in read_studies([large_ledger]):
        cost = cost_of(tuned)
        spent = sum(trial.seconds for trial in tuned.trials)
        assert cost.total == pytest.approx(spent)
        assert 0 < cost.pruned + cost.failed < cost.total
