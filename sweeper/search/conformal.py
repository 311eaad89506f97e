"""Conformal quantile regression: a search of mixed spaces with conditions, pruned or not.

As by Salinas et al. (2023), a model learns the quantiles of a trial's place among all others from
its parameters, trials that it has not seen correct each quantile, and of many random configurations
the one with the lowest draw from its quantiles is tried. A place does not depend on the scale of
the objective. A trial that has not ended has the place of its best value so far.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import norm, rankdata

from sweeper.model import Params
from sweeper.search.samplers import (
    best_and_latest,
    by_fronts,
    drawn_together,
    evaluated,
    has_several,
    order_of,
)
from sweeper.search.spaces import from_unit, to_unit
from sweeper.spec.distributions import Choice, is_active
from sweeper.spec.samplers import CQR_ALL, CQR_BEST, CQR_LATEST, Space

CANDIDATES = 500  # random configurations, of which one is tried
LEVELS = np.arange(1, 6) / 6  # of the quantiles
TREES, DEPTH, RATE, SHARE = 40, 3, 0.15, 0.9  # of the boosting, each tree of a share of the trials
HELD_OUT = 5  # one trial in so many corrects the quantiles
MIN_HELD_OUT = 32  # trials from which on there are enough for that
INACTIVE = -1.0  # coordinate of a parameter that a configuration does not have
Floats = npt.NDArray[np.float64]


class ConformalQuantiles(BaseSampler):
    """A sampler that draws by conformal quantile regression, for one draw.

    Args:
        space: All parameters of the study, parents first.
        given: Values that need not be drawn, and that all candidates have.
        seed: The seed of this draw.
        startup: The number of trials with a value before which draws are random.
    """

    def __init__(self, space: Space, given: Params, *, seed: int, startup: int) -> None:
        self._space, self._given, self._seed, self._startup = space, given, seed, startup
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return drawn_together(self._space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        seen = learned_from(study)
        if len(seen) < max(2, self._startup):
            return {}
        rng = np.random.default_rng(self._seed)
        candidates = [_draw(self._space, self._given, rng) for _ in range(CANDIDATES)]
        known = features([each.params for each in seen], self._space)
        found = draws(known, scores(seen), features(candidates, self._space), rng)
        chosen = candidates[int(found.argmin())]
        return {name: value for name, value in chosen.items() if name in search_space}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)


def learned_from(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials to learn from: ended ones, many of them in part, and running ones."""
    ended = evaluated(study)
    if len(ended) > CQR_ALL:
        ended = best_and_latest(ended, CQR_BEST, CQR_LATEST, order=order_of)
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [*ended, *(each for each in running if each.intermediate_values)]


def _draw(space: Space, given: Params, rng: np.random.Generator) -> Params:
    """Return a random configuration with the given values."""
    params: dict[str, Any] = {}
    for name, each in space.items():
        if is_active(each, params):
            params[name] = given[name] if name in given else from_unit(each, rng.random())
    return params


def scores(trials: Sequence[FrozenTrial]) -> Floats:
    """Return the normal score of each trial: a normal quantile at its place; lower is better.

    Trials that break a constraint come last. Of several objectives the fronts are the places.
    """
    several = has_several(trials)
    keys = by_fronts(trials, len(trials)) if several else [order_of(each) for each in trials]
    order = {key: place for place, key in enumerate(sorted({key[:2] for key in keys}))}
    places = rankdata([order[key[:2]] for key in keys])
    # Half a place keeps the normal quantiles of the first and of the last trial finite.
    found: Floats = norm.ppf((places - 0.5) / len(trials))
    return found


def features(rows: Sequence[Params], space: Space) -> Floats:
    """Return configurations as coordinates: [rows, columns].

    A number or a choice of numbers has a column from 0 to 1, another choice one for each value.
    """
    columns = []
    for name, each in space.items():
        units = np.array([to_unit(each, r[name]) if name in r else INACTIVE for r in rows])
        if isinstance(each, Choice) and any(isinstance(v, bool | str | None) for v in each.values):
            places = np.floor(units * len(each.values))
            hot = (places[:, None] == np.arange(len(each.values))).astype(float)
            columns += list(np.where(units[:, None] == INACTIVE, INACTIVE, hot).T)
        else:
            columns.append(units)
    return np.column_stack(columns)


def draws(known: Floats, values: Floats, candidates: Floats, rng: np.random.Generator) -> Floats:
    """Return a draw of the score of each candidate: one of its quantiles."""
    # Each quantile has a model of its own, so that two of them may cross.
    found = np.sort(quantiles(known, values, candidates, rng), axis=0)
    return found[rng.integers(len(LEVELS), size=len(candidates)), np.arange(len(candidates))]


def quantiles(
    known: Floats, values: Floats, candidates: Floats, rng: np.random.Generator
) -> Floats:
    """Return the quantiles of the values of candidates: [LEVELS, candidates].

    Args:
        known: The features of the trials: [trials, columns].
        values: Their values: [trials].
        candidates: The features of the candidates.
        rng: The random numbers.
    """
    count, order = len(known), rng.permutation(len(known))
    held = order[: count // HELD_OUT if count >= MIN_HELD_OUT else 0]
    learned = order[len(held) :]
    points = np.vstack([known, candidates]).astype(np.float32)
    found = _boosted(points, learned, values[learned], rng)
    if len(held):
        # A share q of the trials that the trees have not seen is to lie below the quantile q.
        left = values[held, None] - found[held]
        found += [np.quantile(left[:, k], level) for k, level in enumerate(LEVELS)]
    return found[count:].T


def _boosted(points: npt.NDArray[np.float32], learned: npt.NDArray[np.intp], values: Floats,
             rng: np.random.Generator) -> Floats:  # fmt: skip
    """Return the quantiles of points by boosted trees: [points, LEVELS].

    All levels share their trees: each is fitted to the gradients of the pinball losses of all of
    them, and its leaves move each level to the quantile of what is left there (Friedman, 2001).
    """
    from sklearn.tree import DecisionTreeRegressor  # slow to import

    known = points[learned]
    found = np.tile(np.quantile(values, LEVELS), (len(points), 1))
    for _ in range(TREES):
        left = values[:, None] - found[learned]
        part = rng.permutation(len(learned))[: math.ceil(SHARE * len(learned))]
        tree = DecisionTreeRegressor(
            max_depth=DEPTH, min_samples_leaf=2, random_state=int(rng.integers(2**31))
        )
        tree.fit(known[part], (LEVELS - (left < 0))[part], check_input=False)
        leaves = tree.apply(points, check_input=False)
        for leaf in np.unique(leaves):
            there = np.sort(left[part][leaves[learned][part] == leaf], axis=0)
            places = np.minimum((LEVELS * len(there)).astype(int), len(there) - 1)
            found[leaves == leaf] += RATE * there[places, np.arange(len(LEVELS))]
    return found
