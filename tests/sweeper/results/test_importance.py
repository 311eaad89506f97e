"""Importance: finds the parameter that matters, and says so where it cannot know."""

from dataclasses import replace

import pytest

from sweeper.model import Study, StudyFacts, Trial, TrialKind, TrialState
from sweeper.render.page.sections import explained
from sweeper.results import importance
from sweeper.results.importance import Importances, importances
from sweeper.results.schema import StudyResult
from tests.support.ledgers import RECORD, RESOLVED, TASK, tuned_study

STUDY = Study(name="nft/t", method="nft", task="t", objective="val/nrmse", seed=0)


def study(value) -> StudyResult:
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
    return StudyResult(record=RECORD, study=STUDY, facts=StudyFacts(), trials=trials)


def test_the_parameter_that_makes_the_difference_gets_the_share():
    found = importances(study(lambda i, j: abs(i - 4) + 0.01 * j), {})
    assert found.shares["refine.lr"] > 0.9
    assert sum(found.shares.values()) == pytest.approx(1, abs=0.05)
    assert found.left_out == ()


def test_what_only_two_parameters_together_explain_is_no_share_of_either():
    table = study(lambda i, j: float((i < 4) == (j < 4)))
    evenly = tuple(
        replace(t, params={**t.params, "refine.lr": t.number // 8 / 8}) for t in table.trials
    )
    assert sum(importances(replace(table, trials=evenly), {}).shares.values()) < 0.2


def test_a_parameter_that_not_every_trial_has_is_named_as_left_out():
    table = study(lambda i, j: i + j)
    trials = tuple(replace(t, sampled=t.sampled[: 1 + t.number % 2]) for t in table.trials)
    found = importances(replace(table, trials=trials), {})
    assert list(found.shares) == ["refine.lr"]
    assert found.left_out == ("refine.decay",)
    assert explained(found).endswith("Left out, since not every trial has them: refine.decay.")


def test_what_is_left_to_all_of_the_variance_is_said():
    found = Importances({"refine.lr": 0.5, "meta.alpha": 0.125, "meta.epochs": 0.125}, (), 9, 9)
    assert explained(found) == (
        "Importance by stage: refine 50 % and meta 25 % of the variance. Single parameters explain "
        "75 % of it; the rest is their interactions, or noise."
    )


def test_the_same_trials_give_the_same_shares():
    table = study(lambda i, j: i * j)
    assert importances(table, {}) == importances(table, {})


def test_with_too_few_trials_it_says_so(ledger):
    told = importances(tuned_study(ledger, f"mona/{TASK}"), RESOLVED["parameters"])
    assert told == "1 sampled trial is complete; below 8, an importance would be a guess."


def test_where_nothing_made_a_difference_it_says_so():
    assert "no parameter made a difference" in importances(study(lambda i, j: 0.5), {})


def test_where_no_parameter_is_in_every_trial_it_says_so():
    table = study(lambda i, j: i + j)
    halves = tuple(replace(t, sampled=(t.sampled[t.number % 2],)) for t in table.trials)
    told = importances(replace(table, trials=halves), {})
    assert told == "No parameter was sampled in every trial."


def test_of_many_trials_some_are_drawn_and_the_text_says_so():
    table = study(lambda i, j: abs(i - 4) + 0.01 * j)
    used = importance.drawn(table.trials, 30)
    assert used == importance.drawn(table.trials, 30)
    numbers = [trial.number for trial in used]
    assert len(set(numbers)) == 30
    assert numbers == sorted(numbers)
    assert len({number % 8 for number in numbers}) == 8  # every value of either parameter
    assert len({number // 8 for number in numbers}) == 8
    found = importances(table, {}, 30)
    assert found.shares["refine.lr"] > 0.8
    assert explained(found).endswith("From 30 of 64 complete trials.")
