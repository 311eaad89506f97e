"""The expected epochs of trials under a pruning rule, as pure functions.

Optuna's successive halving decides when a trial arrives at a rung. The trial continues if its value
is among the floor(n / eta) lowest of the n values at the rung, including its own or, for n < eta,
if it is the lowest. Assume that later trials are not better on average, and that the order of the
trials is the same at all rungs. Then the rank R_k of trial k among the first k trials is uniform on
1..k and independent of earlier ranks (Renyi, 1962), and

    trial k continues from rung i  if  R_k <= t_i(k) = max(1, floor(n_i(k) / eta)),
    n_0(k) = k,    n_{i+1}(k) = 1 + sum_{j<k} t_i(j) / j,

where n_i(k) is the expected number of trials at rung i when trial k arrives there. Hence trial k
continues with probability t_i(k) / k, which tends to 1/eta at the first rung and is larger for the
first trials. Fewer trials reach the end if curves cross between rungs, and more if the sampler
learns.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean, stdev

from sweeper.core.promotion import PromotionRule, PromotionSchedule
from sweeper.spec.schema import PROMOTE

HALVING = "asha"
AT_RUNGS = (HALVING, PROMOTE)  # the rules that judge at rungs; others judge after each epoch
RUNS, DRAWS = 64, 20_000  # simulated searches under promotion, and trials in all of them
DEVIATIONS = 2.0  # standard deviations between the mean and the ends of an estimate


@dataclass(frozen=True)
class Estimate:
    """The range and the expected value of an unknown quantity."""

    low: float
    expected: float
    high: float

    def __add__(self, other: "Estimate") -> "Estimate":
        """Add the ends, as if both quantities were low or high together: never too narrow."""
        return Estimate(
            self.low + other.low, self.expected + other.expected, self.high + other.high
        )

    def __mul__(self, other: "Estimate | float") -> "Estimate":
        """Multiply the ends, which must not be negative."""
        by = other if isinstance(other, Estimate) else Estimate(other, other, other)
        return Estimate(self.low * by.low, self.expected * by.expected, self.high * by.high)

    def at_least(self, other: "Estimate") -> "Estimate":
        """Return the larger of two quantities, end by end."""
        return Estimate(
            max(self.low, other.low),
            max(self.expected, other.expected),
            max(self.high, other.high),
        )


NOTHING = Estimate(0.0, 0.0, 0.0)


def rungs(kind: str, *, min_epochs: int, eta: int, epochs: int) -> tuple[int, ...]:
    """Return the epochs after which a trial of `epochs` can be pruned or paused."""
    if kind == "none":
        return ()
    if kind not in AT_RUNGS:
        return tuple(range(min_epochs, epochs))
    steps, step = [], min_epochs
    # A rung at the last epoch would decide nothing, for the trial ends there.
    while step < epochs:
        steps.append(step)
        step *= eta
    return tuple(steps)


def epochs_under_halving(trials: int, epochs: float, steps: Sequence[int], *, eta: int) -> Estimate:
    """Return the total epochs of `trials` under successive halving.

    The ends of the estimate are two standard deviations from the mean, within the possible range.
    The first trial always continues to its end.

    Args:
        trials: The number of trials.
        epochs: The epochs of a trial without pruning.
        steps: The epochs after which trials are judged.
        eta: One of `eta` trials continues from each rung.
    """
    steps = [step for step in steps if step < epochs]
    if not steps or not trials:
        return Estimate(trials * epochs, trials * epochs, trials * epochs)
    # stretches[i] are the epochs from rung i to the next one, and from the last rung to the end.
    stretches = [after - before for before, after in zip(steps, [*steps[1:], epochs], strict=True)]
    arrived = [0.0] * len(steps)
    mean, variance = trials * float(steps[0]), 0.0
    # `place` is t_i(k), the highest rank that continues; `arrived` is n_i before trial k.
    for k in range(1, trials + 1):
        further = first = second = 0.0  # epochs after the first rung, and their moments
        place = float(k)
        # Ranks are independent, so the variances of the trials add up. With X the epochs after the
        # first rung, E[X^2] telescopes: who passes rung i raises X^2 from S_i^2 to S_{i+1}^2.
        for rung, stretch in enumerate(stretches):
            here = arrived[rung] + 1
            arrived[rung] += place / k
            place = min(place, max(1.0, here // eta))
            first += place / k * stretch
            second += place / k * ((further + stretch) ** 2 - further**2)
            further += stretch
        mean, variance = mean + first, variance + second - first**2
    # Rounding can leave a variance of zero a little below it.
    reach = DEVIATIONS * math.sqrt(max(0.0, variance))
    # Each trial reaches the first rung, and at least one of them the end.
    fewest = trials * steps[0] + (epochs - steps[0])
    return Estimate(max(fewest, mean - reach), mean, min(trials * epochs, mean + reach))


def epochs_under_promotion(trials: int, epochs: float, rule: PromotionRule) -> Estimate:
    """Return the total epochs of `trials` that pause at rungs, of which the best go on.

    The decisions are the runner's own, for trials that come one after another in random order; the
    order of the values is the same at all rungs. More trials go on than one in eta, because the
    best so far need not stay the best. The ends are two standard deviations from the mean.

    Args:
        trials: The number of trials.
        epochs: The epochs of a trial that never pauses.
        rule: The rungs; those that are not below `epochs` do not count.
    """
    steps = tuple(step for step in rule.rungs if step < epochs)
    if not steps or not trials:
        return Estimate(trials * epochs, trials * epochs, trials * epochs)
    # The seed is fixed, so that a plan says the same each time.
    rule, rng = replace(rule, rungs=steps), Random(trials)
    # A standard deviation needs two runs. Large searches have fewer runs, to bound the time.
    orders = [rng.sample(range(trials), trials) for _ in range(max(2, min(RUNS, DRAWS // trials)))]
    totals = [promoted_epochs(order, epochs, rule) for order in orders]
    mean = fmean(totals)
    reach = DEVIATIONS * stdev(totals)
    fewest = trials * steps[0] + (epochs - steps[0])
    return Estimate(max(fewest, mean - reach), mean, min(trials * epochs, mean + reach))


def promoted_epochs(order: Sequence[int], epochs: float, rule: PromotionRule) -> float:
    """Return the epochs of trials with these values at every rung, one after another."""
    schedule, total = PromotionSchedule(rule), 0.0
    ends = [*rule.rungs, epochs]
    reached = [0] * len(order)  # the index of each trial's next end
    new = iter(range(len(order)))
    while True:
        # The runner has this order, too: a promotion, a new trial, and only when all have begun the
        # best trial of a rung with too few.
        number = schedule.next(is_closing=False)
        number = next(new, None) if number is None else number
        number = schedule.next(is_closing=True) if number is None else number
        if number is None:
            return total
        place = reached[number]
        if place:
            schedule.start(number)
        total += ends[place] - (ends[place - 1] if place else 0)
        reached[number] += 1
        if place < len(rule.rungs):
            # Trials come one after another here. A trial that pauses and is promoted at once costs
            # the same epochs as one that goes on.
            schedule.arrive(number, rule.rungs[place], order[number])
            schedule.pause(number)
