"""Curves: every epoch once, and a best that never rises."""

from sweeper.render.page.figures import best_so_far, learning_curves
from tests.support.ledgers import TASK, tuned_study


def test_a_curve_holds_each_epoch_once_though_one_was_run_again(ledger):
    curves = {c.trial.number: c for c in learning_curves(tuned_study(ledger, f"nft/{TASK}"))}
    assert curves[2].epochs == (1, 2, 3, 4, 5, 6)
    assert len(ledger.events()) > 0
    assert curves[3].epochs == (1, 2)


def test_stages_without_the_objective_are_no_part_of_a_curve(ledger):
    for curve in learning_curves(tuned_study(ledger, f"mona/{TASK}")):
        assert set(curve.stages) == {"refine"}


def test_a_curve_is_what_was_measured(ledger):
    for curve in learning_curves(tuned_study(ledger, f"mona/{TASK}")):
        assert min(curve.values) == curve.trial.value


def test_best_so_far_never_rises_and_leaves_the_control_out(large_ledger):
    trials = large_ledger.trials(f"mona/{TASK}")
    numbers, lowest = best_so_far(trials)
    assert lowest == sorted(lowest, reverse=True)
    assert 1 not in numbers
    assert lowest[-1] == min(t.value for t in trials if t.state == "complete" and t.number != 1)
