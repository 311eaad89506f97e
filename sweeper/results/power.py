"""The difference that a number of paired seeds can show.

The detectable difference is the smallest true difference, in standard deviations of the paired
differences, that a two-sided test finds with 80 % power. The differences are assumed normal.

    n <= 12   power of the exact sign-flip test, by simulation with common random numbers
    n > 12    power of the t test: P(|T| > t_{1 - alpha/2, n - 1}), where T has a noncentral t
              distribution with noncentrality d sqrt(n) (Cohen, Statistical Power Analysis, 1988,
              section 2.5). The sign-flip test approaches it (Lehmann and Romano, Testing
              Statistical Hypotheses, 2005, section 15.2).
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import scipy  # which loads its parts when they are used

from sweeper.results.statistics import ROUNDING, SEED, holm_of_tests, smallest_p

POWER = 0.8
MAX_SIMULATED = 12  # pairs, which have 2048 sign patterns up to a common sign
# The standard error of a simulated power of 80 % is below one percent then.
SIMULATIONS = 2000
MAX_EFFECT = 10.0  # standard deviations, of few pairs
MIN_SPREAD = 3  # pairs whose spread says anything about others
MAX_PAIRS = 1000  # that a difference may need


@dataclass(frozen=True, kw_only=True)
class Detectable:
    """The difference that n pairs could have shown."""

    pairs: int
    alpha: float  # level of the test; below 0.05 if several tests are corrected
    difference: float | None  # None: no difference, however large
    is_simulated: bool  # of the exact sign-flip test; False: by the t approximation
    power: float = POWER


def detectable_difference(spread: float | None, *, pairs: int, alpha: float) -> Detectable | None:
    """Return the difference that a test of n pairs could have shown.

    Args:
        spread: The standard deviation of the paired differences; None if it is not known.
        pairs: n.
        alpha: The level of the two-sided test.

    Returns:
        The difference, or None without a spread.
    """
    if spread is None or not math.isfinite(spread):
        return None
    effect = detectable_effect(pairs, alpha)
    return Detectable(
        pairs=pairs,
        alpha=alpha,
        difference=None if effect is None else effect * spread,
        is_simulated=pairs <= MAX_SIMULATED,
    )


@lru_cache(maxsize=256)
def detectable_effect(pairs: int, alpha: float) -> float | None:
    """Return the detectable difference in standard deviations; None if no p can be below alpha."""
    if pairs < 2 or smallest_p(pairs) >= alpha:
        return None
    if pairs <= MAX_SIMULATED:
        power_at, largest = sign_flip_power, MAX_EFFECT
    else:  # where the power is almost 1
        bound = float(scipy.stats.t.ppf(1 - alpha / 2, pairs - 1))
        power_at, largest = t_power, (2 * bound + 5) / math.sqrt(pairs)
    # The root is bracketed: at 0 the power is about alpha, and at the largest effect nearly 1.
    return float(
        scipy.optimize.brentq(
            lambda d: power_at(d, pairs, alpha) - POWER, 0.0, largest, xtol=1e-4, rtol=1e-4
        )
    )


def pairs_needed(differences: Sequence[float], alpha: float) -> int | None:
    """Return how many pairs would show the mean difference, at the spread seen.

    Returns:
        The number, or None if fewer than `MIN_SPREAD` differences are given, if their mean is 0, or
        if more than `MAX_PAIRS` would be needed.
    """
    if len(differences) < MIN_SPREAD:
        return None
    spread, size = float(np.std(differences, ddof=1)), abs(float(np.mean(differences)))
    if size <= ROUNDING:
        return None

    def is_enough(count: int) -> bool:
        effect = detectable_effect(count, alpha)
        return effect is not None and effect * spread <= size

    return smallest(is_enough)


def smallest(is_enough: Callable[[int], bool]) -> int | None:
    """Return the smallest number that is enough, or None above `MAX_PAIRS`."""
    # More pairs are taken to have more power, so that bisection finds the least number.
    found = bisect_left(range(1, MAX_PAIRS + 1), True, key=is_enough)
    return found + 1 if found < MAX_PAIRS else None


def t_power(effect: float, pairs: int, alpha: float) -> float:
    """Return the power of a two-sided t test of n paired differences.

    Args:
        effect: The true difference in standard deviations.
        pairs: n.
        alpha: The level of the test.
    """
    freedom, shift = pairs - 1, effect * math.sqrt(pairs)
    bound = scipy.stats.t.ppf(1 - alpha / 2, freedom)
    # Not a number where it is far below 1e-16.
    wrong_side = scipy.stats.nct.cdf(-bound, freedom, shift)
    return float(scipy.stats.nct.sf(bound, freedom, shift) + np.nan_to_num(wrong_side))


def sign_flip_power(effect: float, pairs: int, alpha: float) -> float:
    """Return the power of the exact two-sided sign-flip test, by simulation.

    The random numbers are the same for each effect. For the arguments see `t_power`.
    """
    noise_sums, sign_sums = _patterns(pairs)
    # The sum of s_i (z_i + d) is sum s_i z_i + d sum s_i. Pattern 0 has no negative sign.
    sums = np.abs(noise_sums + effect * sign_sums)
    p_values = np.mean(sums >= sums[:, :1] * (1 - ROUNDING), axis=1)
    return float(np.mean(p_values < alpha))


# The sums of 12 pairs take 33 MB, so that few are kept.
@lru_cache(maxsize=2)
def _patterns(pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of standard normal noise under each sign pattern, and those of the signs.

    A pattern and its opposite have sums of equal size, so one of the two is enough.

    Returns:
        [simulations, 2^(pairs - 1)] and [2^(pairs - 1)].
    """
    signs = np.array([(1.0, *rest) for rest in product((1.0, -1.0), repeat=pairs - 1)])
    # All effects share one set of noise, so that the power has no random jumps at its root.
    noise = np.random.default_rng(SEED).normal(size=(SIMULATIONS, pairs))
    return noise @ signs.T, signs.sum(axis=1)


def smallest_corrected_p(pairs: Sequence[int]) -> list[float]:
    """Return the smallest p that each of several tests can have together after Holm's correction.

    Args:
        pairs: The number of pairs of each test.
    """
    p_values = holm_of_tests([smallest_p(n) for n in pairs], pairs)
    return [p for p in p_values if p is not None]
