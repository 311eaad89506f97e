"""Objectives and constraints of a search: judged once, never the best, and the same on resume."""

from pathlib import Path
from typing import Any

import pytest

from sweeper.core.budget import Spending, StudyBudget
from sweeper.core.promotion import PromotionRule
from sweeper.core.ranking import best, ranked
from sweeper.core.replication import Replication
from sweeper.core.runner import SweepRunner
from sweeper.ledger import Ledger
from sweeper.model import CONSTRAINT, Trial, TrialKind, TrialState
from sweeper.spec.distributions import Float, Int
from sweeper.spec.goals import Goals, read_constraint
from tests.support.fakes import STUDY, new_ledger, plan
from tests.support.goals import EPOCHS, run, study_of, write
from tests.support.searches import search_of

NAME = study_of("nft").name
SPACE = {"refine.lr": Float(low=0.0, high=1.0), "refine.width": Int(low=1, high=20)}
SMALL = read_constraint("parameters", "<= 12")
GOALS = {
    "constrained": Goals(objectives=("val/nrmse",), constraints=(SMALL,)),
    "several": Goals(objectives=("val/nrmse", "seconds")),
    "both": Goals(objectives=("val/nrmse", "seconds"), constraints=(SMALL,)),
}
SLOW = {"gp": pytest.mark.slow}  # it fits Gaussian processes
PRESET = ((TrialKind.PRESET, {"refine.lr": 0.9, "refine.width": 2}),)


def make_runner(
    ledger: Ledger, goals: Goals, *, draw: str = "tpe", trials: int = 10, pruning: str = "none"
) -> SweepRunner:
    sampler = search_of(SPACE, draw, pruning, seed=3, goals=goals)
    rule = PromotionRule(rungs=(1, 2), eta=2) if pruning == "promote" else None
    made = plan(sampler, num_trials=trials, leading=PRESET, complete=dict, goals=goals,
                promotion=rule, budget=StudyBudget(devices=2.0))  # fmt: skip
    return SweepRunner([made], ledger)


def results(ledger: Ledger) -> list[Trial]:
    return [Trial(**{**vars(t), "attempt": 0, "uncounted": 0}) for t in ledger.trials()]


def fixed(folder: Path, widths: list[int], **options: Any) -> Ledger:
    """Run trials of these widths with at most 12 parameters, and return their ledger."""
    return write(folder / "s", {"nft": widths}, {"constraints": {"parameters": "<= 12"}}, **options)


def test_an_infeasible_trial_is_complete_and_never_the_best(tmp_path):
    ledger = fixed(tmp_path, [20, 5, 13, 12])
    trials = ledger.trials()
    assert {t.state for t in trials} == {TrialState.COMPLETE}
    assert [t.is_feasible for t in trials] == [False, True, False, True]
    assert trials[0].failure == CONSTRAINT
    assert trials[0].reason == "parameters is 20, not <= 12"
    assert [t.number for t in ranked(trials)] == [3, 1]
    assert ledger.quantities(NAME)[0]["parameters"] == 20


def test_without_a_feasible_trial_there_is_no_best_and_nothing_is_repeated(tmp_path):
    repeats = Replication(top=1, seeds=(1, 2))
    ledger = fixed(tmp_path, [20, 13], replication=repeats)
    assert best(ledger.trials()) is None
    assert len(ledger.trials()) == 2


def test_the_best_feasible_trial_is_repeated_and_its_replicates_are_not_judged_again(tmp_path):
    repeats = Replication(top=1, seeds=(1, 2))
    ledger = fixed(tmp_path, [20, 5, 12], replication=repeats)
    again = [t for t in ledger.trials() if t.kind is TrialKind.REPLICATE]
    assert [t.origin for t in again] == [2, 2]
    assert set(ledger.quantities(NAME)) == {0, 1, 2}


def test_an_infeasible_trial_does_not_improve_a_search(tmp_path):
    budget = StudyBudget(no_improvement=2)
    ledger = fixed(tmp_path, [5, 20, 20, 9, 9], budget=budget)
    assert len(ledger.trials()) == 3
    assert Spending.read(budget, ledger, NAME, ledger.trials()).reason == (
        "2 trials in a row have not improved the best, 2 of them infeasible "
        "(`budget.no_improvement: 2`)"
    )


def test_the_reason_of_an_end_counts_infeasible_trials_since_the_best_alone(tmp_path):
    budget = StudyBudget(no_improvement=3)
    ledger = fixed(tmp_path, [20, 5, 4, 20, 3, 9], budget=budget)  # the wider, the better
    assert len(ledger.trials()) == 5
    reason = Spending.read(budget, ledger, NAME, ledger.trials()).reason
    assert reason is not None
    assert "3 trials in a row have not improved the best, 1 of them infeasible (" in reason


@pytest.mark.parametrize(
    ("widths", "budget"),
    [([20, 19, 18, 17, 5, 6, 7, 8], StudyBudget()), ([20, 5, 6, 7], StudyBudget(epochs=5))],
    ids=["whole", "spent"],
)
def test_a_search_that_pauses_goes_on_until_a_trial_keeps_the_constraints(tmp_path, widths, budget):
    rule = PromotionRule(rungs=(1, 2), eta=2)
    ledger = fixed(tmp_path, widths, promotion=rule, budget=budget)  # the wider, the better
    assert best(ledger.trials()) is not None


def test_quantities_are_costs_so_far_and_values_of_the_best_epoch(tmp_path):
    names = ("val/nrmse", "val/loss", "seconds", "device_seconds", "peak_memory", "parameters",
             "epochs")  # fmt: skip
    search = {"objectives": list(names)}
    ledger = write(tmp_path / "s", {"nft": [5]}, search, budget=StudyBudget(devices=4))
    assert ledger.quantities(NAME)[0] == {
        "val/nrmse": pytest.approx(1 / 5 + 1 / 3),
        "val/loss": pytest.approx(0.9),
        "seconds": 15,
        "device_seconds": 60,
        "peak_memory": 5003,
        "parameters": 5,
        "epochs": 3,
    }


@pytest.mark.slow
@pytest.mark.parametrize("what", GOALS)
@pytest.mark.parametrize(
    "draw",
    [pytest.param(name, marks=SLOW.get(name, ()))
     for name in ("tpe", "cqr", "nsga2", "gp", "qmc")],
)  # fmt: skip
def test_a_search_that_is_resumed_after_any_epoch_draws_what_it_would_have_drawn(
    tmp_path, draw: str, what: str
):
    folders = tmp_path / "whole", tmp_path / "cut"
    whole, cut = (new_ledger(folder) for folder in folders)
    for ledger in (whole, cut):
        ledger.add_study(STUDY)
    assert run(make_runner(whole, GOALS[what], draw=draw))
    while not run(make_runner(cut, GOALS[what], draw=draw), most=EPOCHS * 2 + 1):
        continue
    assert results(cut) == results(whole)
    assert cut.quantities(STUDY.name) == whole.quantities(STUDY.name)


@pytest.mark.slow
@pytest.mark.parametrize("pruning", ["asha", "promote", "median"])
def test_a_constrained_search_that_prunes_is_resumed_alike(tmp_path, pruning: str):
    whole, cut = new_ledger(tmp_path / "whole"), new_ledger(tmp_path / "cut")
    for ledger in (whole, cut):
        ledger.add_study(STUDY)
    goals = GOALS["constrained"]
    assert run(make_runner(whole, goals, pruning=pruning, trials=24))
    while not run(make_runner(cut, goals, pruning=pruning, trials=24), most=7):
        continue
    assert results(cut) == results(whole)
    assert len({t.state for t in results(whole)}) > 1


@pytest.mark.parametrize(
    "draw", ["tpe", "cqr", "nsga2", pytest.param("gp", marks=pytest.mark.slow)]
)
def test_samplers_learn_what_keeps_a_constraint(tmp_path, draw: str):
    def feasible(goals: Goals, folder: str) -> int:
        ledger = new_ledger(tmp_path / folder)
        ledger.add_study(STUDY)
        run(make_runner(ledger, goals, draw=draw, trials=40))
        return sum(t.params["refine.width"] <= 12 for t in ledger.trials()[20:])

    free = feasible(Goals(objectives=("val/nrmse",)), "free")
    assert feasible(GOALS["constrained"], "bound") > free
