"""Parameters as Optuna has them, and as coordinates in [0, 1]."""

import math

import optuna
from optuna.distributions import BaseDistribution

from sweeper.spec.distributions import Choice, Distribution, Float, Int, same
from sweeper.spec.node import Scalar


def distribution_of(parameter: Distribution) -> BaseDistribution:
    """Return a distribution as Optuna has it."""
    match parameter:
        case Float(low=low, high=high, log=log, step=step):
            return optuna.distributions.FloatDistribution(low, high, log=log, step=step)
        case Int(low=low, high=high, log=log, step=step):
            return optuna.distributions.IntDistribution(low, high, log=log, step=step)
        case Choice(values=values):
            return optuna.distributions.CategoricalDistribution(values)


def to_unit(parameter: Distribution, value: Scalar) -> float:
    """Return the coordinate of a value: the middle of those that `from_unit` maps to it."""
    if isinstance(parameter, Choice):
        index = next(i for i, each in enumerate(parameter.values) if same(each, value))
        return (index + 0.5) / len(parameter.values)
    assert isinstance(value, int | float)
    low, high = _ends(parameter)
    if parameter.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return min(max((value - low) / (high - low), 0.0), 1.0)


def from_unit(parameter: Distribution, unit: float) -> Scalar:
    """Return the value at a coordinate in [0, 1]. A uniform coordinate gives a random draw."""
    if isinstance(parameter, Choice):
        return parameter.values[min(int(unit * len(parameter.values)), len(parameter.values) - 1)]
    low, high = _ends(parameter)
    if parameter.log:
        value = math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
    else:
        value = low + unit * (high - low)
    if parameter.step is not None:
        steps = math.floor((value - parameter.low) / parameter.step + 0.5)
        value = parameter.low + steps * parameter.step
    # The half step beyond an end belongs to the end, and a logarithm and its inverse round.
    value = min(max(value, parameter.low), parameter.high)
    return int(value) if isinstance(parameter, Int) else float(value)


def _ends(parameter: Float | Int) -> tuple[float, float]:
    """Return a range that has half a step more at both ends, so that all values are as likely."""
    half = 0.0 if parameter.step is None else parameter.step / 2
    return parameter.low - half, parameter.high + half
