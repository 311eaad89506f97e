"""Statistics of few seeds. All functions are pure; a seed stands for randomness.

sign-flip test     if two methods were alike, each paired difference d_i could as well be
                   -d_i: p is the share of the 2^n ways to sign them whose mean is at least
                   as far from 0 (Fisher, The Design of Experiments, 1935, section 21).
Holm               the i-th smallest of m p-values times m + 1 - i, kept from falling
                   (Scand. J. Statist. 6, 1979).
bootstrap          percentiles of the means of samples drawn with replacement (Efron, Ann.
                   Statist. 7, 1979); with few values the interval is rather too short.
d_z                mean of the differences over their standard deviation (Cohen, 1988).

Fewer than `FEWEST` values give no interval and no effect size: the percentiles of two values are
these values, whatever the confidence, and d_z of two near differences is of any size.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

FEWEST = 5  # values for an interval or an effect size
MOST_EXACT = 20  # pairs: a million ways to sign them
DRAWS = 100_000  # of signs, beyond
RESAMPLES = 10_000  # of the bootstrap
SEED = 0
ROUNDING = 1e-12  # relative: means that differ by less are equal


@dataclass(frozen=True, kw_only=True)
class PairedDifferences:
    """Values of two methods on the seeds that they share."""

    seeds: tuple[int, ...]
    differences: tuple[float, ...]  # first minus second
    missing: tuple[int, ...]  # seeds that one of them lacks, or has no finite value for


def pair(first: Mapping[int, float], second: Mapping[int, float]) -> PairedDifferences:
    """Pair two methods' finite values by seed."""
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
    """Result of a sign-flip test, two-sided."""

    p_value: float
    flips: int  # that it rests on
    is_exact: bool  # all there are, not a sample of them


def sign_flip(differences: Sequence[float], *, seed: int = SEED) -> SignFlip | None:
    """Test if paired differences are as likely positive as negative; None without any.

    Exact up to `MOST_EXACT` pairs; beyond, `DRAWS` signings are drawn, the observed one counted.

    Raises:
        ValueError: A difference is not finite.
    """
    values = _finite(differences)
    if not len(values):
        return None
    bound = abs(values.sum()) - ROUNDING * np.abs(values).sum()
    if len(values) <= MOST_EXACT:
        sums = np.zeros(1)
        for value in values:
            sums = np.concatenate([sums + value, sums - value])
        share = float(np.mean(np.abs(sums) >= bound))
        return SignFlip(p_value=share, flips=len(sums), is_exact=True)
    generator = np.random.default_rng(seed)
    hits = 1
    for _ in range(DRAWS // 1000):
        signs = generator.choice((-1.0, 1.0), size=(1000, len(values)))
        hits += int(np.sum(np.abs(signs @ values) >= bound))
    return SignFlip(p_value=hits / (DRAWS + 1), flips=DRAWS, is_exact=False)


def bootstrap_interval(
    values: Sequence[float], *, confidence: float = 0.95, seed: int = SEED
) -> tuple[float, float] | None:
    """Return an interval of the mean; None for fewer than `FEWEST` values.

    Raises:
        ValueError: A value is not finite.
    """
    sample = _finite(values)
    if len(sample) < FEWEST:
        return None
    chosen = np.random.default_rng(seed).integers(len(sample), size=(RESAMPLES, len(sample)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(sample[chosen].mean(axis=1), (tail, 1 - tail))
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for being several, in the order given."""
    corrected = [1.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def holm_of_tests(p_values: Sequence[float | None], pairs: Sequence[int]) -> list[float | None]:
    """Return the p-values corrected for those that are of two pairs or more.

    One pair alone can never be significant: it is no test, and costs the others nothing.
    """
    tests = [i for i, n in enumerate(pairs) if n > 1]
    corrected = holm([p for i in tests if (p := p_values[i]) is not None])
    by_index = dict(zip(tests, corrected, strict=True))
    return [by_index.get(i, p) for i, p in enumerate(p_values)]


def standardized(differences: Sequence[float]) -> float | None:
    """Return d_z; None for fewer than `FEWEST` differences.

    It is infinite where all differences are the same and not 0.
    """
    values = _finite(differences)
    if len(values) < FEWEST:
        return None
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    if deviation <= ROUNDING * float(np.abs(values).max()):
        return math.copysign(math.inf, mean) if mean else 0.0
    return mean / deviation


def superiority(differences: Sequence[float]) -> float | None:
    """Return the share of the pairs in which the first is lower, that is better; a tie counts half.

    None for fewer than `FEWEST` pairs.
    """
    values = _finite(differences)
    if len(values) < FEWEST:
        return None
    return float(np.mean((values < 0) + 0.5 * (values == 0)))


def smallest_p(pairs: int) -> float:
    """Return the lowest p that a sign-flip test of so many pairs can reach: 2 / 2^n."""
    return min(1.0, 2.0 ** (1 - pairs))


def fewest_pairs(comparisons: int, alpha: float) -> int:
    """Return the fewest pairs with which one of these comparisons can be significant after Holm."""
    pairs = 1
    while max(comparisons, 1) * smallest_p(pairs) >= alpha:
        pairs += 1
    return pairs


def average_ranks(
    scores: Mapping[str, Mapping[str, float]],
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return each method's mean rank, 1 being the lowest score, and the tasks it is a mean over.

    Equal scores share the mean of their ranks. Only tasks count that every method has.

    Args:
        scores: By task, then by method.
    """
    methods = list(dict.fromkeys(name for row in scores.values() for name in row))
    tasks = tuple(
        task
        for task, row in scores.items()
        if all(math.isfinite(row.get(name, math.nan)) for name in methods)
    )
    if not tasks:
        return {}, ()
    table = [[scores[task][name] for name in methods] for task in tasks]
    means = stats.rankdata(table, axis=1).mean(axis=0)
    return dict(zip(methods, map(float, means), strict=True)), tasks


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Spearman's rho, and the share of re-pairings that are as far from 0."""

    rho: float
    p_value: float
    n: int


def rank_correlation(
    x: Sequence[float], y: Sequence[float], *, seed: int = SEED
) -> RankCorrelation | None:
    """Return the rank correlation of two series; None below three points or where one is constant.

    Raises:
        ValueError: A value is not finite.
    """
    first, second = stats.rankdata(_finite(x)), stats.rankdata(_finite(y))
    if len(first) < 3 or not np.ptp(first) or not np.ptp(second):
        return None
    observed = float(np.corrcoef(first, second)[0, 1])
    generator = np.random.default_rng(seed)
    shuffled = generator.permuted(np.tile(second, (RESAMPLES, 1)), axis=1)
    centred = (first - first.mean()) / (first.std() * len(first))
    others = (shuffled - second.mean()) @ centred / second.std()
    hits = int(np.sum(np.abs(others) >= abs(observed) - ROUNDING))
    return RankCorrelation(rho=observed, p_value=(hits + 1) / (RESAMPLES + 1), n=len(first))


def roughness(curve: Sequence[float]) -> float | None:
    """Return the standard deviation of a curve's successive differences; None below three points.

    0 is a straight line, however steep.
    """
    values = _finite(curve)
    if len(values) < 3:
        return None
    deviation = float(np.diff(values).std(ddof=1))
    return deviation if deviation > ROUNDING * float(np.abs(values).max()) else 0.0


def upward_rms(curve: Sequence[float]) -> float | None:
    """Return the root mean square of a curve's steps, those downward counted as 0.

    None below two points.

    0 is a curve that never rises, however unevenly it falls.
    """
    values = _finite(curve)
    if len(values) < 2:
        return None
    return float(np.sqrt(np.mean(np.maximum(np.diff(values), 0.0) ** 2)))


def _finite(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"every value must be finite, but got {list(values)}.")
    return array
