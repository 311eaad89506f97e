"""Claims: verdicts by hand, laws of their tests, and committed results."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.model import Floor
from sweeper.results.claims import ClaimVerdict, Observation, evaluate, level_of, observations_of
from sweeper.results.compare import compare
from sweeper.results.read import read_studies
from sweeper.results.sequential.boundaries import Design
from sweeper.results.statistics import holm, mean_interval, sign_flip
from sweeper.spec.arms import arm_of
from sweeper.spec.schema import Claim
from tests.support.compared_ledgers import Scores

TASK, OTHER = "pdebench/advection_1d", "pdebench/darcy_2d"
SEEDS = range(8)
BODY, NONE = "refine.freeze=body", "refine.freeze=none"


def claim(*contrast: str, **given) -> Claim:
    """Return a claim about two arms, by default those that freeze nothing and the body."""
    expected = {"says": "It helps.", "expect": "better", **given}
    return Claim(contrast=list(contrast or (NONE, BODY)), **expected)


def trend(factor: str = "align.epochs") -> Claim:
    return Claim(says="It helps.", trend=factor, expect="better")


def observed(
    arms: Mapping[str | None, Sequence[float]],
    *,
    method: str = "orca",
    task: str = TASK,
    quantity: str = "test",
) -> list[Observation]:
    return [
        Observation(method=method, task=task, arm=arm, seed=seed, values={quantity: value})
        for arm, values in arms.items()
        for seed, value in enumerate(values)
    ]


def noisy(mean: float, seed: int = 0, scale: float = 0.01, n: int = 8) -> list[float]:
    return list(np.random.default_rng(seed).normal(mean, scale, n))


def test_a_contrast_has_the_difference_interval_and_p_of_its_pairs():
    first, second = noisy(0.3, 1), noisy(0.35, 2)
    (found,) = evaluate([claim()], observed({NONE: first, BODY: second}))
    differences = [a - b for a, b in zip(first, second, strict=True)]
    assert found.difference == pytest.approx(np.mean(differences))
    assert found.ci == mean_interval(differences)
    assert found.p_value == sign_flip(differences).p_value == 2 / 2**8
    assert (found.n, found.is_primary, found.p_holm) == (8, True, None)
    assert found.verdict is ClaimVerdict.HOLDS
    assert "lower with refine.freeze=none than with refine.freeze=body" in found.sentence
    assert found.sentence.endswith("p = 0.007812, 8 seeds): holds here.")


@pytest.mark.parametrize(
    ("gap", "expect", "verdict"),
    [
        (-0.1, "better", "holds here"),
        (0.1, "better", "does not hold"),
        (0.0, "better", "cannot tell"),
        (0.1, "worse", "holds here"),
        (-0.1, "worse", "does not hold"),
        (-0.1, "no_worse", "holds here"),
        (0.1, "no_worse", "does not hold"),
        (0.0, "no_worse", "cannot tell"),  # that none was seen does not show that there is none
    ],
)
def test_a_verdict_needs_a_significant_difference_in_either_direction(gap, expect, verdict):
    rows = observed({NONE: noisy(0.3 + gap, 1), BODY: noisy(0.3, 2)})
    (found,) = evaluate([claim(expect=expect)], rows)
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("gap", "margin", "verdict"),
    [(0.0, 0.05, "holds here"), (0.02, 0.05, "holds here"), (0.1, 0.05, "does not hold"),
     (0.0, 0.001, "cannot tell")],
)  # fmt: skip
def test_a_margin_is_the_cost_that_counts_as_none(gap, margin, verdict):
    rows = observed({NONE: noisy(0.5 + gap, 1), BODY: noisy(0.5, 2)})
    (found,) = evaluate([claim(expect="no_worse", margin=margin)], rows)
    assert found.verdict == verdict
    assert f"against a margin of {margin:g}" in found.sentence
    assert found.detectable is not None
    assert found.shown_size == pytest.approx(margin - found.detectable.difference)


def test_all_claims_but_the_first_are_corrected_together():
    arms = {NONE: noisy(0.3, 1), BODY: noisy(0.4, 2), "control": noisy(0.301, 3)}
    claims = [claim(), claim(BODY, "control"), claim(NONE, "control")]
    found = evaluate(claims, observed(arms))
    raw = [each.p_value for each in found]
    assert [each.p_holm for each in found] == [None, *holm(raw[1:])]
    assert found[0].p_decisive == raw[0]
    assert "after Holm's correction" not in found[0].sentence
    assert "after Holm's correction" in found[1].sentence


def test_claims_without_data_are_not_run_and_correct_nothing():
    rows = observed({NONE: noisy(0.3, 1), BODY: noisy(0.4, 2)})
    claims = [claim("orca/control", BODY), claim(), trend("refine.freeze"),
              claim(quantity="train/probe_error")]  # fmt: skip
    found = evaluate(claims, rows)
    assert [each.verdict for each in found] == ["not run", "holds here", "not run", "not run"]
    assert found[1].p_holm == found[1].p_value
    assert "No seed has the value of train/probe_error of all arms" in found[3].sentence
    assert all(each.verdict == "not run" for each in evaluate(claims, []))


def test_one_pair_is_no_test():
    (found,) = evaluate([claim()], observed({NONE: [0.1], BODY: [0.9]}))
    assert (found.verdict, found.n) == (ClaimVerdict.UNKNOWN, 1)
    assert "no test" in found.sentence


def test_five_seeds_cannot_tell_anything():
    arms = {NONE: noisy(0.1, 1, n=5), BODY: noisy(0.9, 2, n=5)}
    (found,) = evaluate([claim()], observed(arms))
    assert (found.verdict, found.p_value) == (ClaimVerdict.UNKNOWN, 2 / 2**5)


def test_values_that_are_missing_or_not_finite_leave_their_seed_out():
    arms = {NONE: [*noisy(0.3, 1)[:7], math.nan], BODY: noisy(0.4, 2)[:6]}
    (found,) = evaluate([claim()], observed(arms))
    assert found.n == 6


def test_a_single_arm_is_compared_with_zero_and_may_be_a_difference_of_two_metrics():
    rows = [
        Observation(
            method="mona", task=TASK, arm=NONE, seed=seed,
            values={"refine/probe_error": after, "refine/probe_error_start": 0.03},
        )
        for seed, after in enumerate(noisy(0.045, 1, scale=0.002))
    ]  # fmt: skip
    asked = claim(NONE, expect="worse", quantity="refine/probe_error - refine/probe_error_start")
    (found,) = evaluate([asked], rows)
    assert found.difference == pytest.approx(0.015, abs=0.002)
    assert (found.n, found.verdict) == (8, ClaimVerdict.HOLDS)
    assert f"is {found.difference:.4g} with {NONE}" in found.sentence
    (plain,) = evaluate([claim(NONE, quantity="refine/probe_error")], rows)
    assert plain.difference == pytest.approx(found.difference + 0.03)


# Trends


def test_a_trend_is_the_change_of_the_line_over_ranks():
    values = {"align.epochs=0": [0.5] * 8, "align.epochs=5": [0.4] * 8,
              "align.epochs=60": [0.1] * 8, "control": [9.0] * 8}  # fmt: skip
    (found,) = evaluate([trend()], observed(values))
    slope = np.polyfit([0, 1, 2], [0.5, 0.4, 0.1], 1)[0]
    assert found.difference == pytest.approx(2 * slope)
    assert found.verdict is ClaimVerdict.HOLDS
    assert "falls by 0.4 from the smallest to the largest align.epochs" in found.sentence


def test_the_trend_of_two_levels_is_their_contrast():
    arms = {"align.epochs=0": noisy(0.5, 1), "align.epochs=1.0e+1": noisy(0.4, 2)}
    over = evaluate([trend()], observed(arms))[0]
    between = evaluate([claim(*reversed(arms))], observed(arms))[0]
    assert over.difference == pytest.approx(between.difference)
    assert (over.p_value, over.n) == (between.p_value, between.n)


def test_crossed_arms_with_one_level_count_by_their_mean():
    arms = {f"align.epochs={e},refine.freeze={f}": noisy(0.5 - 0.01 * e + 0.1 * (f == "body"), e)
            for e in (0, 5) for f in ("none", "body")}  # fmt: skip
    (found,) = evaluate([trend()], observed(arms))
    means = [np.mean(list(arms.values())[i : i + 2], axis=0) for i in (0, 2)]
    assert found.difference == pytest.approx(np.mean(means[1] - means[0]))


@pytest.mark.parametrize(
    ("arm", "level"),
    [("align.epochs=5", 5), ("meta.lambda=1e-05,align.epochs=0.5", 0.5), (None, None),
     ("control", None), ("align.epochs=true", None), ("align.epochs=nan", None),
     (arm_of({"align.epochs": -2}).name, -2)],
)  # fmt: skip
def test_levels_are_the_numbers_of_an_arms_name(arm, level):
    assert level_of(arm, "align.epochs") == level


# Methods and tasks


def test_a_side_without_a_method_takes_the_others():
    rows = observed({None: noisy(0.3, 1), "control": noisy(0.5, 2)}, method="mona")
    rows += observed({None: noisy(0.4, 3), "control": noisy(0.1, 4)}, method="pare")
    contrasts = [("mona", "control"), ("pare", "control"), ("mona", "pare/control"),
                 ("mona", "pare")]  # fmt: skip
    verdicts = [each.verdict for each in evaluate([claim(*c) for c in contrasts], rows)]
    assert verdicts == ["holds here", "does not hold", "does not hold", "holds here"]


def test_arms_that_name_no_method_are_paired_within_each():
    rows = observed({NONE: noisy(0.3, 1), BODY: noisy(0.4, 2)})
    rows += observed({NONE: noisy(0.5, 3), BODY: noisy(0.8, 4)}, method="mona")
    (found,) = evaluate([claim()], rows)
    assert (found.n, found.unit, found.is_relative) == (8, "seed", False)
    assert found.difference == pytest.approx(-0.2, abs=0.02)


def test_over_tasks_each_counts_once_as_a_ratio():
    rows = observed({NONE: [0.2] * 8, BODY: [0.4] * 8})
    rows += observed({NONE: [20.0] * 6, BODY: [10.0] * 6}, task=OTHER)
    (found,) = evaluate([claim()], rows)
    assert (found.n, found.unit, found.is_relative) == (2, "task", True)
    assert found.verdict is ClaimVerdict.UNKNOWN
    assert found.difference == pytest.approx(0, abs=1e-12)
    assert found.by_task == {TASK: pytest.approx(-0.5), OTHER: pytest.approx(1.0)}
    assert "over 2 tasks" in found.sentence


@pytest.mark.parametrize(
    ("margin", "verdict"), [(0.3, ClaimVerdict.FAILS), (1.1, ClaimVerdict.HOLDS)]
)
@pytest.mark.parametrize("unit", [1.0, 1e-4])
def test_over_tasks_a_margin_is_a_share_whatever_the_unit_of_a_task(margin, verdict, unit):
    rows = []
    for number in range(6):
        high, low, size = ([0.4, 0.2, 1.0], [0.6, 0.4, unit])[number % 2]
        arms = {NONE: [high * size] * 8, BODY: [low * size] * 8}
        rows += observed(arms, task=f"mine/{number}")
    (found,) = evaluate([claim(expect="no_worse", margin=margin)], rows)
    assert (found.is_relative, found.verdict) == (True, verdict)
    assert found.difference == pytest.approx((2 * 1.5) ** 0.5 - 1)  # 73 % more
    assert f"against a margin of {100 * margin:g} %" in found.sentence


def test_over_tasks_a_margin_of_a_value_that_has_no_ratio_tells_nothing():
    rows = []
    for number in range(6):
        arms = {NONE: [0.9] * 8, BODY: [0.3] * 7 + [0.3 * (number > 0)]}
        rows += observed(arms, task=f"mine/{number}")
    (found,) = evaluate([claim(expect="no_worse", margin=0.9)], rows)
    assert (found.is_relative, found.verdict) == (False, ClaimVerdict.UNKNOWN)
    told = "cannot tell, as over tasks a margin is a share, and a value is not above 0."
    assert found.sentence.endswith(told)


def test_tasks_that_differ_hide_a_difference_and_the_detectable_one_says_so():
    rows = [
        row
        for task, ratio in zip("abcdef", (1.6, 0.8, 1.1, 0.9, 1.5, 1.0), strict=True)
        for row in observed(
            {NONE: [ratio * v for v in noisy(1, 1, n=5)], BODY: noisy(1, 2, n=5)}, task=task
        )
    ]
    (found,) = evaluate([claim(expect="worse")], rows)
    assert found.verdict is ClaimVerdict.UNKNOWN
    assert found.detectable.difference > found.difference > 0.1
    low, high = found.ci
    assert low < 0 < high
    assert found.sentence.endswith("6 tasks, 5 seeds each): cannot tell.")


def test_a_trend_over_a_metric_may_be_among_the_arms_of_one_factor():
    distances = {"proxy=a": 1.0, "proxy=b": 2.0, "refine.freeze=body": 5.0}
    errors = {"proxy=a": noisy(0.5, 1), "proxy=b": noisy(0.4, 2), "refine.freeze=body": [0.9] * 8}
    rows = [
        Observation(method="orca", task=TASK, arm=arm, seed=seed,
                    values={"test": value, "align/mmd": distance})
        for arm, distance in distances.items()
        for seed, value in enumerate(errors[arm])
    ]  # fmt: skip
    whole = trend("align/mmd")
    among = whole.model_copy(update={"among": "proxy"})
    assert evaluate([whole], rows)[0].difference > 0 > evaluate([among], rows)[0].difference


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)), min_size=2, max_size=8))
def test_exchanging_the_arms_exchanges_the_sign_and_keeps_p(pairs):
    rows = observed({NONE: [a for a, _ in pairs], BODY: [b for _, b in pairs]})
    one, other = (evaluate([claim(*c)], rows)[0] for c in ((NONE, BODY), (BODY, NONE)))
    assert one.difference == pytest.approx(-other.difference)
    assert one.p_value == pytest.approx(other.p_value)


# Recorded sweeps


def test_a_ledger_has_the_observations_that_compare_shows(sweep):
    ledger = sweep(
        Scores(method="orca", task=TASK, arm="control", best=noisy(0.35, 3)),
        Scores(method="orca", task=TASK, arm=NONE, best=noisy(0.3, 1)),
        Scores(method="orca", task=TASK, arm=BODY, best=noisy(0.4, 2)),
        compare_by={"refine.freeze": ["none", "body"]},
    )
    rows = observations_of(read_studies([ledger]))
    claims = [claim(), claim(NONE, "control"), claim(quantity="refine/train_loss")]
    found = evaluate(claims, rows)
    by_pair = {(d.first, d.second): d for d in compare([ledger]).tasks[0].differences}
    shown = by_pair[f"orca {NONE}", f"orca {BODY}"]
    assert (found[0].difference, found[0].p_value) == (shown.difference, shown.p_value)
    assert [each.verdict for each in found] == ["holds here"] * 3
    assert found[2].difference == pytest.approx(found[0].difference / 2)


def test_a_method_and_its_control_are_observed_without_arms(sweep):
    ledger = sweep(Scores(method="mona", task=TASK, best=noisy(0.3, 1), control=noisy(0.4, 2)))
    rows = observations_of(read_studies([ledger]))
    assert {(row.method, row.arm) for row in rows} == {("mona", None), ("mona", "control")}
    (found,) = evaluate([claim("mona", "control")], rows)
    assert (found.n, found.verdict) == (8, ClaimVerdict.HOLDS)


def measured(distances: Mapping[str, float], errors: Mapping[str, Sequence[float]], **given):
    """Return observations of arms with a recorded distance, which differs a little by seed."""
    return [
        replace(
            each, values={**each.values, "align/mmd": distances[str(each.arm)] + each.seed / 99}
        )
        if each.arm in distances
        else each
        for each in observed(errors, **given)
    ]


def test_a_trend_over_a_recorded_metric_orders_arms_by_their_mean_of_it():
    errors = {"proxy=a": noisy(0.3, 1), "proxy=b": noisy(0.4, 2), "proxy=c": noisy(0.5, 3)}
    control = {"control": noisy(0.1, 4)}  # which has no distance
    found = measured({"proxy=b": 2.0, "proxy=a": 1.0, "proxy=c": 7.0}, {**errors, **control})
    (result,) = evaluate([claim_of_distance()], found)
    numbered = {f"align.epochs={i}": errors[f"proxy={x}"] for i, x in enumerate("abc")}
    (expected,) = evaluate([replace_expect(trend(), "worse")], observed(numbered))
    assert (result.difference, result.p_value) == (expected.difference, expected.p_value)
    assert result.verdict is ClaimVerdict.HOLDS
    assert "from the smallest to the largest align/mmd" in result.sentence
    (missing,) = evaluate([claim_of_distance()], observed(errors))
    assert missing.verdict is ClaimVerdict.NOT_RUN


def test_each_task_has_its_own_order_of_a_recorded_metric():
    low, high = [0.1] * 8, [0.2] * 8
    here = measured({"proxy=a": 1.0, "proxy=b": 2.0}, {"proxy=a": low, "proxy=b": high})
    there = measured(
        {"proxy=a": 9.0, "proxy=b": 5.0}, {"proxy=a": high, "proxy=b": low}, task=OTHER
    )
    (result,) = evaluate([claim_of_distance()], [*here, *there])
    assert (result.n, result.unit, result.verdict) == (2, "task", ClaimVerdict.UNKNOWN)
    assert result.difference == pytest.approx(1.0)  # twice the error on both


def test_a_claim_of_some_tasks_reads_no_others():
    here = observed({NONE: noisy(0.3, 1), BODY: noisy(0.35, 2)})
    there = observed({NONE: noisy(0.9, 3), BODY: noisy(0.35, 4)}, task=OTHER)
    (one,) = evaluate([claim(tasks=[TASK])], [*here, *there])
    (alone,) = evaluate([claim()], here)
    assert one == alone


def claim_of_distance() -> Claim:
    return replace_expect(trend("align/mmd"), "worse")


def replace_expect(given: Claim, expect: str) -> Claim:
    return given.model_copy(update={"expect": expect})


def test_a_claim_about_two_tasks_is_no_claim_about_seeds_while_one_has_no_values():
    rows = observed({NONE: noisy(0.3, 1), BODY: noisy(0.4, 2)})
    arms = {("orca", task, arm) for task in (TASK, OTHER) for arm in (NONE, BODY)}
    (found,) = evaluate([claim()], rows, arms=arms)
    assert (found.n, found.unit, found.is_relative) == (1, "task", True)
    assert found.verdict is ClaimVerdict.UNKNOWN
    assert "one task, which is no test" in found.sentence
    (found,) = evaluate([claim(tasks=[TASK])], rows, arms=arms)
    assert (found.n, found.unit, found.verdict) == (8, "seed", ClaimVerdict.HOLDS)


def test_pairs_after_a_look_change_nothing_before_the_next_one():
    design = Design(looks=(8, 12), order={TASK: tuple(range(12))})
    floor = Floor(name="ridge", value=0.5)
    told = []
    for later in ([], [0.9, 0.9]):
        rows = observed({NONE: noisy(0.4, 1) + later, BODY: noisy(0.45, 2) + later})
        rows = [replace(each, floor=floor) for each in rows]
        told += evaluate([claim()], rows, design)
    assert told[0] == told[1]
    assert told[0].by_task == {TASK: told[0].difference}


def test_equal_arms_are_said_to_be_the_same_and_a_large_ratio_has_no_exponent():
    (same,) = evaluate([claim()], observed({NONE: [0.3] * 8, BODY: [0.3] * 8}))
    assert same.sentence.startswith(f"The test error is the same ({NONE} - {BODY}) (95 %")
    rows = [
        row
        for task in (TASK, OTHER)
        for row in observed({NONE: [36.9] * 8, BODY: [1.0] * 8}, task=task)
    ]
    (large,) = evaluate([claim()], rows)
    assert "is 3590 % higher with" in large.sentence
