"""What a parameter is drawn from: a range of numbers, or a list of choices.

A parameter with `when` exists only if each parameter it names took one of the values listed; a
sampler walks parameters in the order of `parents_first` and skips those that are not active.
"""

import graphlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.config.node import Scalar

Conditions = Mapping[str, tuple[Scalar, ...]]


@dataclass(frozen=True, kw_only=True)
class Float:
    """A real number in [low, high], uniform in its value or (`log`) in its logarithm."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    when: Conditions = field(default_factory=dict)

    def contains(self, value: Any) -> bool:
        """Whether `value` can be drawn."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return math.isclose(steps, round(steps), abs_tol=1e-6)

    def examples(self) -> tuple[float, ...]:
        """Returns the ends and, between them, a number that is no integer if there is one."""
        if self.step:
            return self.low, self.low + self.step, self.high
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return self.low, (middle + self.high) / 2 if middle == int(middle) else middle, self.high


@dataclass(frozen=True, kw_only=True)
class Int:
    """An integer in [low, high] in steps from low, uniform or in its logarithm."""

    low: int
    high: int
    log: bool = False
    step: int = 1
    when: Conditions = field(default_factory=dict)

    def contains(self, value: Any) -> bool:
        """Whether `value` can be drawn."""
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return self.low <= value <= self.high and (value - self.low) % self.step == 0

    def examples(self) -> tuple[int, ...]:
        """Returns both ends."""
        return self.low, self.high


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of a list of scalars."""

    values: tuple[Scalar, ...]
    when: Conditions = field(default_factory=dict)

    def contains(self, value: Any) -> bool:
        """Whether `value` can be drawn."""
        return any(same(value, choice) for choice in self.values)

    def examples(self) -> tuple[Scalar, ...]:
        """Returns every choice."""
        return self.values


Distribution = Float | Int | Choice


def same(a: Any, b: Any) -> bool:
    """Whether two scalars are one value: 1 is 1.0, but true is not 1."""
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def is_active(distribution: Distribution, params: Mapping[str, Any]) -> bool:
    """Whether every condition holds, given the values of the parameters before this one."""
    return all(
        name in params and any(same(params[name], value) for value in values)
        for name, values in distribution.when.items()
    )


def parents_first(parameters: Mapping[str, Distribution]) -> dict[str, Distribution]:
    """Orders parameters so that each comes after those that its `when` names, else as written.

    Raises:
        graphlib.CycleError: Conditions go round in a circle; `args[1]` lists it.
    """
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for name, distribution in parameters.items():
        sorter.add(name, *(parent for parent in distribution.when if parent in parameters))
    order: dict[str, Distribution] = {}
    sorter.prepare()
    while sorter.is_active():
        ready = set(sorter.get_ready())
        order |= {name: parameters[name] for name in parameters if name in ready}
        sorter.done(*ready)
    return order


def requirements(
    name: str, parameters: Mapping[str, Distribution]
) -> Mapping[str, tuple[Scalar, ...]]:
    """Returns, for each parameter that must be set for `name` to exist, the values that allow it.

    An empty tuple means that `name` can never exist. Conditions must not be circular.
    """
    allowed: dict[str, tuple[Scalar, ...]] = {}

    def walk(child: str) -> None:
        for parent, values in parameters[child].when.items():
            if parent not in parameters:
                continue
            possible: Iterable[Scalar] = allowed.get(parent, values)
            allowed[parent] = tuple(
                v
                for v in possible
                if any(same(v, w) for w in values) and parameters[parent].contains(v)
            )
            walk(parent)

    walk(name)
    return allowed
