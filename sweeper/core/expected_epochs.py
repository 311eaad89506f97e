"""The expected epochs of trials under a pruning rule. Pure.

Successive halving, as Optuna decides it while trials arrive: a value goes on from a rung if it is
among the floor(n / eta) lowest of the n there so far, its own included, or, for n < eta, if it is
the lowest. Let no trial be better for coming later, and each keep its place among the others from
rung to rung. The place R_k of trial k among the first k is then uniform on 1..k, independent of the
places before (Renyi, 1962), and

    trial k goes on from rung i  if  R_k <= t_i(k) = max(1, floor(n_i(k) / eta)),
    n_0(k) = k,    n_{i+1}(k) = 1 + sum_{j<k} t_i(j) / j,

with n_i(k) how many are expected at rung i once k arrives there. So it does with probability
t_i(k) / k: a share 1/eta where many are there, a larger one while they are few. Curves that cross
between rungs let fewer trials reach the end; a sampler that learns, more.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["NOTHING", "Estimate", "epochs_under_halving", "rungs"]

DEVIATIONS = 2.0  # standard ones, from what is expected to the ends of an estimate


@dataclass(frozen=True)
class Estimate:
    """A quantity that is not known yet."""

    low: float
    expected: float
    high: float

    def __add__(self, other: "Estimate") -> "Estimate":
        """Add the ends, as if both were low, or high, together: never too narrow."""
        return Estimate(
            self.low + other.low, self.expected + other.expected, self.high + other.high
        )

    def __mul__(self, other: "Estimate | float") -> "Estimate":
        """Multiply the ends; nothing is negative."""
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
    """Return the epochs after which a trial of `epochs` can be pruned."""
    if kind == "none":
        return ()
    if kind == "median":
        return tuple(range(min_epochs, epochs))
    steps, step = [], min_epochs
    while step < epochs:
        steps.append(step)
        step *= eta
    return tuple(steps)


def epochs_under_halving(trials: int, epochs: float, steps: Sequence[int], *, eta: int) -> Estimate:
    """Return the epochs of all `trials`, of `epochs` each, judged after the epochs `steps`.

    `low` and `high` are two standard deviations away, within the possible range: the first trial
    goes on to its end.
    """
    steps = [step for step in steps if step < epochs]
    if not steps or not trials:
        return Estimate(trials * epochs, trials * epochs, trials * epochs)
    stretches = [after - before for before, after in zip(steps, [*steps[1:], epochs], strict=True)]
    arrived = [0.0] * len(steps)
    mean, variance = trials * float(steps[0]), 0.0
    for k in range(1, trials + 1):
        further = first = second = 0.0  # epochs beyond the first rung, and two moments of them
        place = float(k)
        for rung, stretch in enumerate(stretches):
            here = arrived[rung] + 1
            arrived[rung] += place / k
            place = min(place, max(1.0, here // eta))
            first += place / k * stretch
            second += place / k * ((further + stretch) ** 2 - further**2)
            further += stretch
        mean, variance = mean + first, variance + second - first**2
    reach = DEVIATIONS * math.sqrt(max(0.0, variance))
    fewest = trials * steps[0] + (epochs - steps[0])
    return Estimate(max(fewest, mean - reach), mean, min(trials * epochs, mean + reach))
