"""Crossings and forecasts: closed forms, the level of the test, and what must change nothing."""

import numpy as np
import pytest

from sweeper.results.ladder.fits import Crossing, crossing, forecast

LEVELS = (100.0, 200.0, 400.0, 800.0)
SEEDS = 8
X = np.asarray(LEVELS)
STEEP, FLAT = 3 * X**-0.5, 0.9 * X**-0.25
TRUE = (3 / 0.9) ** 4  # 123.5: where 3 x^-0.5 = 0.9 x^-0.25


def noisy(curve: np.ndarray, rng: np.random.Generator, sd: float = 0.05) -> np.ndarray:
    """Errors [s, k] about a curve, with a part that a seed has in common on all rungs."""
    common = 0.02 * rng.standard_normal((SEEDS, 1))
    return curve * np.exp(sd * rng.standard_normal((SEEDS, len(curve))) + common)


def between(first: np.ndarray, second: np.ndarray) -> Crossing:
    found = crossing(LEVELS, first, second)
    assert found is not None
    return found


def exactly(curve: np.ndarray) -> np.ndarray:
    return np.tile(curve, (SEEDS, 1))


def test_two_power_laws_cross_where_their_formulas_are_equal():
    found = between(exactly(STEEP), exactly(FLAT))
    assert found.is_first_lower
    assert found.at == pytest.approx(TRUE)
    assert found.p_value == 2 / 2**SEEDS
    # Without noise the crossing itself is all that is not rejected.
    assert (found.low, found.high) == pytest.approx((TRUE, TRUE), rel=0.02)
    assert found.ratios[0] == pytest.approx(STEEP[0] / FLAT[0])


def test_to_exchange_the_curves_exchanges_the_roles_alone():
    rng = np.random.default_rng(2)
    one, two = noisy(STEEP, rng), noisy(FLAT, rng)
    first, second = between(one, two), between(two, one)
    assert first.is_first_lower is not second.is_first_lower
    assert first.at == pytest.approx(second.at)
    assert (first.low, first.high, first.p_value) == (second.low, second.high, second.p_value)


def test_a_curve_that_is_lower_everywhere_has_no_crossing():
    found = between(exactly(0.5 * FLAT), exactly(FLAT))
    assert (found.is_first_lower, found.at, found.low, found.high) == (True, None, None, None)


def test_the_last_crossing_counts_where_there_are_two():
    wave = FLAT * np.array([0.9, 1.1, 1.1, 0.9])
    found = between(exactly(wave), exactly(FLAT))
    assert found.at is not None
    assert 400 < found.at < 800


def test_errors_that_are_not_positive_are_compared_by_their_differences():
    found = between(exactly(np.array([2.0, 1.0, 0.0, 0.0])), exactly(np.full(4, 0.5)))
    assert found.at == pytest.approx((200 * 400) ** 0.5)
    assert found.ratios == (None,) * 4


def test_the_order_of_the_seeds_changes_nothing():
    rng = np.random.default_rng(3)
    one, two = noisy(STEEP, rng), noisy(FLAT, rng)
    order = rng.permutation(SEEDS)
    kept, mixed = between(one, two), between(one[order], two[order])
    assert (mixed.low, mixed.high, mixed.p_value) == (kept.low, kept.high, kept.p_value)
    assert mixed.at == pytest.approx(kept.at)
    before, after = (forecast(LEVELS, each, 1600.0) for each in (one, one[order]))
    assert before is not None
    assert after is not None
    assert after.ci == pytest.approx(before.ci)


@pytest.mark.slow
def test_the_interval_holds_the_true_crossing_in_95_of_100_sweeps():
    rng, held, sweeps = np.random.default_rng(4), 0, 200
    flat = 0.35 * X**-0.15  # crosses at 463
    true = (3 / 0.35) ** (1 / 0.35)
    for _ in range(sweeps):
        found = between(noisy(STEEP, rng), noisy(flat, rng))
        held += (found.low or 0.0) <= true <= (found.high or 0.0)
    assert held / sweeps >= 0.95 - 2 * (0.95 * 0.05 / sweeps) ** 0.5


@pytest.mark.slow
def test_equal_arms_are_told_apart_as_rarely_as_the_test_rejects():
    rng, told, sweeps = np.random.default_rng(5), 0, 1000
    for _ in range(sweeps):
        last = noisy(STEEP, rng)[:, -2:], noisy(STEEP, rng)[:, -2:]
        found = crossing(LEVELS[-2:], *last)
        assert found is not None
        told += found.p_value < 0.05  # which every outcome but `cannot tell` asks for
    assert told / sweeps <= 0.05 + 2 * (0.05 * 0.95 / sweeps) ** 0.5


def test_a_power_law_is_forecast_by_its_formula():
    found = forecast(LEVELS, exactly(STEEP), 1600.0)
    assert found is not None
    assert found.value == pytest.approx(3 * 1600**-0.5)
    assert found.exponent == pytest.approx(-0.5)
    assert found.ci == pytest.approx((found.value, found.value))
    assert not found.is_of_seeds_alone


def test_a_curve_that_bends_has_a_wide_interval():
    straight, bent = (forecast(LEVELS, noisy(curve, np.random.default_rng(6)), 1600.0)
                      for curve in (STEEP, STEEP + 0.1))  # fmt: skip
    assert straight is not None
    assert bent is not None
    assert straight.ci is not None
    assert bent.ci is not None
    assert bent.ci[1] / bent.ci[0] > straight.ci[1] / straight.ci[0]


def test_two_rungs_fit_any_law_and_say_so():
    found = forecast(LEVELS[:2], noisy(STEEP[:2], np.random.default_rng(7)), 800.0)
    assert found is not None
    assert found.is_of_seeds_alone
    assert found.ci is not None
    one = forecast(LEVELS[:2], STEEP[None, :2], 800.0)
    assert one is not None
    assert one.ci is None


@pytest.mark.parametrize("count", [3, 4])
def test_what_comes_lies_in_the_interval_in_95_of_100_sweeps(count):
    rng, held, sweeps = np.random.default_rng(8), 0, 600
    for _ in range(sweeps):
        came = noisy(STEEP[:count], rng)
        found = forecast(LEVELS[: count - 1], came[:, :-1], LEVELS[count - 1])
        assert found is not None
        assert found.ci is not None
        held += found.ci[0] <= np.exp(np.log(came[:, -1]).mean()) <= found.ci[1]
    assert held / sweeps >= 0.95 - 2 * (0.95 * 0.05 / sweeps) ** 0.5


def test_one_rung_an_error_of_0_and_no_seed_are_no_forecast_and_no_crossing():
    assert forecast(LEVELS[:1], np.ones((SEEDS, 1)), 1600.0) is None
    assert forecast(LEVELS, np.zeros((SEEDS, 4)), 1600.0) is None
    assert forecast(LEVELS, np.ones((0, 4)), 1600.0) is None
    assert crossing(LEVELS[:1], np.ones((SEEDS, 1)), np.ones((SEEDS, 1))) is None
    assert crossing(LEVELS, np.ones((0, 4)), np.ones((0, 4))) is None
