"""The difference of an effect between tasks in 1D and in 2D.

A permutation test of tasks tells whether there is one. The number of tasks that it needs is that of
simulated tasks, normal with the means and variances that were seen. Ratios of errors enter as
logarithms, and p is not corrected.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import scipy  # which loads its parts when they are used

from sweeper.results.comparison import ALPHA, Effect, GroupGap
from sweeper.results.power import POWER, smallest
from sweeper.results.statistics import ROUNDING, SEED

DRAWS = 1000
MAX_SPLITS = 20_000  # of tasks into two groups
GROUPS = ("1D", "2D")


def gaps_between_dimensions(
    effects: Sequence[Effect], groups: Mapping[str, Sequence[str]]
) -> tuple[GroupGap, ...]:
    """Return the difference of each effect between tasks in 1D and in 2D.

    Args:
        effects: The effects over tasks.
        groups: The groups of each task.

    Returns:
        The differences of the effects that have two tasks or more in each group.
    """
    found = []
    for effect in effects:
        logs = [
            np.log([ratio for task, ratio in effect.ratios.items() if group in groups[task]])
            for group in GROUPS
        ]
        if min(map(len, logs)) > 1:
            lost = any(group in groups[task] for task in effect.below_floor for group in GROUPS)
            found.append(replace(_gap(effect, logs[0], logs[1]), is_below_floor=lost))
    return tuple(found)


def _gap(effect: Effect, first: np.ndarray, second: np.ndarray) -> GroupGap:
    return GroupGap(
        first=effect.first,
        second=effect.second,
        groups=GROUPS,
        tasks=(len(first), len(second)),
        ratios=(math.exp(first.mean()), math.exp(second.mean())),
        draw=effect.draw,
        p_value=_permutation_p(first, second),
        tasks_needed=smallest(
            lambda count: _simulated_power(first, second, count) >= POWER,
        ),
    )


def _permutation_p(first: np.ndarray, second: np.ndarray) -> float:
    """Return the p-value of a permutation test of the difference of two means.

    The test is exact for up to `MAX_SPLITS` splits. Otherwise it draws as many, and also counts
    the observed one.
    """
    # The distance has no sign, so that `greater` is the two-sided test.
    found = scipy.stats.permutation_test(
        (first, second), _distance, vectorized=True, n_resamples=MAX_SPLITS,
        alternative="greater", rng=np.random.default_rng(SEED),
    )  # fmt: skip
    return float(found.pvalue)


def _distance(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
    """Return the distance of two means."""
    return np.asarray(np.abs(first.mean(axis=axis) - second.mean(axis=axis)))


def _simulated_power(first: np.ndarray, second: np.ndarray, count: int) -> float:
    """Return the share of simulated studies in which two groups differ significantly.

    A study has `count` tasks in each group, with normal logarithms of ratios that have the means
    and variances that were seen. Welch's t test compares the groups.
    """
    # A single task in each group shows no variance, so that no test is possible.
    if count < 2:
        return 0.0
    rng = np.random.default_rng(SEED)
    groups = [(float(of.mean()), float(of.var(ddof=1))) for of in (first, second)]
    # Mean and variance of a normal sample are independent, and have known distributions.
    means = [m + np.sqrt(v / count) * rng.standard_normal(DRAWS) for m, v in groups]
    variances = [v * rng.chisquare(count - 1, DRAWS) / (count - 1) for _, v in groups]
    errors, differences = np.stack(variances) / count, np.abs(means[0] - means[1])
    with np.errstate(divide="ignore", invalid="ignore"):  # groups without variance
        # Welch-Satterthwaite for groups of n: (e1 + e2)^2 (n - 1) / (e1^2 + e2^2).
        freedom = errors.sum(axis=0) ** 2 * (count - 1) / (errors**2).sum(axis=0)
        p_values = 2 * scipy.stats.t.sf(differences / np.sqrt(errors.sum(axis=0)), freedom)
    # Groups without any variance have no t: every difference tells them apart.
    is_told = np.where(errors.sum(axis=0) > 0, p_values < ALPHA, differences > ROUNDING)
    return float(np.mean(is_told))
