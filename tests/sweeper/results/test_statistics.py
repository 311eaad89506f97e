"""Statistics: hand-computed cases, SciPy's answers, and what few seeds cannot say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sweeper.results.statistics import (
    MIN_VALUES,
    average_ranks,
    fewest_pairs,
    holm,
    holm_of_tests,
    mean_interval,
    pair,
    rank_correlation,
    roughness,
    sign_flip,
    smallest_p,
    standardized,
    superiority,
    upward_rms,
)

floats = st.floats(-1e3, 1e3, allow_subnormal=False)
samples = st.lists(floats, min_size=2, max_size=9)


def drawn(n: int, seed: int = 0, shift: float = 0.0) -> list[float]:
    return list(np.random.default_rng(seed).normal(shift, 1.0, n))


# Pairs


def test_pairs_are_by_seed_and_what_is_missing_or_not_finite_is_named():
    pairs = pair({1: 0.5, 2: 0.25, 3: 1.0, 4: math.nan}, {2: 0.125, 1: 0.25, 4: 1.0, 5: 0.0})
    assert pairs.seeds == (1, 2)
    assert pairs.differences == (0.25, 0.125)
    assert pairs.missing == (3, 4, 5)


def test_without_a_common_seed_there_is_no_pair():
    assert pair({1: 0.5}, {2: 0.5}).differences == ()


# The sign-flip test


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([0.3], 1.0),  # one pair: either sign is as far from 0
        ([1.0, 2.0], 0.5),  # of +-1 +-2 only +3 and -3
        ([3.0, -1.0], 1.0),  # 2 and -2, 4 and -4: all as far
        ([1.0, 2.0, -0.5], 0.5),  # 2.5; 3.5 and -3.5, -2.5 as well
        ([1.0] * 5, 0.0625),
        ([1.0] * 6, 0.03125),
        ([0.1] * 6, 0.03125),  # sums of 0.1 round
        ([0.0, 0.0, 0.0], 1.0),
        ([0.0, 1.0, 1.0], 0.5),  # a tie says nothing: as for two pairs
        ([1e-300, 1e-300], 0.5),
    ],
)
def test_p_is_the_share_of_signings_as_far_from_zero(differences, p):
    result = sign_flip(differences)
    assert result.p_value == p
    assert result.is_exact


@given(samples)
def test_the_exact_p_is_scipys(differences):
    expected = stats.permutation_test(
        (np.array(differences),), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip(differences).p_value == pytest.approx(expected.pvalue, abs=1e-12)


@given(samples, st.floats(1e-3, 1e3), st.randoms())
def test_p_knows_neither_unit_nor_direction_nor_order(differences, unit, random):
    p = sign_flip([float(round(d)) for d in differences]).p_value
    changed = [-float(round(d)) * 2.0 ** round(math.log2(unit)) for d in differences]
    random.shuffle(changed)
    assert sign_flip(changed).p_value == p


@given(samples)
def test_p_is_never_below_the_smallest_reachable(differences):
    assert smallest_p(len(differences)) <= sign_flip(differences).p_value <= 1


def test_many_pairs_are_sampled_with_a_seed_and_it_is_said():
    differences = drawn(30, shift=0.4)
    result = sign_flip(differences)
    assert not result.is_exact
    assert sign_flip(differences) == result
    expected = stats.permutation_test(
        (np.array(differences),), np.mean, permutation_type="samples",
        n_resamples=100_000, rng=np.random.default_rng(3),
    )  # fmt: skip
    assert result.p_value == pytest.approx(expected.pvalue, abs=0.003)


def test_a_sampled_p_is_never_zero():
    assert sign_flip([1.0 + i / 1000 for i in range(40)]).p_value == 1 / 100_001


def test_twenty_pairs_are_still_exact():
    assert sign_flip([1.0 + i for i in range(20)]).p_value == 2 / 2**20


def test_no_pair_has_no_p():
    assert sign_flip([]) is None


@pytest.mark.parametrize("function", [sign_flip, mean_interval, standardized, superiority])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(function, bad):
    with pytest.raises(ValueError, match="must be finite"):
        function([1.0, bad])


def test_under_the_null_p_is_as_small_as_it_says():
    """Of 400 comparisons of like methods, about one in twenty is below 0.05."""
    ps = [sign_flip(drawn(8, seed)).p_value for seed in range(400)]
    below = sum(p <= 0.05 for p in ps)
    assert 8 <= below <= 34  # 20 expected; 3.2 standard deviations


# What few seeds can say


def test_the_smallest_p_is_two_over_two_to_the_n():
    assert [smallest_p(n) for n in (0, 1, 2, 3, 5, 6)] == [1, 1, 0.5, 0.25, 0.0625, 0.03125]


@pytest.mark.parametrize(("comparisons", "n"), [(0, 6), (1, 6), (2, 7), (3, 7), (4, 8), (28, 11)])
def test_the_fewest_pairs_for_significance(comparisons, n):
    assert fewest_pairs(comparisons, 0.05) == n
    family = max(comparisons, 1)
    assert holm([smallest_p(n)] * family)[0] < 0.05 <= holm([smallest_p(n - 1)] * family)[0]


# Holm


@pytest.mark.parametrize(
    ("raw", "corrected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.03125], [0.03125]),
        ([0.5, 0.5], [1.0, 1.0]),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([0.001, 0.9, 0.013, 0.02], [0.004, 0.9, 0.039, 0.04]),
        ([], []),
    ],
)
def test_holm_by_hand(raw, corrected):
    assert holm(raw) == pytest.approx(corrected)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_no_correction_and_bonferronis_and_keeps_the_order(raw):
    corrected = holm(raw)
    for before, after in zip(raw, corrected, strict=True):
        assert before <= after <= min(1.0, before * len(raw))
    by_raw = sorted(zip(raw, corrected, strict=True))
    assert [after for _, after in by_raw] == sorted(corrected)


# The interval


def rejects(values: list[float], mean: float) -> bool:
    return sign_flip([v - mean for v in values]).p_value < 0.05


@pytest.mark.parametrize("n", [6, 8, 11, 25])
@pytest.mark.parametrize("seed", range(3))
def test_the_interval_has_the_means_that_the_test_does_not_reject(n, seed):
    values = drawn(n, seed)
    low, high = mean_interval(values)
    step = 1e-9 * (high - low)
    for end, outwards in ((low, -step), (high, step)):
        assert rejects(values, end + outwards)
        assert not rejects(values, end - outwards)
    assert not any(rejects(values, m) for m in np.linspace(low + step, high - step, 17))


@given(st.lists(floats, min_size=6, max_size=9))
def test_the_interval_excludes_zero_exactly_if_p_is_below_its_level(values):
    low, high = mean_interval(values)
    # At an end itself rounding decides.
    if min(abs(low), abs(high)) > 1e-9 * max(map(abs, values)):
        assert (low > 0 or high < 0) == (sign_flip(values).p_value < 0.05)


def test_an_interval_that_ends_at_zero_up_to_rounding_agrees_with_the_test():
    values = [0.4, 0.5, 0.7, 0.2, 0.1, 0.6, -0.3, 0.2]
    assert sign_flip(values).p_value == 0.0546875
    assert mean_interval(values)[0] == 0.0
    assert mean_interval([-v for v in values])[1] == 0.0


@given(st.lists(floats, min_size=6, max_size=9), floats)
def test_the_interval_moves_and_turns_with_the_values(values, shift):
    size = max(map(abs, [*values, shift])) or 1.0
    low, high = mean_interval(values)
    assert mean_interval([v + shift for v in values]) == pytest.approx(
        (low + shift, high + shift), abs=1e-9 * size
    )
    assert mean_interval([-v for v in values]) == pytest.approx((-high, -low), abs=1e-12 * size)


def test_of_six_values_the_interval_is_their_range_by_the_pattern_of_one():
    """Level 0.05 keeps the one pair of patterns beside the trivial one: a single value flipped."""
    values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert mean_interval(values) == (0.0, 5.0)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    """Of 600 samples of eight, the bootstrap of percentiles covers 88.9 %."""
    covered = 0
    for seed in range(600):
        low, high = mean_interval(drawn(8, seed))
        covered += low <= 0 <= high
    assert 0.93 <= covered / 600 <= 0.98


def test_equal_values_have_a_point_as_interval():
    assert mean_interval([0.25] * 6) == (0.25, 0.25)


@pytest.mark.parametrize("function", [mean_interval, standardized, superiority])
@pytest.mark.parametrize("n", range(8))
def test_fewer_than_six_values_have_no_interval_and_no_effect_size(function, n):
    """Of 0.01 and 0.0101 the interval would be these two numbers, and d_z 142."""
    assert (function([0.01 + 0.0001 * i for i in range(n)]) is None) == (n < MIN_VALUES)


# Effects


def test_d_z_is_the_mean_in_standard_deviations_of_the_differences():
    assert standardized([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == pytest.approx(3.5 / math.sqrt(3.5))
    differences = drawn(9, shift=0.5)
    t = stats.ttest_1samp(differences, 0.0).statistic
    assert standardized(differences) == pytest.approx(t / 3)


def test_d_z_of_equal_differences():
    assert standardized([0.1] * 7) == math.inf
    assert standardized([-0.1] * 7) == -math.inf
    assert standardized([0.0] * 6) == 0.0


def test_superiority_counts_pairs_in_which_the_first_is_lower():
    assert superiority([-1.0, -2.0, 3.0, 4.0, 0.0, 5.0]) == (2 + 0.5) / 6
    assert superiority([0.0] * 6) == 0.5


# Ranks


def test_average_ranks_by_hand_with_a_tie_and_a_gap():
    scores = {
        "a": {"pare": 0.1, "mona": 0.2, "nft": 0.3},
        "b": {"pare": 0.2, "mona": 0.2, "nft": 0.1},
        "c": {"pare": 0.1, "mona": 0.2},
        "d": {"pare": 0.1, "mona": 0.2, "nft": math.nan},
    }
    ranks, tasks = average_ranks(scores)
    assert tasks == ("a", "b")
    assert ranks == {"pare": (1 + 2.5) / 2, "mona": (2 + 2.5) / 2, "nft": (3 + 1) / 2}


def test_without_a_task_that_all_have_there_is_no_rank():
    assert average_ranks({"a": {"pare": 1.0}, "b": {"mona": 1.0}}) == ({}, ())
    assert average_ranks({}) == ({}, ())


def test_ranks_of_a_task_sum_to_what_they_must():
    scores = {str(i): dict(zip("abcd", drawn(4, i), strict=True)) for i in range(9)}
    ranks, _ = average_ranks(scores)
    assert sum(ranks.values()) == pytest.approx(1 + 2 + 3 + 4)


# Correlation and curves


def test_rank_correlation_is_spearmans():
    x, y = drawn(12), drawn(12, 1)
    y = [a + b for a, b in zip(x, y, strict=True)]
    expected = stats.spearmanr(x, y)
    found = rank_correlation(x, y)
    assert found.rho == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue, abs=0.02)
    assert found == rank_correlation(x, y)


def test_rank_correlation_of_a_few_points_by_counting():
    found = rank_correlation([1.0, 2.0, 3.0, 4.0], [1.0, 8.0, 27.0, 64.0])
    assert found.rho == pytest.approx(1.0)
    assert found.p_value == pytest.approx(2 / 24, abs=0.01)


@pytest.mark.parametrize(("x", "y"), [([1.0, 2.0], [1.0, 2.0]), ([1.0] * 4, [1.0, 2.0, 3.0, 4.0])])
def test_too_few_points_or_a_constant_have_no_correlation(x, y):
    assert rank_correlation(x, y) is None


falling = st.lists(st.floats(0, 1), min_size=2, max_size=20).map(lambda v: sorted(v, reverse=True))


@given(falling)
def test_a_curve_that_only_falls_has_no_rises_however_fast(curve):
    assert upward_rms(curve) == 0.0


def test_a_smooth_curve_may_be_jagged_and_has_no_rises():
    curve = [0.1 + 0.9 * math.exp(-epoch) for epoch in range(10)]
    assert roughness(curve) > 0.1
    assert upward_rms(curve) == 0.0


def test_rises_are_the_root_mean_square_of_steps_upward():
    assert upward_rms([1.0, 2.0, 1.0, 2.0]) == pytest.approx(math.sqrt(2 / 3))
    assert upward_rms([1.0, 0.5, 0.8]) == pytest.approx(math.sqrt(0.3**2 / 2))
    assert upward_rms([0.0, 3.0]) == 3.0
    assert upward_rms([1.0]) is None
    with pytest.raises(ValueError, match="finite"):
        upward_rms([1.0, math.nan])


def test_only_tests_of_two_pairs_or_more_are_corrected_for():
    assert holm_of_tests([0.04, 1.0, 0.03, None], [6, 1, 5, 0]) == [0.06, 1.0, 0.06, None]
    assert holm_of_tests([0.04], [6]) == [0.04]


def test_jaggedness_is_the_deviation_of_successive_differences():
    assert roughness([4.0, 3.0, 2.0, 1.0]) == 0.0
    assert roughness([1.0, 2.0, 1.0, 2.0]) == pytest.approx(math.sqrt(4 / 3))
    assert roughness([1.0, 0.5, 0.5]) == pytest.approx(np.std([-0.5, 0.0], ddof=1))
    assert roughness([1.0, 0.5]) is None
