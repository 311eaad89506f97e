"""Learning curves: a model of them, and the choice of the trial that goes on by its forecast.

Trials pause at rungs, as in `promotion`. Once one of them is complete, the next epochs go to the
trial with the largest expected improvement of the best value per epoch: a paused one, up to its
last epoch, or a new one. A new one counts as the mean of the latest configurations, as if nothing
were known of their own curves. Before that, and once no new trial can begin, promotion decides.

The model is a Gaussian process. The value of trial i at time t is

    y_i(t) = c(t) + g(x_i, t) + h_i(t),    t = log(epoch / first) / log(last / first),

with the first rung and the last epoch, a common line c, a part g that similar configurations x
share, and the trial's own part h. Both parts start anywhere, and then move like a Wiener process,
so that a curve is expected to follow the common line from its latest value, ever less certainly. A
value is the lowest one of its trial so far, in units of the distance from the best to the median,
and at most two of them, so that trials that diverge do not matter.

Costs are epochs, not seconds: a decision follows from the values and configurations of trials, and
from the sets of paused and failed ones. Hence a resumed search decides alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_solve, cholesky
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

from sweeper.core.promotion import PromotionRule, PromotionSchedule

COMPLETE = 1  # trials, before forecasts of the last epoch count
RECENT = 10  # configurations that stand for the next new one
MOST = 300  # values that the model is fitted to: those of the trials that came furthest
LARGEST = 2.0  # value, where the best is 0 and the median 1
NOISE = 1e-3  # variance of a value, as a share of the prior one
# Candidates: range of similarity per dimension, share of g, and variance gained until the end.
RANGES, SHARES, DRIFTS = (0.15, 0.3, 0.75), (0.4, 0.85), (0.2, 1.0)
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def similarity(one: Floats, other: Floats, scale: float) -> Floats:
    """Return the Matern kernel of smoothness 5/2 between points: [n, d], [m, d] -> [n, m]."""
    squared = ((one[:, None] - other[None]) ** 2).sum(axis=-1)
    distance = np.sqrt(5 * squared) / scale
    return np.asarray((1 + distance + distance**2 / 3) * np.exp(-distance))


def expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """Return E[max(0, best - Y)] of normal variables Y."""
    gap = (best - mean) / deviation
    density = np.exp(-(gap**2) / 2) / math.sqrt(2 * math.pi)
    return np.asarray(deviation * (gap * ndtr(gap) + density))


@dataclass(frozen=True, kw_only=True)
class CurveModel:
    """The posterior of all curves, given values of some trials.

    Args:
        points: [trials, d], the coordinates of configurations.
        owners: [n], the index of the trial of each value.
        times: [n], in [0, 1].
        factor: [n, n], the Cholesky factor of the values' prior covariance over `variance`.
        weights: [n], the inverse of that covariance times the values without their mean.
    """

    points: Floats
    owners: Ints
    times: Floats
    factor: Floats
    weights: Floats
    scale: float
    share: float
    drift: float
    mean: float
    variance: float

    @classmethod
    def fit(cls, points: Floats, owners: Ints, times: Floats, values: Floats) -> "CurveModel":
        """Return the model with the candidate parameters of the largest marginal likelihood."""
        mean, count = float(values.mean()), len(values)
        centred = values - mean
        best: CurveModel | None = None
        highest = -math.inf
        for reach, share, drift in product(RANGES, SHARES, DRIFTS):
            scale = reach * math.sqrt(max(1, points.shape[1]))
            prior = _covariance(
                similarity(points, points, scale)[np.ix_(owners, owners)],
                owners[:, None] == owners[None],
                times[:, None],
                times[None],
                share=share,
                drift=drift,
            )
            prior[np.diag_indices(count)] += NOISE
            try:
                factor = cholesky(prior, lower=True, check_finite=False)
            except LinAlgError:
                continue
            weights = cho_solve((factor, True), centred, check_finite=False)
            variance = max(float(centred @ weights) / count, 1e-9)
            likelihood = -count / 2 * math.log(variance) - float(np.log(factor.diagonal()).sum())
            if likelihood > highest:
                highest = likelihood
                best = cls(
                    points=points,
                    owners=owners,
                    times=times,
                    factor=factor,
                    weights=weights,
                    scale=scale,
                    share=share,
                    drift=drift,
                    mean=mean,
                    variance=variance,
                )
        assert best is not None  # the noise keeps a covariance definite
        return best

    def at_end(self, points: Floats, owners: Ints) -> tuple[Floats, Floats]:
        """Return the means and deviations of trials at their last epoch.

        Args:
            points: [m, d], their configurations.
            owners: [m], their indices, or -1 for trials without any value.
        """
        now = np.ones(1)
        cross = _covariance(
            similarity(points, self.points, self.scale)[:, self.owners],
            owners[:, None] == self.owners[None],
            now[:, None],
            self.times[None],
            share=self.share,
            drift=self.drift,
        )
        solved = cho_solve((self.factor, True), cross.T, check_finite=False)
        alone = _covariance(now, now, now, now, share=self.share, drift=self.drift)
        left = alone - (cross * solved.T).sum(axis=1)
        deviations = np.sqrt(np.maximum(left, 1e-9) * self.variance)
        return self.mean + cross @ self.weights, deviations


def _covariance(
    similar: Floats,
    same: npt.ArrayLike,
    one: Floats,
    other: Floats,
    *,
    share: float,
    drift: float,
) -> Floats:
    """Return the prior covariance of values at times `one` and `other`, over the variance."""
    own = share * similar + (1 - share) * np.asarray(same, float)
    return np.asarray(own * (1 + drift * np.minimum(one, other)) + 1 + one * other)


class CurveSchedule(PromotionSchedule):
    """The sampled trials of a study at its rungs, of which forecasts choose the next one."""

    def __init__(self, rule: PromotionRule) -> None:
        super().__init__(rule)
        self._points: dict[int, Sequence[float]] = {}
        self._lowest: dict[int, float] = {}  # by number
        self._known: dict[int, dict[int, float]] = {}  # by number: rung or last epoch -> lowest
        self._scores: dict[int | None, float] | None = None  # by number; None: a new trial

    def add(self, number: int, point: Sequence[float]) -> None:
        self._points[number] = point

    def arrive(self, number: int, epoch: int, value: float) -> bool:
        self._lowest[number] = min(value, self._lowest.get(number, value))
        if epoch == self._rule.epochs or epoch in self._rule.rungs:
            known = self._known.setdefault(number, {})
            if epoch not in known:
                known[epoch] = self._lowest[number]
                self._scores = None
        return super().arrive(number, epoch, value)

    def remove(self, number: int) -> None:
        self._known.pop(number, None)
        self._scores = None
        super().remove(number)

    def next(self, *, is_closing: bool, is_open: bool = False) -> int | None:
        if is_open and self._paused:
            if self._scores is None:
                with threadpool_limits(limits=1):  # small matrices: more threads take longer
                    self._scores = self._forecast()
            scores = self._scores
            if scores:
                paused = self._paused & scores.keys()
                found = max(paused, key=lambda n: (scores[n], -n), default=None)
                return found if found is not None and scores[found] > scores[None] else None
        return super().next(is_open=is_open, is_closing=is_closing)

    def _forecast(self) -> dict[int | None, float]:
        """Return the expected improvement per epoch of each trial, if forecasts count already."""
        epochs, known = self._rule.epochs, self._known
        if sum(epochs in values for values in known.values()) < COMPLETE:
            return {}
        furthest = sorted(known, key=lambda n: (-(last := max(known[n])), known[n][last], n))
        counts = np.cumsum([len(known[number]) for number in furthest])
        numbers = sorted(furthest[: max(1, int(np.searchsorted(counts, MOST, side="right")))])
        rows = [
            (index, self._time(epoch), known[number][epoch])
            for index, number in enumerate(numbers)
            for epoch in sorted(known[number])
        ]
        owners, times, raw = (np.array(column) for column in zip(*rows, strict=True))
        values = in_units(raw)
        points = np.array([self._points[number] for number in numbers], float)
        model = CurveModel.fit(points, owners, times, values)
        unended = [i for i, number in enumerate(numbers) if epochs not in known[number]]
        recent = np.array([self._points[number] for number in sorted(known)[-RECENT:]], float)
        means, deviations = model.at_end(
            np.concatenate([points[unended], recent]),
            np.array([*unended, *[-1] * len(recent)]),
        )
        left = [epochs - max(known[numbers[i]]) for i in unended] + [epochs] * len(recent)
        scores = expected_improvement(means, deviations, float(values.min())) / left
        by_number: dict[int | None, float] = {
            numbers[i]: float(score) for i, score in zip(unended, scores, strict=False)
        }
        return {**by_number, None: float(scores[len(unended) :].mean())}

    def _time(self, epoch: int) -> float:
        first = self._rule.rungs[0]
        return math.log(epoch / first) / math.log(self._rule.epochs / first)


def in_units(values: Floats) -> Floats:
    """Return values with the best at 0 and the median at 1, of `LARGEST` at most."""
    best = values.min()
    unit = float(np.median(values) - best) or 1.0
    return np.asarray(np.minimum((values - best) / unit, LARGEST))
