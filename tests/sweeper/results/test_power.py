"""Power: closed forms, the answers of SciPy, and simulated experiments."""

import math

import numpy as np
import pytest
from scipy import stats

from sweeper.results.power import (
    detectable_difference,
    detectable_effect,
    sign_flip_power,
    smallest_corrected_p,
    t_power,
)
from sweeper.results.statistics import sign_flip


@pytest.mark.parametrize("pairs", [6, 8, 10])
def test_without_a_difference_the_power_is_at_most_the_level(pairs):
    assert sign_flip_power(0.0, pairs, 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)
    assert t_power(0.0, pairs, 0.05) == pytest.approx(0.05)


def test_six_pairs_are_significant_only_if_all_have_one_sign():
    effect = 1.2
    all_one_sign = stats.norm.cdf(effect) ** 6 + stats.norm.cdf(-effect) ** 6
    assert sign_flip_power(effect, 6, 0.05) == pytest.approx(all_one_sign, abs=0.03)
    exact = stats.norm.ppf(0.8 ** (1 / 6))
    assert detectable_effect(6, 0.05) == pytest.approx(exact, rel=0.03)


def test_the_simulated_power_is_that_of_the_test():
    effect, pairs, rng = 1.1, 8, np.random.default_rng(1)
    found = [sign_flip(rng.normal(effect, 1, pairs)) for _ in range(800)]
    share = np.mean([test.p_value < 0.05 for test in found])
    assert sign_flip_power(effect, pairs, 0.05) == pytest.approx(share, abs=0.05)


def test_the_t_approximation_is_the_power_of_the_t_test():
    effect, pairs, rng = 0.8, 12, np.random.default_rng(1)
    drawn = rng.normal(effect, 1, (20_000, pairs))
    share = np.mean(stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05)
    assert t_power(effect, pairs, 0.05) == pytest.approx(share, abs=0.01)


def test_both_agree_where_one_takes_over():
    by_t = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert detectable_effect(10_000, 0.05) == pytest.approx(by_t / 100, rel=0.01)
    for_ten, for_eleven = detectable_effect(10, 0.05), detectable_effect(11, 0.05)
    assert for_eleven < for_ten < 1.1 * for_eleven


def test_more_pairs_show_less_and_more_tests_need_more():
    effects = [detectable_effect(n, 0.05) for n in (6, 7, 8, 9, 11, 12, 20, 50)]
    assert effects == sorted(effects, reverse=True)
    assert detectable_effect(8, 0.05 / 3) > detectable_effect(8, 0.05)


@pytest.mark.parametrize(("pairs", "alpha"), [(1, 0.05), (5, 0.05), (8, 0.05 / 10)])
def test_too_few_pairs_show_nothing(pairs, alpha):
    assert detectable_effect(pairs, alpha) is None
    found = detectable_difference(0.1, pairs=pairs, alpha=alpha)
    assert found is not None
    assert found.difference is None


def test_a_difference_is_in_the_unit_of_its_spread():
    found = detectable_difference(0.02, pairs=8, alpha=0.05)
    assert found.difference == pytest.approx(0.02 * detectable_effect(8, 0.05))
    assert found.is_simulated
    assert not detectable_difference(0.02, pairs=30, alpha=0.05).is_simulated
    assert detectable_difference(None, pairs=8, alpha=0.05) is None
    assert detectable_difference(0.0, pairs=8, alpha=0.05).difference == 0


def test_the_smallest_p_of_several_tests_is_corrected():
    assert smallest_corrected_p([6]) == [2 / 2**6]
    assert smallest_corrected_p([8, 8, 8]) == [3 * 2 / 2**8] * 3
    assert smallest_corrected_p([8, 1, 8]) == [2 * 2 / 2**8, 1.0, 2 * 2 / 2**8]  # one is no test
    assert smallest_corrected_p([]) == []
