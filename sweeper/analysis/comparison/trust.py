"""The trust in a conclusion over tasks: what fewer, more or other tasks would have told.

Tasks are drawn with replacement from those of a comparison, k at a time. The share of draws with
the same winner estimates how often a study of k such tasks would have said so. A drawn task that is
drawn twice is no second piece of evidence for a test: the share of studies with a significant
difference, and the number of tasks that it needs, are those of simulated tasks, normal with the
mean and variance that were seen. Ratios of errors enter as logarithms, and p is not corrected.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product

import numpy as np
import scipy  # which loads its parts when they are used

from sweeper.analysis.comparison.comparison import (
    ALPHA,
    Effect,
    GroupGap,
    PairTrust,
    TaskComparison,
    Trust,
)
from sweeper.analysis.power import POWER, detectable_effect
from sweeper.analysis.statistics import ROUNDING, SEED

COUNTS = (4, 8, 18)  # tasks: as many as in small studies, of PDEBench, and of both benchmarks
FEWEST_TASKS = 3
DRAWS = 1000
MOST_PATTERNS = 2000  # of signs; if there are more, as many random ones
MOST_SPLITS = 20_000  # of tasks into two groups
MOST_TASKS = 1000  # that a difference may need
GROUPS = ("1D", "2D")


def trust_in(
    tasks: Sequence[TaskComparison], effects: Sequence[Effect], labels: Sequence[str]
) -> Trust | None:
    """Return how often draws of tasks have the same winner and the same verdicts.

    Args:
        tasks: All tasks of a comparison.
        effects: The effects over these tasks.
        labels: The methods.

    Returns:
        The shares, or None if there are fewer than `FEWEST_TASKS` tasks with values.
    """
    rows = [row for task in tasks if not task.incomparable and (row := _means(task, labels))]
    pairs = tuple(_pair(each) for each in effects if len(each.ratios) >= FEWEST_TASKS)
    winner, same = None, {}
    if len(rows) >= FEWEST_TASKS and len(labels) > 1:
        ranks = scipy.stats.rankdata(np.array(rows), axis=1)
        best = int(np.argmin(ranks.mean(axis=0)))
        winner = labels[best]
        same = {k: _share_of_wins(ranks, best, k) for k in COUNTS}
    if winner is None and not pairs:
        return None
    return Trust(tasks=len(rows), winner=winner, same_winner=same, pairs=pairs)


def _means(task: TaskComparison, labels: Sequence[str]) -> list[float] | None:
    """Return the mean of each method on a task; None if one has no finite mean."""
    found = {entry.label: entry.mean for entry in task.entries}
    means = [found.get(label) for label in labels]
    known = [mean for mean in means if mean is not None and math.isfinite(mean)]
    return known if len(known) == len(means) else None


def _share_of_wins(ranks: np.ndarray, best: int, k: int) -> float:
    """Return the share of draws of k tasks in which a method has the best average rank.

    A method that shares the best rank with others counts by its part.

    Args:
        ranks: [tasks, methods].
        best: The method.
        k: The number of tasks of a draw.
    """
    means = ranks[_drawn(len(ranks), k)].mean(axis=1)  # [draws, methods]
    is_best = means <= means.min(axis=1, keepdims=True) + ROUNDING
    return float(np.mean(is_best[:, best] / is_best.sum(axis=1)))


def _drawn(num_tasks: int, k: int) -> np.ndarray:
    """Return the tasks of each draw, [draws, k]."""
    return np.random.default_rng(SEED).integers(num_tasks, size=(DRAWS, k))


def _pair(effect: Effect) -> PairTrust:
    logs = np.log(np.array([*effect.ratios.values()]))
    whole = _verdicts(logs[None])[0]
    significant, same = {}, {}
    for k in COUNTS:
        verdicts = _verdicts(_simulated(logs, k))
        is_as_seen = (verdicts != 0) & (verdicts == np.sign(logs.mean()))
        significant[k] = float(np.mean(is_as_seen))
        same[k] = float(np.mean(verdicts == whole))
    return PairTrust(
        first=effect.first,
        second=effect.second,
        significant=significant,
        same_verdict=same,
        tasks_needed=_tasks_needed(logs),
    )


def _simulated(logs: np.ndarray, k: int) -> np.ndarray:
    """Return normal values with the mean and variance of others, [draws, k]."""
    drawn = np.random.default_rng(SEED).standard_normal((DRAWS, k))
    values: np.ndarray = logs.mean() + logs.std(ddof=1) * drawn
    return values


def _verdicts(logs: np.ndarray) -> np.ndarray:
    """Return -1, 0 or 1 for each row: significantly below 0, cannot be told, or above 0.

    Args:
        logs: Logarithms of ratios, [draws, k].
    """
    k = logs.shape[1]
    if 2 ** (k - 1) <= MOST_PATTERNS:  # a pattern and its opposite have sums of equal size
        signs = np.array([(1.0, *rest) for rest in product((1.0, -1.0), repeat=k - 1)])
    else:
        signs = np.random.default_rng(SEED).choice((-1.0, 1.0), size=(MOST_PATTERNS, k))
        signs[0] = 1.0  # the observed one
    sums = np.abs(logs @ signs.T)
    tolerance = ROUNDING * np.abs(logs).sum(axis=1, keepdims=True)
    p_values = np.mean(sums >= sums[:, :1] - tolerance, axis=1)
    verdicts: np.ndarray = np.sign(logs.mean(axis=1)) * (p_values < ALPHA)
    return verdicts


def _tasks_needed(logs: np.ndarray) -> int | None:
    """Return the number of tasks that would show a mean of this size with a power of 80 %."""
    spread, size = float(logs.std(ddof=1)), abs(float(logs.mean()))
    if size <= ROUNDING:
        return None

    def is_enough(count: int) -> bool:
        effect = detectable_effect(count, ALPHA)
        return effect is not None and effect * spread <= size

    return _smallest(is_enough)


def _smallest(is_enough: Callable[[int], bool]) -> int | None:
    """Return the smallest number of tasks that is enough, or None above `MOST_TASKS`."""
    if not is_enough(MOST_TASKS):
        return None
    low, high = 1, MOST_TASKS  # low is not enough, high is
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


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
            found.append(_gap(effect, logs[0], logs[1]))
    return tuple(found)


def _gap(effect: Effect, first: np.ndarray, second: np.ndarray) -> GroupGap:
    return GroupGap(
        first=effect.first,
        second=effect.second,
        groups=GROUPS,
        tasks=(len(first), len(second)),
        ratios=(math.exp(first.mean()), math.exp(second.mean())),
        p_value=_permutation_p(first, second),
        tasks_needed=_smallest(
            lambda count: _simulated_power(first, second, count) >= POWER,
        ),
    )


def _permutation_p(first: np.ndarray, second: np.ndarray) -> float:
    """Return the p-value of a permutation test of the difference of two means.

    The test is exact for up to `MOST_SPLITS` splits. Otherwise it draws as many, and also counts
    the observed one.
    """
    whole, size = np.concatenate([first, second]), len(first)
    if math.comb(len(whole), size) <= MOST_SPLITS:
        chosen = np.array([*combinations(range(len(whole)), size)])
        sums = whole[chosen].sum(axis=1)
    else:
        rows = np.tile(whole, (MOST_SPLITS, 1))
        rows[1:] = np.random.default_rng(SEED).permuted(rows[1:], axis=1)
        sums = rows[:, :size].sum(axis=1)
    # The difference of the means is a multiple of the sum's distance from its expectation.
    distances = np.abs(sums - size * whole.mean())
    return float(np.mean(distances >= distances[0] - ROUNDING * np.abs(whole).sum()))


def _simulated_power(first: np.ndarray, second: np.ndarray, count: int) -> float:
    """Return the share of simulated studies in which two groups differ significantly.

    A study has `count` tasks in each group, with normal logarithms of ratios that have the means
    and variances that were seen. Welch's t test compares the groups.
    """
    if count < 2:
        return 0.0
    rng = np.random.default_rng(SEED)
    groups = [(float(of.mean()), float(of.var(ddof=1))) for of in (first, second)]
    # Mean and variance of a normal sample are independent, and have known distributions.
    means = [m + np.sqrt(v / count) * rng.standard_normal(DRAWS) for m, v in groups]
    variances = [v * rng.chisquare(count - 1, DRAWS) / (count - 1) for _, v in groups]
    errors, differences = np.stack(variances) / count, np.abs(means[0] - means[1])
    with np.errstate(divide="ignore", invalid="ignore"):  # groups without variance
        freedom = errors.sum(axis=0) ** 2 * (count - 1) / (errors**2).sum(axis=0)
        p_values = 2 * scipy.stats.t.sf(differences / np.sqrt(errors.sum(axis=0)), freedom)
    is_told = np.where(errors.sum(axis=0) > 0, p_values < ALPHA, differences > ROUNDING)
    return float(np.mean(is_told))
