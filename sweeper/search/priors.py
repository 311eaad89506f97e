"""Draws around good values and around the best trial so far, in place of some draws of a sampler.

The good values of a study are its priors, and each configuration that it begins with. This is the
mixture of PriorBand (Mallik et al., 2023, arXiv 2306.12370), whose random draws are those of the
sampler here, and which has one centre beside the best trial:

    share of the sampler     1 - g,  g = 1/2 until `startup_trials` trials have a value, and then
                             g = 1/2 startup_trials / n after n of them
    share of a centre i      g p_i / sum of all p
    p of the best trial      0 before MIN_TRIALS trials have a value; until then all others equal

p_i says how well a centre explains the best third of the trials: it is the sum of the densities of
its distribution at these trials, weighted by rank. A misleading prior is left soon. All shares but
that of the sampler tend to 0, so that a prior never rules out a part of the space. With several
objectives trials are ranked by fronts, in each the later ones first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from statistics import NormalDist

import numpy as np
import optuna

from sweeper.model import Params
from sweeper.search.samplers import best_first, evaluated, order_of
from sweeper.search.spaces import from_unit, to_unit
from sweeper.spec.distributions import HIGH, LOW, MEDIUM, Choice, Distribution, Prior
from sweeper.spec.node import Scalar
from sweeper.spec.samplers import Space

# As in NePS, the authors' library: standard deviations of coordinates in [0, 1], and the weight of
# a choice, to 1 of each other one.
SIGMAS = {LOW: 0.5, MEDIUM: 0.25, HIGH: 0.125}
WEIGHTS = {LOW: 2, MEDIUM: 4, HIGH: 6}
GUIDED = 0.5  # first share of the draws that the sampler does not make
BEST = 3  # one trial in so many is among the best
MIN_TRIALS = 3  # trials with a value before any draw is around the best one
CHOICE = 1  # stream of random numbers for the choice between the three

Centre = Mapping[str, Prior]  # good values by parameter, and how surely


def values_around(
    centres: Sequence[Centre], space: Space, study: optuna.Study, *, seed: int, startup: int
) -> Params:
    """Return values around a centre or the best trial, or none: the sampler draws all.

    Args:
        centres: The centres of good values, at least one.
        space: All parameters.
        study: The study with all earlier trials.
        seed: The seed of this draw.
        startup: `search.startup_trials`.
    """
    ended = evaluated(study)
    order = best_first(ended, math.ceil(len(ended) / BEST), order_of)
    ranked = [ended[index].params for index in order]
    best = centred_on(ranked[0], centres[0], space) if ranked else {}
    shares = shares_of(centres, best, space, ranked, startup=startup)
    # A stream of its own, so that the choice is independent of the values that are then drawn.
    number = np.random.default_rng([seed, CHOICE]).random()
    # The shares add up to g. A number beyond it is a draw of the sampler.
    pairs = zip(accumulate(shares), (*centres, best), strict=True)
    centre = next((centre for end, centre in pairs if number < end), None)
    return {} if centre is None else draw_around(centre, space, seed=seed)


def centred_on(params: Params, like: Centre, space: Space) -> dict[str, Prior]:
    """Return a centre at the values of a trial, as wide as that of `like`, or else medium."""
    return {
        name: replace(like.get(name, Prior(default=None)), default=params[name])
        for name in space
        if name in params
    }


def shares_of(
    centres: Sequence[Centre],
    best: Centre,
    space: Space,
    ranked: Sequence[Params],
    *,
    startup: int,
) -> list[float]:
    """Return the share of each centre in the next draw, and last that of the best trial.

    Args:
        centres: The centres of good values, at least one.
        best: The centre at the best trial.
        space: All parameters.
        ranked: The parameters of all trials with a value, the best first.
        startup: `search.startup_trials`.
    """
    guided = GUIDED * min(1.0, startup / max(1, len(ranked)))
    if len(ranked) < MIN_TRIALS:
        return [*(guided / len(centres) for _ in centres), 0.0]
    top = ranked[: math.ceil(len(ranked) / BEST)]
    ranks = range(len(top), 0, -1)
    # Only parameters with a centre tell it from the best trial.
    known = {name for centre in centres for name in centre}
    best = {name: each for name, each in best.items() if name in known}
    # The best of m trials weighs m, and the last one 1.
    scores = [
        sum(rank * density(centre, space, params) for rank, params in zip(ranks, top, strict=True))
        for centre in (*centres, best)
    ]
    return [guided * score / sum(scores) for score in scores]


def density(centre: Centre, space: Space, params: Params) -> float:
    """Return the density of a trial, relative to that of draws at random."""
    factors = (
        _density(space[name], prior, params[name])
        for name, prior in centre.items()
        if name in params
    )
    return math.prod(factors)


def _density(parameter: Distribution, prior: Prior, value: Scalar) -> float:
    if isinstance(parameter, Choice):
        # The probability of the value, in units of that of a uniform draw, 1 / len(weights).
        weights = _weights(parameter, prior)
        place = int(to_unit(parameter, value) * len(weights))
        return weights[place] * len(weights)
    # The density of a normal that is cut off at 0 and 1; that of a uniform draw is 1.
    normal = _normal(parameter, prior)
    return normal.pdf(to_unit(parameter, value)) / (normal.cdf(1) - normal.cdf(0))


def _weights(parameter: Choice, prior: Prior) -> list[float]:
    place = int(to_unit(parameter, prior.default) * len(parameter.values))
    weights = [1.0] * len(parameter.values)
    weights[place] = WEIGHTS[prior.confidence]
    return [weight / sum(weights) for weight in weights]


def _normal(parameter: Distribution, prior: Prior) -> NormalDist:
    """Return the distribution of a number's coordinate, which is then cut off at 0 and 1."""
    return NormalDist(to_unit(parameter, prior.default), SIGMAS[prior.confidence])


def draw_around(centre: Centre, space: Space, *, seed: int) -> Params:
    """Return values around those of a centre."""
    rng = np.random.default_rng(seed)
    # Numbers are drawn for all names, so that one prior more or less changes no other value.
    units = {name: float(rng.random()) for name in space}  # a number for each parameter
    return {name: _drawn(space[name], prior, units[name]) for name, prior in centre.items()}


def _drawn(parameter: Distribution, prior: Prior, quantile: float) -> Scalar:
    if isinstance(parameter, Choice):
        ends = accumulate(_weights(parameter, prior))
        # The sum of the weights may be rounded to less than 1, and then the last value is meant.
        place = next((k for k, end in enumerate(ends) if quantile < end), -1)
        return parameter.values[place]
    normal = _normal(parameter, prior)
    # The inverse of the cut-off distribution function maps a uniform number to a draw.
    low, high = normal.cdf(0), normal.cdf(1)
    return from_unit(parameter, normal.inv_cdf(low + quantile * (high - low)))
