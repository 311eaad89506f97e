"""Effects and ranks over tasks: by hand, corrected, and what they hinge on."""

import math

import pytest

from sweeper.results.compare import compare, effect
from sweeper.results.verdicts import across
from tests.support.compared_ledgers import Scores

ADVECTION, DARCY, BURGERS = "pdebench/advection_1d", "pdebench/darcy_2d", "pdebench/burgers_1d"


def three_tasks(sweep):
    return [
        sweep(
            Scores(method="pare", task=ADVECTION, best=[0.1] * 7, control=[0.4] * 7),
            Scores(method="pare", task=BURGERS, best=[0.2] * 7, control=[0.4] * 7),
            Scores(method="pare", task=DARCY, best=[0.3] * 7, control=[0.4] * 7),
        ),
        sweep(
            Scores(method="mona", task=ADVECTION, best=[0.4] * 7, control=[0.4] * 7),
            Scores(method="mona", task=BURGERS, best=[0.1] * 7, control=[0.4] * 7),
            Scores(method="mona", task=DARCY, best=[0.2] * 7, control=[0.4] * 7),
        ),
    ]


@pytest.mark.slow
def test_average_ranks_and_effects_by_group_by_hand(sweep):
    found = compare(three_tasks(sweep))
    assert found.ranks == pytest.approx({"pare": 5 / 3, "mona": 4 / 3})
    assert found.ranked_tasks == (ADVECTION, BURGERS, DARCY)
    against = found.effects[0]
    assert (against.first, against.second) == ("pare", "mona")
    assert against.ratios == pytest.approx({ADVECTION: 0.25, BURGERS: 2.0, DARCY: 1.5})
    assert against.overall.ratio == pytest.approx((0.25 * 2 * 1.5) ** (1 / 3))
    assert against.overall.lower == 1
    assert against.p_value == 1.0  # log 1/4 + log 3 is near 0: every signing of 3 is as far
    assert {g: (s.tasks, s.lower) for g, s in against.groups.items()} == {
        "1D": ((ADVECTION, BURGERS), 1),
        "dense": ((ADVECTION, BURGERS, DARCY), 1),
        "2D": ((DARCY,), 0),
    }
    assert against.groups["1D"].ratio == pytest.approx(math.sqrt(0.5))


@pytest.mark.slow
def test_leaving_a_task_out_shows_what_a_conclusion_hinges_on(sweep):
    against = compare(three_tasks(sweep)).effects[0]
    assert against.without == pytest.approx(
        {ADVECTION: math.sqrt(3), BURGERS: math.sqrt(0.375), DARCY: math.sqrt(0.5)}
    )
    assert against.hinges_on == (ADVECTION,)


@pytest.mark.parametrize(("first", "second"), [(1.0, 0.8), (2.0, 0.5)])
def test_without_a_task_equal_methods_are_not_the_other_way_round(first, second):
    found = effect("a", "b", {"s": first, "t": second}, {"s": ("1D",), "t": ("1D",)})
    assert found.hinges_on == ()
    assert "way round" not in across(found)


def test_one_task_is_left_out_of_nothing():
    found = effect("a", "b", {"t": 0.5}, {"t": ("1D",)})
    assert (dict(found.without), found.hinges_on, found.ci, found.p_value) == ({}, (), None, 1.0)


def test_the_same_way_round_on_many_tasks_is_significant_over_tasks():
    ratios = {str(i): 0.8 + i / 100 for i in range(6)}
    found = effect("a", "b", ratios, dict.fromkeys(ratios, ()))
    assert found.p_value == 2 / 2**6
    assert found.ci[0] < found.overall.ratio < found.ci[1] < 1
    assert found.hinges_on == ()


@pytest.mark.slow
def test_p_over_tasks_is_corrected_within_pairs_of_methods_and_within_those_with_the_control(sweep):
    tasks = [f"pdebench/task_{i}_1d" for i in range(7)]
    methods = ("pare", "mona", "nft")
    ledger = sweep(
        *(Scores(method=m, task=t, best=[0.1 * (k + 1) + 0.01 * i], control=[0.9 + 0.01 * i])
          for k, m in enumerate(methods) for i, t in enumerate(tasks))
    )  # fmt: skip
    p = 2 / 2**7
    found = compare([ledger]).effects
    assert [(e.first, e.second, e.p_value, e.p_holm) for e in found] == [
        ("pare", "mona", p, 3 * p), ("pare", "nft", p, 3 * p), ("mona", "nft", p, 3 * p),
        *((m, "control", p, 3 * p) for m in methods),
    ]  # fmt: skip


def test_an_effect_on_one_task_is_no_test_and_costs_the_others_nothing(sweep):
    ledger = sweep(
        Scores(method="pare", task=ADVECTION, best=[0.1]),
        Scores(method="mona", task=ADVECTION, best=[0.2]),
        Scores(method="pare", task=DARCY, best=[0.1]),
        Scores(method="mona", task=DARCY, best=[0.2]),
        Scores(method="nft", task=DARCY, best=[0.3]),
    )
    found = [(e.first, e.second, e.p_value, e.p_holm) for e in compare([ledger]).effects]
    assert found[:3] == [
        ("pare", "mona", 0.5, 0.5), ("pare", "nft", 1.0, 1.0), ("mona", "nft", 1.0, 1.0),
    ]  # fmt: skip


def test_an_error_of_zero_has_no_ratio(sweep):
    ledger = sweep(
        Scores(method="pare", task=ADVECTION, best=[0.0] * 7),
        Scores(method="mona", task=ADVECTION, best=[0.1] * 7),
    )
    found = compare([ledger])
    assert [d.difference for d in found.tasks[0].differences] == [pytest.approx(-0.1)]
    assert not [e for e in found.effects if e.second == "mona"]


def test_an_effect_names_the_tasks_without_a_ratio(sweep):
    ledger = sweep(
        *(Scores(method=method, task=task, best=[error + 0.001 * k for k in range(7)])
          for method, task, error in (("pare", DARCY, 0.1), ("mona", DARCY, 0.2),
                                      ("mona", ADVECTION, 0.1))),
        Scores(method="pare", task=ADVECTION, best=[0.0] * 7),
    )  # fmt: skip
    found = next(e for e in compare([ledger]).effects if {e.first, e.second} == {"pare", "mona"})
    assert ([*found.ratios], found.without_ratio) == ([DARCY], (ADVECTION,))
    assert f"; without {ADVECTION}, where an error is not above 0" in across(found)


def test_a_single_run_is_not_ranked_beside_means_over_replicates(sweep):
    ledger = sweep(
        Scores(method="pare", task=ADVECTION, best=[0.1]),
        Scores(method="mona", task=ADVECTION, best=[0.2] * 7),
        Scores(method="pare", task=DARCY, best=[0.1] * 7),
        Scores(method="mona", task=DARCY, best=[0.2] * 7),
    )
    assert compare([ledger]).ranked_tasks == (DARCY,)


def test_a_task_that_one_method_lacks_ranks_nobody(sweep):
    ledger = sweep(
        Scores(method="pare", task=ADVECTION, best=[0.1]),
        Scores(method="mona", task=ADVECTION, best=[0.2]),
        Scores(method="pare", task=DARCY, best=[0.1]),
    )
    found = compare([ledger])
    assert found.ranked_tasks == (ADVECTION,)
    assert found.ranks == {"pare": 1.0, "mona": 2.0}
