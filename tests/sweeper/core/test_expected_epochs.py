"""How far trials get: our closed form against Optuna's pruner on random curves, and its limits."""

import random
from statistics import fmean, stdev

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.pruners import SuccessiveHalvingPruner

from sweeper.core.expected_epochs import Estimate, epochs_under_halving, rungs

optuna.logging.set_verbosity(optuna.logging.ERROR)


def simulated(trials: int, epochs: int, *, min_epochs: int, eta: int, seed: int, noise: float):
    """The epochs that Optuna lets trials train: a value is the trial's worth, and chance."""
    rng = random.Random(seed)
    pruner = SuccessiveHalvingPruner(min_resource=min_epochs, reduction_factor=eta)
    study = optuna.create_study(direction="minimize", pruner=pruner)
    spent = 0
    for _ in range(trials):
        trial, worth = study.ask(), rng.random()
        for epoch in range(1, epochs + 1):
            spent += 1
            trial.report(worth + noise * rng.random(), epoch)
            if epoch < epochs and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, worth)
    return spent


@pytest.mark.parametrize(("trials", "epochs", "start", "eta"), [(6, 6, 2, 2), (30, 20, 2, 3)])
def test_epochs_are_those_that_optunas_pruner_allows(trials, epochs, start, eta):
    settings = {"min_epochs": start, "eta": eta}
    found = [simulated(trials, epochs, **settings, seed=seed, noise=0.0) for seed in range(80)]
    steps = rungs("asha", epochs=epochs, **settings)
    told = epochs_under_halving(trials, epochs, steps, eta=eta)
    error = stdev(found) / len(found) ** 0.5
    assert fmean(found) == pytest.approx(told.expected, abs=3 * error)
    assert (told.high - told.expected) / 2 == pytest.approx(stdev(found), rel=0.3)
    assert fmean(told.low <= spent <= told.high for spent in found) >= 0.9


def test_curves_that_cross_let_fewer_trials_go_on():
    settings = {"min_epochs": 2, "eta": 3}
    found = [simulated(30, 20, **settings, seed=seed, noise=1e6) for seed in range(80)]
    told = epochs_under_halving(30, 20, rungs("asha", epochs=20, **settings), eta=3)
    assert 0.8 * told.expected < fmean(found) < told.expected
    assert fmean(told.low <= spent <= told.high for spent in found) >= 0.9


def test_a_share_of_one_in_eta_goes_on_where_many_arrive():
    shares = 3 + 6 / 3 + 18 / 9 + 33 / 27
    told = epochs_under_halving(30_000, 60, (3, 9, 27), eta=3)
    assert told.expected == pytest.approx(30_000 * shares, rel=0.02)
    assert told.high - told.low < 0.05 * told.expected


def test_while_few_arrive_more_go_on():
    two = epochs_under_halving(2, 10, (1,), eta=3)
    assert two.expected == pytest.approx(1 + 9 + 1 + 9 / 2)  # the first, and half of the second
    four = epochs_under_halving(4, 10, (1,), eta=2)
    assert four.expected == pytest.approx(4 + 9 * (1 + 1 / 2 + 1 / 3 + 2 / 4))


@given(st.integers(0, 60), st.integers(1, 40), st.integers(1, 10), st.integers(2, 5))
def test_an_estimate_lies_between_the_fewest_and_all(trials, epochs, start, eta):
    steps = rungs("asha", min_epochs=start, eta=eta, epochs=epochs)
    told = epochs_under_halving(trials, epochs, steps, eta=eta)
    fewest = trials * min(start, epochs)
    assert fewest <= told.low <= told.expected <= told.high <= trials * epochs
    if not steps or trials <= 1:
        assert told == Estimate(trials * epochs, trials * epochs, trials * epochs)


def test_rungs_are_where_each_rule_judges():
    assert rungs("none", min_epochs=2, eta=3, epochs=9) == ()
    assert rungs("median", min_epochs=7, eta=3, epochs=9) == (7, 8)
    assert rungs("asha", min_epochs=2, eta=3, epochs=19) == (2, 6, 18)
    assert rungs("asha", min_epochs=2, eta=3, epochs=18) == (2, 6)
