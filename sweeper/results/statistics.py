"""Statistics of few seeds. All functions are pure: random draws depend on an explicit seed.

sign-flip test     if two methods were equal, each paired difference d_i could as well be
                   -d_i. p is the share of the 2^n sign patterns with a mean at least as far
                   from 0 (Fisher, The Design of Experiments, 1935, section 21).
Holm               the i-th smallest of m p-values times m + 1 - i, made monotonic by a running
                   maximum (Scand. J. Statist. 6, 1979).
interval           all means m for which the sign-flip test of the values less m does not reject
                   (Lehmann and Romano, Testing Statistical Hypotheses, 2005, section 5.12). So
                   it excludes 0 exactly if p is below 0.05.
d_z                mean of the differences divided by their standard deviation (Cohen, 1988).

Fewer than `MIN_VALUES` values give no interval and no effect size: the test of five pairs rejects
no mean at 0.05, and d_z of two similar differences can have any size.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # which loads its parts when they are used

LEVEL = 0.05  # of the test that an interval belongs to
MIN_VALUES = 6  # values for an interval or an effect size
MAX_EXACT = 20  # pairs, which have a million sign patterns
DRAWS = 100_000  # sign patterns for more pairs
BLOCK = 1000  # sign patterns that are drawn at once
RESAMPLES = 10_000  # of permutations
SEED = 0
ROUNDING = 1e-12  # relative: means that differ by less are equal

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class PairedDifferences:
    """Differences of two methods on their common seeds."""

    seeds: tuple[int, ...]
    differences: tuple[float, ...]  # first minus second
    missing: tuple[int, ...]  # seeds without two finite values


def pair(first: Mapping[int, float], second: Mapping[int, float]) -> PairedDifferences:
    """Pair the finite values of two methods by seed."""
    everything = sorted({*first, *second})
    seeds = [
        s for s in everything if all(math.isfinite(v.get(s, math.nan)) for v in (first, second))
    ]
    return PairedDifferences(
        seeds=tuple(seeds),
        differences=tuple(first[seed] - second[seed] for seed in seeds),
        missing=tuple(seed for seed in everything if seed not in seeds),
    )


@dataclass(frozen=True, kw_only=True)
class SignFlip:
    """The result of a two-sided sign-flip test."""

    p_value: float
    is_exact: bool  # all patterns were enumerated


def sign_flip(differences: Sequence[float]) -> SignFlip | None:
    """Test whether paired differences are symmetric about 0; return None without differences.

    The test is exact up to `MAX_EXACT` pairs. For more pairs it draws `DRAWS` sign patterns, and
    also counts the observed one.

    Raises:
        ValueError: A difference is not finite.
    """
    values = _finite(differences)
    if not len(values):
        return None
    # Sums replace means. The tolerance counts patterns that are equal up to rounding.
    bound = abs(values.sum()) - ROUNDING * np.abs(values).sum()
    if len(values) <= MAX_EXACT:
        sums = np.zeros(1)
        # Each value doubles the list, up to the sums of all 2^n sign patterns.
        for value in values:
            sums = np.concatenate([sums + value, sums - value])
        share = float(np.mean(np.abs(sums) >= bound))
        return SignFlip(p_value=share, is_exact=True)
    generator = np.random.default_rng(SEED)
    # The observed pattern counts, too: without it p could be 0, and would reject too often.
    hits = 1
    for _ in range(DRAWS // BLOCK):
        signs = generator.choice((-1.0, 1.0), size=(BLOCK, len(values)))
        hits += int(np.sum(np.abs(signs @ values) >= bound))
    return SignFlip(p_value=hits / (DRAWS + 1), is_exact=False)


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Return the means that the sign-flip test does not reject at `LEVEL`.

    Flipping a part A of the values v - m reaches the observed mean exactly if m lies between the
    mean of A and the mean of the other values. So each sign pattern has an interval, and p of m is
    the share of patterns whose interval has m. The ends are order statistics of those intervals.

    Returns:
        The ends, or None if the values are too few: no mean can be rejected.

    Raises:
        ValueError: A value is not finite.
    """
    finite = _finite(values)
    n = len(finite)
    if smallest_p(n) >= LEVEL:
        return None
    sums, sizes = _parts(finite) if n <= MAX_EXACT else _drawn_parts(finite)
    inside, outside = sums / sizes, (finite.sum() - sums) / (n - sizes)
    lows, highs = np.minimum(inside, outside), np.maximum(inside, outside)
    # A part and its complement have one interval, so half of the patterns are enough. The pattern
    # that flips nothing has every mean in its interval.
    total = 2 ** (n - 1) if n <= MAX_EXACT else DRAWS + 1
    kept = math.ceil(LEVEL * total - ROUNDING) - (total - len(sums))
    low = np.partition(lows, kept - 1)[kept - 1]
    high = np.partition(highs, -kept)[-kept]
    # An end that is 0 up to rounding is 0, as the test counts it, so that both decide alike.
    zero = ROUNDING * np.abs(finite).max()
    return float(low if abs(low) > zero else 0.0), float(high if abs(high) > zero else 0.0)


def _parts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum and the size of each part without the last value that is not empty."""
    sums, sizes = np.zeros(1), np.zeros(1, dtype=np.int64)
    for value in values[:-1]:
        sums = np.concatenate([sums, sums + value])
        sizes = np.concatenate([sizes, sizes + 1])
    return sums[1:], sizes[1:]


def _drawn_parts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum and the size of the parts that `sign_flip` flips."""
    # The draws are those of `sign_flip`, so that interval and p agree.
    rng = np.random.default_rng(SEED)
    found = []
    for _ in range(DRAWS // BLOCK):
        is_flipped = rng.choice((-1.0, 1.0), size=(BLOCK, len(values))) < 0
        found.append((is_flipped @ values, is_flipped.sum(axis=1)))
    sums, sizes = (np.concatenate(each) for each in zip(*found, strict=True))
    # An empty part, or a whole one, leaves no second mean: `mean_interval` counts it apart.
    is_part = (sizes > 0) & (sizes < len(values))
    return sums[is_part], sizes[is_part]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values with Holm's correction, in the given order."""
    corrected = [1.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def holm_of_tests(p_values: Sequence[float | None], pairs: Sequence[int]) -> list[float | None]:
    """Return p-values with Holm's correction for the tests of at least two pairs.

    A single pair can never be significant. It is not a test, so it does not enter the correction.
    """
    tests = [i for i, n in enumerate(pairs) if n > 1]
    corrected = holm([p for i in tests if (p := p_values[i]) is not None])
    by_index = dict(zip(tests, corrected, strict=True))
    return [by_index.get(i, p) for i, p in enumerate(p_values)]


def standardized(differences: Sequence[float]) -> float | None:
    """Return d_z; None for fewer than `MIN_VALUES` differences.

    d_z is infinite if all differences are equal and not 0.
    """
    values = _finite(differences)
    if len(values) < MIN_VALUES:
        return None
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    # The deviation of equal differences is rounding alone, and says nothing as a divisor.
    if deviation <= ROUNDING * float(np.abs(values).max()):
        return math.copysign(math.inf, mean) if mean else 0.0
    return mean / deviation


def superiority(differences: Sequence[float]) -> float | None:
    """Return the share of pairs with a lower first value, where a tie counts half.

    The result is None for fewer than `MIN_VALUES` pairs.
    """
    values = _finite(differences)
    if len(values) < MIN_VALUES:
        return None
    return float(np.mean((values < 0) + 0.5 * (values == 0)))


def smallest_p(pairs: int) -> float:
    """Return the lowest p that a sign-flip test of n pairs can reach: 2 / 2^n."""
    # The observed pattern and its opposite are equally far from 0, so that two always count.
    return min(1.0, 2.0 ** (1 - pairs))


def fewest_pairs(comparisons: int, alpha: float) -> int:
    """Return the fewest pairs with which one of `comparisons` can be significant after Holm."""
    pairs = 1
    while max(comparisons, 1) * smallest_p(pairs) >= alpha:
        pairs += 1
    return pairs


def average_ranks(
    scores: Mapping[str, Mapping[str, float]],
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the mean rank of each method, and the ranked tasks.

    The lowest score has rank 1. Equal scores share the mean of their ranks. A task is ranked only
    if every method has a finite score on it.

    Args:
        scores: Task -> method -> score.
    """
    methods = list(dict.fromkeys(name for row in scores.values() for name in row))
    # Ranks among fewer methods are lower, so that a task that lacks one would distort the mean.
    tasks = tuple(
        task
        for task, row in scores.items()
        if all(math.isfinite(row.get(name, math.nan)) for name in methods)
    )
    if not tasks:
        return {}, ()
    table = np.array([[scores[task][name] for name in methods] for task in tasks])
    # SciPy's `rankdata` without its import, which every sweep would pay for.
    mine, others = table[:, :, None], table[:, None, :]
    ranks = (others < mine).sum(axis=-1) + ((others == mine).sum(axis=-1) + 1) / 2
    means = ranks.mean(axis=0)
    return dict(zip(methods, map(float, means), strict=True)), tasks


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Spearman's rho, and the share of permutations with a rho at least as far from 0."""

    rho: float
    p_value: float
    n: int


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> RankCorrelation | None:
    """Return the rank correlation of two series.

    The result is None for fewer than three points, or if a series is constant.

    Raises:
        ValueError: A value is not finite.
    """
    first, second = scipy.stats.rankdata(_finite(x)), scipy.stats.rankdata(_finite(y))
    if len(first) < 3 or not np.ptp(first) or not np.ptp(second):
        return None
    # The usual approximation of p is for many points, and these are few: p is counted instead.
    observed = float(np.corrcoef(first, second)[0, 1])
    generator = np.random.default_rng(SEED)
    shuffled = generator.permuted(np.tile(second, (RESAMPLES, 1)), axis=1)
    # The correlations of all permutations are one product of a matrix and a vector.
    centred = (first - first.mean()) / (first.std() * len(first))
    others = (shuffled - second.mean()) @ centred / second.std()
    hits = int(np.sum(np.abs(others) >= abs(observed) - ROUNDING))
    return RankCorrelation(rho=observed, p_value=(hits + 1) / (RESAMPLES + 1), n=len(first))


def roughness(curve: Sequence[float]) -> float | None:
    """Return the standard deviation of a curve's successive differences.

    A straight line has 0, whatever its slope. The result is None for fewer than three points.
    """
    values = _finite(curve)
    if len(values) < 3:
        return None
    deviation = float(np.diff(values).std(ddof=1))
    # The steps of a straight line are equal up to rounding alone.
    return deviation if deviation > ROUNDING * float(np.abs(values).max()) else 0.0


def upward_rms(curve: Sequence[float]) -> float | None:
    """Return the root mean square of a curve's steps, with 0 for each downward step.

    A curve that never rises has 0. The result is None for fewer than two points.
    """
    values = _finite(curve)
    if len(values) < 2:
        return None
    # A fast and smooth fall is not unstable, so that steps downward do not count.
    return float(np.sqrt(np.mean(np.maximum(np.diff(values), 0.0) ** 2)))


def _finite(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"every value must be finite, but got {list(values)}.")
    return array
