"""Comparisons of arms that do not beat the floor of their task: not informative, whatever p."""

from dataclasses import replace

import pytest

from sweeper.model import Floor
from sweeper.results.claims import evaluate, observations_of
from sweeper.results.compare import compare
from sweeper.results.comparison import ClaimVerdict, Verdict
from sweeper.results.floors import MAX_SHOWN, beside, why_not_informative
from sweeper.results.gate import judge, parse_gate
from sweeper.results.reproduction import files
from sweeper.results.reproduction.files import committed_evidence, find
from sweeper.results.verdicts import across, headline
from sweeper.spec.schema import Claim
from tests.support.compared_ledgers import Scores, write

TASK, DARCY = "pdebench/advection_1d", "pdebench/darcy_2d"
BEST = [0.20, 0.21, 0.19, 0.22, 0.20, 0.18, 0.21, 0.19]
WORSE = [value + 0.1 for value in BEST]


def floor(value: float) -> Floor:
    return Floor(name="ridge", value=value, validation=value)


def against(task, errors, value):
    """Return the test of errors over seeds whose data have one floor."""
    return beside(task, dict(enumerate(errors)), dict.fromkeys(range(len(errors)), floor(value)))


def compared(tmp_path, value: float, *, n: int = 8, tasks: tuple[str, ...] = (TASK,)):
    facts = {"floor": {"name": "ridge", "value": value, "validation": value, "seconds": 0.1}}
    scores = [
        Scores(method=method, task=task, best=best[:n], control=WORSE[:n], facts=facts)
        for task in tasks
        for method, best in (("pare", BEST), ("mona", WORSE))
    ]
    return compare([write(tmp_path, "s", scores)])


@pytest.mark.parametrize(
    ("errors", "value", "is_beaten", "is_tested"),
    [
        (BEST, 0.3, True, True),  # all lower
        (BEST, 0.1, False, True),
        (BEST, 0.205, False, True),  # lower by the mean, but not on enough seeds
        (BEST[:5], 0.3, True, False),
        ([0.2], 0.2, False, False),  # level is not better
    ],
)
def test_an_arm_beats_the_floor_by_its_interval_or_by_its_mean(errors, value, is_beaten, is_tested):
    found = against(TASK, errors, value)
    assert (found.is_beaten, found.is_tested) == (is_beaten, is_tested)


def test_without_a_floor_or_a_value_nothing_is_tested():
    assert beside(TASK, dict(enumerate(BEST)), {}) is None
    assert beside(TASK, {}, {1: floor(1.0)}) is None


def test_the_reason_names_the_floor_with_its_value_and_not_every_task():
    tests = [against(f"mine/{i}", [0.5], 0.1) for i in range(MAX_SHOWN + 2)]
    assert why_not_informative(tests[:1]) == (
        "the better arm does not beat the floor: 0.5 beside 0.1 of ridge regression on mine/0 "
        "(not tested)"
    )
    assert why_not_informative(tests).endswith("on mine/2 (not tested) and 2 other tasks")
    assert why_not_informative([against(TASK, BEST, 9.0)]) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "verdict"), [(0.5, Verdict.LOWER), (0.1, Verdict.NOT_INFORMATIVE)]
)
def test_a_significant_difference_below_the_floor_is_no_verdict(tmp_path, value, verdict):
    (task,) = compared(tmp_path, value).tasks
    (between,) = task.differences
    assert between.p_holm < 0.05
    assert between.verdict is verdict
    assert {each.verdict for each in task.from_control} & {verdict}


@pytest.mark.slow
def test_a_headline_counts_uninformative_tasks_apart(tmp_path):
    found = compared(tmp_path, 0.1, tasks=(TASK, DARCY))
    assert "against MoNA it has no informative difference on any of them" in headline(found)
    assert "On 2 of 2 tasks the best method does not beat" in headline(found)
    (effect, *_) = found.effects
    assert effect.below_floor == (TASK, DARCY)
    assert "not informative" in across(effect)


@pytest.mark.slow
def test_a_gate_fails_below_the_floor_unless_it_is_allowed_by_name(tmp_path):
    found = compared(tmp_path, 0.1)
    claim = f"pare < mona on {TASK}"
    (refused,) = judge(found, parse_gate(claim))
    assert not refused.is_met
    assert "0.2 beside 0.1 of ridge regression" in refused.why
    (allowed,) = judge(found, parse_gate(f"{claim} below  floor"))
    assert allowed.is_met
    assert allowed.claim == f"{claim} below floor"
    (above,) = judge(compared(tmp_path / "above", 0.5), parse_gate(claim))
    assert above.is_met


# Recorded results


def test_claims_of_trust_are_informative_because_its_arms_beat_the_floors():
    evidence = files.load(find([committed_evidence()], "trust", "laptop"))
    claim = Claim(
        says="An alignment helps.", contrast=["align.epochs=5", "align.epochs=0"], expect="better"
    )
    (found,) = evaluate([claim], observations_of(evidence.sweep.studies))
    assert found.verdict is not ClaimVerdict.NOT_INFORMATIVE
    assert (found.n, found.unit) == (7, "task")
    assert sum(each.is_beaten for each in found.floors) == 7
    # With a predictor that nothing beats, the same numbers say nothing about the methods.
    beaten_by = {"floor": Floor(name="ridge", value=1e-9), "draws": {}}
    studies = [
        replace(each, facts=replace(each.facts, **beaten_by)) for each in evidence.sweep.studies
    ]
    (found,) = evaluate([claim], observations_of(studies))
    assert found.verdict is ClaimVerdict.NOT_INFORMATIVE
    assert not any(each.is_beaten for each in found.floors)
