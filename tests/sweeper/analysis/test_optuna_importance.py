"""Importance: finds the parameter that matters, and says so where it cannot know."""

from dataclasses import replace

from sweeper.analysis.optuna_importance import importances
from sweeper.analysis.table import StudyTable, read_study
from sweeper.study import Study, Trial, TrialKind, TrialState
from tests.ledgers import RESOLVED, TASK

STUDY = Study(name="nft/t", method="nft", task="t", objective="val/nrmse", seed=0)


def study(value) -> StudyTable:
    """A grid over two parameters, with these values."""
    trials = tuple(
        Trial(
            study=STUDY.name, number=8 * i + j, kind=TrialKind.SAMPLED, seed=0,
            params={"refine.lr": 10.0**-i, "refine.decay": j / 8},
            sampled=("refine.lr", "refine.decay"), state=TrialState.COMPLETE, value=value(i, j),
        )
        for i in range(8)
        for j in range(8)
    )  # fmt: skip
    return StudyTable(study=STUDY, facts={}, trials=trials)


def test_the_parameter_that_makes_the_difference_gets_the_share():
    shares = importances(study(lambda i, j: abs(i - 4) + 0.01 * j), {})
    assert shares["refine.lr"] > 0.9
    assert abs(sum(shares.values()) - 1) < 1e-6


def test_the_same_trials_give_the_same_shares():
    table = study(lambda i, j: i * j)
    assert importances(table, {}) == importances(table, {})


def test_with_too_few_trials_it_says_so(ledger):
    told = importances(read_study(ledger, f"mona/{TASK}"), RESOLVED["parameters"])
    assert told == "1 sampled trial is complete; below 8, an importance would be a guess."


def test_where_nothing_made_a_difference_it_says_so():
    assert "no parameter made a difference" in importances(study(lambda i, j: 0.5), {})


def test_where_no_parameter_is_in_every_trial_it_says_so():
    table = study(lambda i, j: i + j)
    halves = tuple(replace(t, sampled=(t.sampled[t.number % 2],)) for t in table.trials)
    told = importances(replace(table, trials=halves), {})
    assert told == "No parameter was sampled in every trial."
