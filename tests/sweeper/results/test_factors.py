"""Factors of an ablation: main effects, interactions and trends by hand."""

from dataclasses import replace
from itertools import product

import pytest

from sweeper.driver import pages
from sweeper.errors import UsageError
from sweeper.render.json import comparison_as_json
from sweeper.results.compare import compare
from sweeper.results.comparison import CONTROL
from tests.support.compared_ledgers import Scores

TASK = "pdebench/advection_1d"
NOISE = (0.000, 0.010, -0.010, 0.005, -0.005, 0.002, 0.001, -0.002)  # of eight seeds
FREEZE = {"none": 0.0, "body": 0.1}
EPOCHS = {0: 0.0, 5: 0.02, 20: 0.06}


def arm(name: str, value: float) -> Scores:
    return Scores(method="orca", task=TASK, arm=name, best=[value + n for n in NOISE])


@pytest.fixture
def crossed(sweep):
    """Two factors whose effects add, but for one cell; and the control."""
    cells = {
        f"refine.freeze={freeze},align.epochs={epochs}": 0.3 + by_freeze - by_epochs
        for (freeze, by_freeze), (epochs, by_epochs) in product(FREEZE.items(), EPOCHS.items())
    }
    cells["refine.freeze=body,align.epochs=20"] -= 0.04
    return sweep(
        arm("control", 0.35),
        *(arm(name, value) for name, value in cells.items()),
        compare_by={"refine.freeze": [*FREEZE], "align.epochs": [*EPOCHS]},
    )


def test_all_arms_are_compared_with_each_other_and_with_their_one_control(crossed):
    found = compare([crossed])
    (task,) = found.tasks
    assert len(task.entries) == 6
    assert len(task.differences) == 15
    assert [entry.study for entry in task.distinct_controls] == [f"orca/{TASK}/control"]
    assert len(task.from_control) == 6
    first = task.from_control[0]
    assert first.second == CONTROL
    assert first.difference == pytest.approx(0.3 - 0.35)
    assert first.p_value == pytest.approx(2 / 2**8)


def test_a_main_effect_is_the_mean_over_the_levels_of_the_other_factor(crossed):
    (task,) = compare([crossed], by="refine.freeze").tasks
    assert [entry.label for entry in task.entries] == [
        "orca refine.freeze=none", "orca refine.freeze=body"
    ]  # fmt: skip
    (each,) = task.differences
    assert each.difference == pytest.approx(-0.1 + 0.04 / 3)  # a cell of three has 0.04 less
    assert each.pairs == len(NOISE)
    assert each.p_holm == pytest.approx(2 / 2**8)


def test_a_level_of_arms_with_unlike_data_names_the_data_of_all(sweep):
    cells = {
        f"refine.freeze={freeze},align.epochs={epochs}": {"content_hash": f"{epochs}" * 64}
        for freeze, epochs in product(FREEZE, (0, 5))
    }
    ledger = sweep(
        *(replace(arm(name, 0.3), facts=facts) for name, facts in cells.items()),
        compare_by={"refine.freeze": [*FREEZE], "align.epochs": [0, 5]},
    )
    (task,) = compare([ledger], by="refine.freeze").tasks
    data = {text for entry in task.entries for text in entry.data.values()}
    assert data == {f"{'0' * 64} and {'5' * 64}"}


def test_an_interaction_is_a_difference_of_differences(crossed):
    found = compare([crossed], by="refine.freeze").interactions
    by_others = {each.others: each for each in found}
    assert len(found) == 3
    additive = by_others["align.epochs=0", "align.epochs=5"]
    assert additive.difference == pytest.approx(0, abs=1e-12)
    other = by_others["align.epochs=0", "align.epochs=20"]
    assert other.difference == pytest.approx(-0.04)
    assert other.p_value == pytest.approx(2 / 2**8)
    assert other.p_holm == pytest.approx(3 * 2 / 2**8)


def test_a_numeric_factor_has_a_trend(crossed):
    found = compare([crossed], by="align.epochs")
    (trend,) = found.trends
    assert trend.levels == (0.0, 5.0, 20.0)
    assert trend.means == pytest.approx((0.35 + 2e-4 * 0.625, 0.33 + 1.25e-4, 0.27 + 1.25e-4))
    assert trend.correlation is not None
    assert trend.correlation.rho < -0.9
    assert trend.ci is not None
    assert trend.ci[0] <= trend.correlation.rho <= trend.ci[1] < 0
    assert compare([crossed], by="refine.freeze").trends == ()


def test_levels_of_two_sweeps_stay_apart(sweep):
    """Two sweeps share some arms by name, and each has others that the other one lacks."""

    def ran(name: str, epochs: int, by: float):
        levels = {"refine.freeze": ["none", "body"], "align.epochs": [5, epochs]}
        cells = product(levels["refine.freeze"], levels["align.epochs"])
        arms = {f"refine.freeze={f},align.epochs={e}": 0.3 + FREEZE[f] + by for f, e in cells}
        return sweep(*(arm(*each) for each in arms.items()), name=name, compare_by=levels)

    found = compare([ran("one", 20, 0.0), ran("two", 10, 0.2)], by="refine.freeze")
    (task,) = found.tasks
    assert {each.label: each.mean for each in task.entries} == pytest.approx(
        {"one:orca refine.freeze=none": 0.3, "one:orca refine.freeze=body": 0.4,
         "two:orca refine.freeze=none": 0.5, "two:orca refine.freeze=body": 0.6}, abs=1e-3,
    )  # fmt: skip
    assert len(found.ranks) == 4
    assert {each.label for each in found.interactions} == {"one:orca", "two:orca"}


@pytest.mark.slow
def test_what_is_told_says_both(crossed):
    told = comparison_as_json(compare([crossed], by="align.epochs"))
    assert told["by"] == "align.epochs"
    (trend,) = told["trends"]
    assert "the error falls with align.epochs" in trend["sentence"]
    sentences = [each["sentence"] for each in told["interactions"]]
    assert any("they interact" in sentence for sentence in sentences)
    assert any("cannot distinguish" in sentence for sentence in sentences)


def test_where_an_arm_is_the_control_there_is_none_to_compare_with(sweep):
    ledger = sweep(arm("align.epochs=0", 0.3), arm("align.epochs=5", 0.2),
                   compare_by={"align.epochs": [0, 5]})  # fmt: skip
    (task,) = compare([ledger]).tasks
    assert (task.from_control, len(task.differences)) == ((), 1)


def test_a_factor_that_no_arm_has_is_refused(crossed, sweep):
    with pytest.raises(UsageError, match=r"unknown factor `refine.frez`. Did you mean"):
        compare([crossed], by="refine.frez")
    plain = sweep(Scores(method="nft", task=TASK, best=[0.2]))
    with pytest.raises(UsageError, match="no sweep here has arms"):
        compare([plain], by="refine.freeze")


@pytest.mark.slow
def test_each_study_of_an_ablation_has_its_page_and_numbers(crossed):
    names = [study.name for study in crossed.studies()]
    assert f"orca/{TASK}/control" in names
    for name in names:
        assert pages.summary(crossed, name)["seeds"] == len(NOISE)
        assert "plots.html" in pages.files(crossed, name)
    found = pages.summary(crossed, f"orca/{TASK}/refine.freeze=body,align.epochs=5")
    assert found["control/mean_over_seeds/test/nrmse"] == pytest.approx(0.35, abs=1e-3)
    page = pages.files(crossed, None)["report.html"]
    assert "ORCA: control" in page
    assert "All else is the preset of the method." in page
