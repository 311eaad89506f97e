"""The cost of an improvement: sums by hand, break-even by its definition, and what is not known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.model import StudyFacts
from sweeper.render.json import comparison_as_json
from sweeper.render.page.report import render_comparison
from sweeper.results.compare import compare
from sweeper.results.comparison import WinCost
from sweeper.results.costs import break_even, solver_note, solves
from tests.support.compared_ledgers import Scores

TASK = "pdebench/advection_1d"
VALUES = [0.20, 0.21, 0.19, 0.22, 0.20, 0.18]
SOLVER = {"solver_seconds": 0.05}
positive = st.floats(1e-3, 1e3)


def costs(sweep, facts=SOLVER, **resources) -> tuple[WinCost, ...]:
    control = [value + 0.2 for value in VALUES]
    study = Scores(method="mona", task=TASK, best=VALUES, control=control, num_trials=4, epochs=4,
                   seconds=2.0, facts=facts)  # fmt: skip
    (task,) = compare([sweep(study, resources=resources or None)]).tasks
    return task.costs


def test_tuning_is_of_all_candidates_and_training_of_one_seed(sweep):
    (cost,) = costs(sweep)
    assert cost.tuning == 3 * 4 * 2.0, "the preset and two sampled trials"
    assert cost.training == cost.control_training == 4 * 2.0
    assert cost.times_control == 4.0
    assert cost.error_ratio == pytest.approx(0.2 / 0.4)


def test_seconds_are_those_of_devices(sweep):
    (cost,) = costs(sweep, cpu=4, gpu=0.5)
    assert (cost.device, cost.tuning, cost.training) == ("gpu", 12.0, 4.0)


def test_a_network_is_repaid_between_a_free_and_a_slow_prediction(sweep):
    (cost,) = costs(sweep)
    found = cost.break_even
    assert found is not None
    assert found.network_seconds == pytest.approx(2.0 / 230), "an epoch of 200 + 30 samples"
    assert found.least == pytest.approx(32 / 0.05)
    assert found.most == pytest.approx(32 / (0.05 - 2 / 230))
    assert solves(cost) == "640 to 770"


@given(positive, positive, positive)
def test_at_the_break_even_both_cost_the_same(total, solver, network):
    found = break_even(total, solver, network)
    assert found.least * solver == pytest.approx(total)
    if found.most is None:
        assert network >= solver
    else:
        assert found.most >= found.least
        assert total + found.most * network == pytest.approx(found.most * solver, rel=1e-3)


def test_what_is_not_known_is_said_to_be_so(sweep):
    (cost,) = costs(sweep, facts={})
    assert (cost.break_even, solves(cost)) == (None, None)
    assert "not known" in solver_note(StudyFacts(data_source="generated"), (cost,))
    assert solver_note(StudyFacts(data_source="own"), (cost,)) == ""
    slow = break_even(10.0, 0.001, 0.002)
    assert (slow.least, slow.most) == (pytest.approx(10_000), None)


def test_an_arm_pays_for_its_own_training_and_all_share_the_control(sweep):
    arms = [
        Scores(method="orca", task=TASK, arm=arm, best=VALUES, seconds=seconds)
        for arm, seconds in (("control", 1.0), ("align.epochs=5", 2.0), ("align.epochs=9", 3.0))
    ]
    (task,) = compare([sweep(*arms, compare_by={"align.epochs": [5, 9]})]).tasks
    assert [(c.training, c.control_training) for c in task.costs] == [(8.0, 4.0), (12.0, 4.0)]


def test_json_and_page_have_the_costs(sweep):
    study = Scores(method="mona", task=TASK, best=VALUES, control=VALUES, facts=SOLVER)
    comparison = compare([sweep(study)])
    (cost,) = comparison_as_json(comparison)["tasks"][0]["costs"]
    assert cost["solves"] == "640 to 770"
    assert cost["break_even"]["solver_seconds"] == 0.05
    page = render_comparison(comparison)
    assert "640 to 770" in page
    assert "The solver took 0.05 core-seconds a sample." in page
