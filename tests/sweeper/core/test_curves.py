"""The model of learning curves against closed forms and brute force, and its choice of trials."""

import math
from dataclasses import replace
from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm
from sklearn.gaussian_process.kernels import Matern

from sweeper.core import curves
from sweeper.core.curves import CurveModel, CurveSchedule, expected_improvement, similarity
from sweeper.core.promotion import PromotionRule, PromotionSchedule

RULE = PromotionRule(rungs=(1, 2, 4), eta=2, epochs=8, predicts=True)
POINTS = np.random.default_rng(0).random((4, 2))
OWNERS = np.array([0, 0, 0, 1, 1, 2])
TIMES = np.array([0.0, 0.5, 1.0, 0.0, 0.5, 0.0])
VALUES = np.array([1.0, 0.4, 0.1, 1.4, 0.9, 1.1])


def covariance(model: CurveModel, one: tuple[int, float], other: tuple[int, float]) -> float:
    """Return the prior covariance of two values, each given by its trial and its time."""
    (i, t), (j, s) = one, other
    similar = Matern(model.scale, nu=2.5)(POINTS[[i]], POINTS[[j]]).item()
    own = model.share * similar + (1 - model.share) * (i == j)
    return (own * (1 + model.drift * min(t, s)) + 1 + t * s) * model.variance


def joint(model: CurveModel, places: list[tuple[int, float]]) -> np.ndarray:
    return np.array([[covariance(model, one, other) for other in places] for one in places])


def test_values_between_rungs_do_not_decide_which_curves_are_seen(monkeypatch):
    monkeypatch.setattr(curves, "MOST", 9)
    told = {0: [0.9, 0.7, 0.6, 0.5, 0.45, 0.4, 0.38, 0.35], 1: [0.95, 0.75, 0.65, 0.55],
            2: [1.0, 0.8], 3: [0.99, 0.79]}  # fmt: skip

    def schedule() -> CurveSchedule:
        made = CurveSchedule(RULE)
        for number, values in told.items():
            made.add(number, POINTS[number].tolist())
            is_there = [made.arrive(number, *each) for each in enumerate(values, start=1)]
            if is_there[-1] and number != 2:
                made.pause(number)
        return made

    live, resumed = schedule(), schedule()
    live.next(is_closing=False, is_open=True)
    for each in (live, resumed):
        each.arrive(2, 3, 0.1)
        each.next(is_closing=False, is_open=True)
    assert live._scores == resumed._scores


def test_similarity_is_the_matern_kernel():
    wanted = Matern(0.7, nu=2.5)(POINTS, POINTS[:3])
    np.testing.assert_allclose(similarity(POINTS, POINTS[:3], 0.7), wanted, rtol=1e-12)


@pytest.mark.parametrize(("mean", "deviation"), [(0.5, 0.3), (-0.2, 0.1), (2.0, 1.0)])
def test_expected_improvement_is_its_integral(mean, deviation):
    wanted, _ = quad(lambda y: (0.3 - y) * norm.pdf(y, mean, deviation), mean - 12 * deviation, 0.3)
    found = expected_improvement(np.array([mean]), np.array([deviation]), 0.3)
    assert found.item() == pytest.approx(wanted, abs=1e-8)


def test_a_forecast_is_the_conditional_distribution_of_the_last_value():
    model = CurveModel.fit(POINTS[:3], OWNERS, TIMES, VALUES)
    seen = list(zip(OWNERS.tolist(), TIMES.tolist(), strict=True))
    asked = [(1, 1.0), (2, 1.0), (3, 1.0)]  # the last trial is a new one
    whole = joint(model, seen + asked)
    count = len(seen)
    whole[:count, :count] += curves.NOISE * model.variance * np.eye(count)
    gain = whole[count:, :count] @ np.linalg.inv(whole[:count, :count])
    means, deviations = model.at_end(POINTS[[1, 2, 3]], np.array([1, 2, -1]))
    np.testing.assert_allclose(means, VALUES.mean() + gain @ (VALUES - VALUES.mean()))
    left = whole[count:, count:] - gain @ whole[:count, count:]
    np.testing.assert_allclose(deviations, np.sqrt(np.diag(left)))
    assert deviations.argmax() == 2


def test_the_model_has_the_candidate_of_the_largest_likelihood():
    model = CurveModel.fit(POINTS[:3], OWNERS, TIMES, VALUES)
    seen, count = list(zip(OWNERS.tolist(), TIMES.tolist(), strict=True)), len(VALUES)
    found = {}
    for reach, share, drift in product(curves.RANGES, curves.SHARES, curves.DRIFTS):
        scale = reach * math.sqrt(2)
        unit = replace(model, scale=scale, share=share, drift=drift, variance=1.0)
        prior = joint(unit, seen) + curves.NOISE * np.eye(count)
        centred = VALUES - VALUES.mean()
        variance = centred @ np.linalg.solve(prior, centred) / count
        likelihood = multivariate_normal(cov=variance * prior).logpdf(centred)
        found[scale, share, drift] = likelihood, variance
    best = max(found, key=lambda key: found[key][0])
    assert (model.scale, model.share, model.drift) == best
    assert model.variance == pytest.approx(found[best][1])


def test_values_count_in_units_of_the_median_and_diverging_ones_alike():
    assert curves.in_units(np.array([3.0, 5.0, 7.0, 8.0, 1e9])).tolist() == [0, 0.5, 1, 1.25, 2]
    assert curves.in_units(np.array([2.0, 2.0])).tolist() == [0, 0]


# The choice


def schedule(values: dict[int, list[float]], order=None, rule: PromotionRule = RULE):
    """Return a schedule of trials with these values at each epoch; those that may pause do so."""
    made = CurveSchedule(rule)
    for number in order or values:
        rng = Random(number)
        made.add(number, [rng.random(), rng.random()])
        for epoch, value in enumerate(values[number], start=1):
            arrived = made.arrive(number, epoch, value)
        if arrived:
            made.pause(number)
    return made


def next_of(made: PromotionSchedule, *, is_open: bool = True, is_closing: bool = False):
    return made.next(is_open=is_open, is_closing=is_closing)


SLOPE = [0.9, 0.7, 0.6, 0.5, 0.45, 0.4, 0.38, 0.35]  # of a complete trial


def test_the_trial_with_the_better_curve_goes_on_and_a_new_one_before_hopeless_ones():
    complete = {number: [each + number / 50 for each in SLOPE] for number in range(3)}
    poor = [x + 1.5 for x in SLOPE]
    made = schedule({**complete, 3: [x - 0.1 for x in SLOPE[:4]], 4: poor[:4], 5: poor[:2]})
    assert next_of(made) == 3
    made.start(3)
    assert next_of(made) is None  # a new trial
    made.arrive(3, 8, 0.2)
    assert next_of(made) is None


def test_a_trial_that_fails_leaves_the_model():
    complete = {number: [each + number / 50 for each in SLOPE] for number in range(3)}
    without = {**complete, 4: [x + 0.1 for x in SLOPE[:4]], 5: [x + 0.2 for x in SLOPE[:2]]}
    made = schedule({**without, 3: [x - 5 for x in SLOPE[:4]]})
    made.start(3)
    made.remove(3)
    assert made._forecast() == schedule(without)._forecast()


curve = st.lists(st.floats(0, 1), min_size=8, max_size=8)


@settings(max_examples=30, deadline=None)
@given(st.lists(curve, min_size=4, max_size=8), st.data())
def test_the_choice_does_not_depend_on_the_order_of_trials(every, data):
    lengths = data.draw(st.lists(st.sampled_from([1, 2, 4]), min_size=len(every) - 1))
    values = {0: every[0]}
    for number, (each, length) in enumerate(zip(every[1:], lengths, strict=False), start=1):
        values[number] = each[:length]
    one = schedule(values)
    other = schedule(values, order=data.draw(st.permutations(list(values))))
    assert next_of(one) == next_of(other)
    assert one._forecast() == other._forecast()


@settings(max_examples=30, deadline=None)
@given(st.lists(curve, min_size=1, max_size=8), st.booleans())
def test_promotion_decides_before_a_trial_is_complete_and_once_no_new_one_can_begin(every, is_open):
    values = {number: each[: 2 ** (number % 3)] for number, each in enumerate(every)}
    if not is_open:
        values[len(values)] = every[0]
    promoted = PromotionSchedule(replace(RULE, predicts=False))
    for number, each in values.items():
        for epoch, value in enumerate(each, start=1):
            arrived = promoted.arrive(number, epoch, value)
        if arrived:
            promoted.pause(number)
    for is_closing in {False, not is_open}:
        found = next_of(schedule(values), is_open=is_open, is_closing=is_closing)
        assert found == next_of(promoted, is_open=is_open, is_closing=is_closing)


def test_the_model_is_fitted_to_the_trials_that_came_furthest(monkeypatch):
    values = {0: SLOPE, 1: SLOPE[:4], 2: [x - 0.1 for x in SLOPE[:2]], 3: SLOPE[:2]}
    monkeypatch.setattr(curves, "MOST", 9)  # of 4 + 3 + 2 + 2 values
    made = schedule(values)
    assert set(made._forecast()) == {1, 2, None}
