"""The crossing of two curves and the forecast of a curve, as functions of errors alone.

All functions are pure. Errors are tables [s, k] of s seeds, in any order, at k levels, ascending.

crossing    d_s(x) is the difference of two curves at a seed, on a line in log x between rungs: of
            logarithms of errors, or of errors if one is not positive. The curve that is lower on
            the largest rung passes the other at the largest x at which the mean of d is 0. Its
            interval has all x at which a sign-flip test of d_s(x), which flips whole seeds, does
            not reject 0. So at the true crossing it errs as often as the test, at most 1 in 20. An
            end that lies below the smallest rung is open.
forecast    log e_s = a_s + b_s log x is fitted to the smaller rungs of each seed, and read at the
            largest: f_s = sum_k w_k log e_sk. With S seeds whose errors scatter alike on each
            rung, the mean of what comes differs from the mean of f_s by a variance of
            var(f) (1 + 1 / sum_k w_k^2) / S, with S - 1 degrees of freedom. From three rungs on
            the means also show how well a power law fits: their residuals, with k - 2 degrees of
            freedom, give a second interval, and the wider one is told. Two rungs fit any power
            law, so that theirs is of the seeds alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # which loads its parts when they are used

from sweeper.results.statistics import LEVEL, Interval, sign_flip

STEPS = 60  # sizes from one rung to the next at which a crossing is tested
MIN_RUNGS = 2  # of a crossing, and below the forecast one


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """The size from which the curve that ends lower is the lower one."""

    is_first_lower: bool  # on the largest rung
    p_value: float  # of the difference there
    at: float | None  # None: it is the lower one on all rungs
    low: float | None  # end of the interval; None: below the smallest rung
    high: float | None  # None: no size has an interval that holds 0
    ratios: tuple[float | None, ...]  # of the errors on each rung, first to second


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The error on the largest rung by the power law of the smaller ones."""

    level: float
    value: float  # geometric mean over seeds
    ci: Interval | None  # None: one seed and two rungs show no scatter
    exponent: float  # of the size, negative if errors fall
    rungs: int
    seeds: int
    came: float | None = None  # geometric mean over the same seeds; None: no value yet
    absent: int = 0  # of these seeds, without a value on the largest rung

    @property
    def is_of_seeds_alone(self) -> bool:
        """True if two rungs fit any power law, so that the interval does not test it."""
        return self.rungs == MIN_RUNGS

    @property
    def is_met(self) -> bool | None:
        """True if what came lies in the interval; None if that is unknown, or a seed is absent."""
        if self.came is None or self.ci is None or self.absent:
            return None
        return self.ci[0] <= self.came <= self.ci[1]


def crossing(levels: Sequence[float], first: np.ndarray, second: np.ndarray) -> Crossing | None:
    """Return where two curves cross; None for fewer than two rungs, or without seeds.

    Args:
        levels: [k], ascending.
        first: Errors [s, k] of the first curve.
        second: Those of the second, of the same seeds.
    """
    if len(levels) < MIN_RUNGS or not len(first):
        return None
    is_positive = bool((first > 0).all() and (second > 0).all())
    differences = np.log(first) - np.log(second) if is_positive else first - second
    test = sign_flip(differences[:, -1].tolist())
    assert test is not None
    means = differences.mean(axis=0)
    is_first_lower = bool(means[-1] < 0)
    x = np.log(np.asarray(levels, dtype=float))
    at = _last_zero(x, means if is_first_lower else -means)
    low, high = _interval(x, differences, at)
    return Crossing(
        is_first_lower=is_first_lower,
        p_value=test.p_value,
        at=at,
        low=low,
        high=high,
        ratios=tuple(float(math.exp(mean)) if is_positive else None for mean in means),
    )


def _last_zero(x: np.ndarray, means: np.ndarray) -> float | None:
    """Return the size at which differences [k] become negative for good; None if all are."""
    # Curves may cross several times: the order stays only after the last crossing.
    above = np.flatnonzero(means >= 0)
    if not len(above):
        return None
    if (k := int(above[-1])) == len(x) - 1:  # equal curves
        return float(math.exp(x[-1]))
    share = means[k] / (means[k] - means[k + 1])
    return float(math.exp(x[k] + share * (x[k + 1] - x[k])))


def _interval(
    x: np.ndarray, differences: np.ndarray, at: float | None
) -> tuple[float | None, float | None]:
    """Return the ends of the sizes at which a difference of 0 is not rejected.

    Each end is the next tested size, at which it is rejected.
    """
    rungs = np.arange(len(x), dtype=float)
    places = np.linspace(0, len(x) - 1, STEPS * (len(x) - 1) + 1)  # 1.5 is halfway past rung 1
    crossed = math.nan
    if at is not None:  # noise may be smaller than a step
        crossed = float(np.interp(math.log(at), x, rungs))
        places = np.sort(np.append(places, crossed))
    # The differences [s, places] of each seed lie on lines between its rungs.
    lines = np.array([np.interp(places, rungs, row) for row in differences])
    tests = [sign_flip(column) for column in lines.T.tolist()]
    # Where the mean is 0, p is 1; rounding may make it another number.
    kept = [
        i
        for i, (place, test) in enumerate(zip(places, tests, strict=True))
        if place == crossed or (test is not None and test.p_value >= LEVEL)
    ]
    if not kept:
        return None, None
    ends = (kept[0] - 1, min(kept[-1] + 1, len(places) - 1))
    low, high = (float(math.exp(np.interp(places[end], rungs, x))) for end in ends)
    return (low if kept[0] > 0 else None), high


def forecast(levels: Sequence[float], errors: np.ndarray, level: float) -> Forecast | None:
    """Return the forecast of a larger rung; None for fewer than two rungs, or an error of 0.

    Args:
        levels: [k] of the smaller rungs, ascending.
        errors: [s, k].
        level: The size to forecast.
    """
    if len(levels) < MIN_RUNGS or not len(errors) or not (errors > 0).all():
        return None
    x, logs = np.log(np.asarray(levels, dtype=float)), np.log(errors)
    centred = x - x.mean()
    slopes = centred / (centred @ centred)  # weights of log e whose sum is the exponent
    weights = 1 / len(x) + (math.log(level) - x.mean()) * slopes
    forecasts, means = logs @ weights, logs.mean(axis=0)
    value, spread = float(forecasts.mean()), 1 + 1 / float(weights @ weights)
    half: list[float] = []
    if (seeds := len(errors)) > 1:
        deviation = math.sqrt(float(forecasts.var(ddof=1)) * spread / seeds)
        half.append(_quantile(seeds - 1) * deviation)
    if (left := len(x) - 2) > 0:
        fitted = means.mean() + centred * (means @ slopes)
        scatter = float(((means - fitted) ** 2).sum()) / left
        half.append(_quantile(left) * math.sqrt(scatter * (1 + float(weights @ weights))))
    # What is not known to follow from seeds may follow from the law, so that the wider one counts.
    width = max(half, default=None)
    return Forecast(
        level=level,
        value=math.exp(value),
        ci=None if width is None else (math.exp(value - width), math.exp(value + width)),
        exponent=float(means @ slopes),
        rungs=len(x),
        seeds=seeds,
    )


def _quantile(freedom: int) -> float:
    return float(scipy.stats.t.ppf(1 - LEVEL / 2, freedom))
