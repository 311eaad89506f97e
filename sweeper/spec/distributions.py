"""The distributions of searched parameters, and their notation in sweep files.

A distribution is a range of numbers or a list of choices. A parameter with `when` exists only if
each parameter in it has one of the listed values. A sampler draws parameters in the order of
`parents_first`, and skips inactive ones. A file uses the spelling of W&B:

    {values: [a, b]}                                       a choice
    {min: 1, max: 8}                                       integers, since both bounds are
    {min: 0.0, max: 0.5}                                   real numbers
    {distribution: log_uniform_values, min: 1e-5, max: 1}  real numbers, uniform in the logarithm
    {distribution: q_uniform, min: 0, max: 1, q: 0.1}      in steps
    {distribution: q_log_uniform_values, min: 1, max: 512, q: 1}   integers, logarithmic
    {value: 3}, or just 3                                  fixed

Each of them may have `when: {other.parameter: value or [values]}`, and all but the last one
`prior: {default: VALUE, confidence: low, medium or high}`: where good values are expected.
"""

import graphlib
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any, NoReturn

from sweeper.errors import unknown
from sweeper.model import Params
from sweeper.spec.faults import Faults, did_you_mean, shown, unknown_key
from sweeper.spec.node import Node, Scalar
from sweeper.text import printable

Conditions = Mapping[str, tuple[Scalar, ...]]
MAX_INTEGER = 2**53  # samplers draw real numbers, which hold integers up to it exactly
MAX_REAL = 1e307  # the width of a range must be a number, too
ROUNDING = 1e-9  # relative, of the number of steps in a range
LOW, MEDIUM, HIGH = "low", "medium", "high"
CONFIDENCES = (LOW, MEDIUM, HIGH)


@dataclass(frozen=True, kw_only=True)
class Prior:
    """The value around which good values of a parameter are expected, and how surely."""

    default: Scalar
    confidence: str = MEDIUM


@dataclass(frozen=True, kw_only=True)
class Float:
    """A real number in [low, high], uniform in its value or (`log`) in its logarithm."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    when: Conditions = field(default_factory=dict)
    prior: Prior | None = None

    def contains(self, value: Any) -> bool:
        """Return whether `value` can be drawn."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not self.low <= value <= self.high:
            return False
        # A value that was drawn as low + k * step may miss the multiple by rounding.
        steps = (value - self.low) / self.step if self.step else 0.0
        return math.isclose(steps, round(steps), abs_tol=1e-6)

    def examples(self) -> tuple[float, ...]:
        """Return both ends and a number between them, which is not an integer if possible."""
        if self.step:
            return self.low, self.low + self.step, self.high
        middle = (self.low + self.high) / 2
        if self.log:
            middle = math.sqrt(self.low) * math.sqrt(self.high)
        # A whole number would be valid for a field of integers, too.
        return self.low, (middle + self.high) / 2 if middle == int(middle) else middle, self.high


@dataclass(frozen=True, kw_only=True)
class Int:
    """An integer in [low, high] in steps from low, uniform in its value or (`log`) logarithm."""

    low: int
    high: int
    log: bool = False
    step: int = 1
    when: Conditions = field(default_factory=dict)
    prior: Prior | None = None

    def contains(self, value: Any) -> bool:
        """Return whether `value` can be drawn."""
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return self.low <= value <= self.high and (value - self.low) % self.step == 0

    def examples(self) -> tuple[int, ...]:
        """Return both ends."""
        return self.low, self.high


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of a list of scalars."""

    values: tuple[Scalar, ...]
    when: Conditions = field(default_factory=dict)
    prior: Prior | None = None

    def contains(self, value: Any) -> bool:
        """Return whether `value` can be drawn."""
        return any(same(value, choice) for choice in self.values)

    def examples(self) -> tuple[Scalar, ...]:
        """Return every choice."""
        return self.values


Distribution = Float | Int | Choice


def same(a: Any, b: Any) -> bool:
    """Return whether two scalars are equal as YAML values: 1 equals 1.0, but true is not 1.

    A number that was drawn in steps, low + k * step, may miss what a file states by rounding.
    """
    if isinstance(a, bool) != isinstance(b, bool):
        return False
    if isinstance(a, float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-15)
    return bool(a == b)


def is_active(distribution: Distribution, params: Params) -> bool:
    """Return whether every condition holds, given the values of earlier parameters."""
    return all(
        name in params and any(same(params[name], value) for value in values)
        for name, values in distribution.when.items()
    )


def parents_first(parameters: Mapping[str, Distribution]) -> dict[str, Distribution]:
    """Return parameters sorted so that each comes after the ones that its `when` names.

    Raises:
        graphlib.CycleError: Conditions form a cycle, which `args[1]` lists.
    """
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for name, distribution in parameters.items():
        sorter.add(name, *(parent for parent in distribution.when if parent in parameters))
    order: dict[str, Distribution] = {}
    sorter.prepare()
    while sorter.is_active():
        # The sorter gives no order to parameters that are ready together. The file's order keeps
        # draws equal.
        ready = set(sorter.get_ready())
        order |= {name: parameters[name] for name in parameters if name in ready}
        sorter.done(*ready)
    return order


def requirements(
    name: str, parameters: Mapping[str, Distribution]
) -> Mapping[str, tuple[Scalar, ...]]:
    """Return the values that other parameters must have for `name` to exist.

    Returns:
        Each required parameter with its possible values. An empty tuple means that `name` can never
        exist. The conditions must not be circular.
    """
    allowed: dict[str, tuple[Scalar, ...]] = {}

    def walk(child: str) -> None:
        for parent, values in parameters[child].when.items():
            if parent not in parameters:
                continue
            possible: Iterable[Scalar] = allowed.get(parent, values)
            # Conditions add up along a chain: only values that satisfy each of them are left.
            allowed[parent] = tuple(
                v
                for v in possible
                if any(same(v, w) for w in values) and parameters[parent].contains(v)
            )
            walk(parent)

    walk(name)
    return allowed


KEYS = ("value", "values", "distribution", "min", "max", "q", "when", "prior")
PRIOR_KEYS = ("default", "confidence")
RANGES = ("uniform", "int_uniform", "log_uniform_values", "q_uniform", "q_log_uniform_values")
CHOICES = ("categorical", "constant")
RENAMED = {
    "low": "min", "high": "max", "minval": "min", "maxval": "max", "lower": "min", "upper": "max",
    "step": "q", "choices": "values", "vals": "values", "type": "distribution",
    "log": "distribution: log_uniform_values",
}  # fmt: skip
ELSEWHERE = {  # keys of other programs, and what is said of them
    "probabilities": "are not taken: the sampler learns which choices are good.",
    **{key: f"is not a key here; write `{ours}`." for key, ours in RENAMED.items()},
}
REFUSED = {
    "log_uniform": "W&B's log_uniform takes exponents; write log_uniform_values, whose bounds are "
    "values.",
    "q_log_uniform": "write q_log_uniform_values, whose bounds are values.",
    **dict.fromkeys(
        ("normal", "q_normal", "log_normal", "q_log_normal", "beta", "q_beta"),
        "only bounded ranges can be searched and checked; write uniform or log_uniform_values "
        "with min and max.",
    ),
    "categorical_w_probabilities": "the sampler learns which choices are good; write values.",
}


class Unsound(Exception):
    """Raised to stop reading a parameter whose fault was already recorded."""


@dataclass(frozen=True)
class Constant:
    """A parameter with a single value, which is not searched."""

    value: Scalar


class ParameterReader:
    """Reader of the parameter `name` at `node`. It adds faults to `faults`.

    Args:
        name: The name of the parameter.
        node: The parameter in the merged file.
        faults: The faults so far.
        stated: The parameter in the file without profile and command line; None: the same.
    """

    def __init__(
        self, name: str, node: Node, faults: Faults, *, stated: Node | None = None
    ) -> None:
        self.name, self.node, self.faults = name, node, faults
        self.stated = node if stated is None else stated
        self.sound = True

    def read(self) -> Distribution | Constant | None:
        """Return the distribution or constant, or None after a fault."""
        with suppress(Unsound):
            return self._read()
        return None

    def _read(self) -> Distribution | Constant:
        if isinstance(self.node.value, list):
            self.stop("", "must say `values: [...]`, not be a list.")
        if not isinstance(given := self.node.value, dict):
            return Constant(given)
        # Each unknown key gets its fault before any of the stops below.
        for key in given:
            if key in ELSEWHERE:
                self.fault(key, ELSEWHERE[key])
            elif key not in KEYS:
                self.fault_at(key, unknown_key(f"parameters.{self.name}.{key}", KEYS))
        readers = {"value": self.constant, "values": self.choice, "min and max": self.range}
        kinds = [kind for kind in readers if not given.keys().isdisjoint(kind.split(" and "))]
        if len(kinds) != 1:
            several = f"has {' and '.join(kinds)}; keep one of them."
            self.stop("", several if kinds else "needs `values`, or `min` and `max`.")
        distribution, when = self.distribution(), self.conditions()
        self.go_on()
        return self.with_prior(readers[kinds[0]](distribution, when))

    def distribution(self) -> str | None:
        node = self.node.children().get("distribution")
        if node is None or node.value in RANGES + CHOICES:
            return None if node is None else str(node.value)
        if not isinstance(node.value, str):
            self.fault("distribution", f"must be a word, but got {shown(node.plain())}.")
        elif reason := REFUSED.get(node.value):
            self.fault("distribution", f"`{node.value}` is not taken: {reason}")
        else:
            self.fault_at(node, unknown("distribution", printable(node.value), RANGES + CHOICES))
        return None

    def constant(self, _: str | None, when: Conditions) -> Distribution | Constant:
        node = self.node.children()["value"]
        if isinstance(node.value, dict | list):
            self.stop("value", f"must be a scalar, but got {shown(node.plain())}.")
        if when:
            self.stop("when", "has no effect on a constant; write it under `fixed`.")
        return Constant(node.value)

    def choice(self, distribution: str | None, when: Conditions) -> Distribution | Constant:
        node = self.node.children()["values"]
        if distribution in RANGES:
            self.stop("distribution", f"`{distribution}` needs min and max, not values.")
        if "q" in self.node.children():
            self.stop("q", "is the step of a range; `values` have none.")
        if not isinstance(node.value, list):
            got = shown(node.plain())
            self.stop("values", f"must be a list, but got {got}. Write [{got}].")
        if not node.value:
            self.stop("values", "is empty; write the choices, or `fixed`.")
        values: list[Scalar] = []
        for i, item in enumerate(node.value):
            if isinstance(item.value, dict | list):
                self.fault_at(
                    item,
                    f"`parameters.{self.name}.values[{i}]` must be a number, a text, true, false "
                    f"or null, but got {shown(item.plain())}.",
                )
            elif twin := [v for v in values if v == item.value]:
                # In Python 1, 1.0 and true are equal, so that no sampler could tell them apart.
                message = f"{shown(twin[0])} and {shown(item.value)} are the same value"
                self.fault_at(item, f"`parameters.{self.name}.values`: {message}; keep one.")
            else:
                values.append(item.value)
        self.go_on()
        if len(values) == 1 and not when:
            return Constant(values[0])
        return Choice(values=tuple(values), when=when)

    def range(self, distribution: str | None, when: Conditions) -> Distribution | Constant:
        if distribution in CHOICES:
            self.stop("distribution", f"`{distribution}` needs values, not min and max.")
        low, high = self.number("min"), self.number("max")
        q = self.number("q") if "q" in self.node.children() else None
        if low > high:
            self.stop("min", f"{shown(low)} is over max {shown(high)}; swap them.")
        if low == high:
            self.stop("min", f"equals max ({shown(low)}); write it under `fixed`.")
        # Integers as bounds and step make integers, as in W&B.
        whole = all(isinstance(v, int) for v in (low, high, 1 if q is None else q))
        largest = MAX_INTEGER if whole else MAX_REAL
        if max(abs(low), abs(high)) > largest:
            self.stop("max", f"bounds have to be between {-largest:g} and {largest:g}.")
        log = distribution in ("log_uniform_values", "q_log_uniform_values")
        if log and low <= 0:
            self.stop("min", f"must be over 0 on a log scale, but got {shown(low)}.")
        self.check_step(q, distribution, high - low)
        if distribution == "int_uniform" and not whole:
            self.stop("distribution", "`int_uniform` needs integers as bounds.")
        if distribution == "q_log_uniform_values" and not (whole and q == 1):
            self.stop("q", "on a log scale only integers with `q: 1` can be stepped.")
        high = self.reachable(low, high, q)
        if whole and distribution not in ("uniform", "log_uniform_values"):
            step = int(q) if q is not None else 1
            return Int(low=int(low), high=int(high), log=log, step=step, when=when)
        step_size = None if q is None else float(q)
        return Float(low=float(low), high=float(high), log=log, step=step_size, when=when)

    def check_step(self, q: float | None, distribution: str | None, span: float) -> None:
        """Stop at a step that a range must not have, lacks, or cannot have."""
        stepped = distribution in ("q_uniform", "q_log_uniform_values")
        if q is None and stepped:
            self.stop("distribution", f"`{distribution}` needs a step `q`.")
        if q is not None and not (stepped or distribution in (None, "int_uniform")):
            self.stop("q", f"is not for {distribution}; write q_uniform.")
        if q is not None and not 0 < q <= span * (1 + ROUNDING):
            self.stop("q", f"must be over 0 and up to max - min, but got {shown(q)}.")

    def reachable(self, low: float, high: float, q: float | None) -> float:
        """Return the largest value that `low` plus a multiple of `q` can have up to `high`."""
        if q is None:
            return high
        if not math.isfinite(num_steps := (high - low) / q):
            self.stop("q", f"must be larger: {shown(q)} divides its range into countless steps.")
        # By rounding the quotient may fall below a whole number: 0.3 / 0.1 is 2.9999999999999996.
        count = math.floor(num_steps + ROUNDING)
        # In decimals, as Optuna counts: 3 * 0.3 is 0.8999999999999999, which cuts the last off.
        top = type(low + q)(Decimal(str(low)) + count * Decimal(str(q)))
        # The bound as the file states it has no rounding error of the steps.
        if abs(top - high) < 1e-6 * q:
            return high
        place, steps = self.node.origin, f"steps of {shown(q)} from {shown(low)}"
        message = f"{steps} do not reach {shown(high)}; the largest value is {shown(top)}."
        self.faults.note(str(place.fault(f"`parameters.{self.name}`: {message}")))
        return top

    def number(self, key: str) -> int | float:
        node = self.node.children().get(key)
        if node is None:
            self.stop("", f"has no `{key}`.")
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            self.stop(key, f"must be a number, but got {shown(node.plain())}.")
        return node.value

    def conditions(self) -> Conditions:
        node = self.node.children().get("when")
        if node is None:
            return {}
        if not isinstance(node.value, dict) or not node.value:
            self.fault("when", "must map another parameter to its value or values.")
            return {}
        when: dict[str, tuple[Scalar, ...]] = {}
        for parent, wanted in node.value.items():
            items = wanted.value if isinstance(wanted.value, list) else [wanted]
            if not items or any(isinstance(item.value, dict | list) for item in items):
                self.fault("when", f"`{printable(parent)}` must have a value or a list of values.")
            else:
                when[parent] = tuple(item.plain() for item in items)
        return when

    def with_prior(self, drawn: Distribution | Constant) -> Distribution | Constant:
        """Return the distribution with the prior that the file states, if it states one."""
        node = self.node.children().get("prior")
        if node is None or node.value is None:
            return drawn
        if isinstance(drawn, Constant):
            self.stop("prior", "has no effect on a constant, which is not searched; take it out.")
        if not isinstance(node.value, dict):
            got = shown(node.plain())
            self.stop(
                "prior", f"must be a mapping, such as {{default: {got}, confidence: medium}}."
            )
        of_prior = f"parameters.{self.name}.prior"
        for key in node.value:
            if key not in PRIOR_KEYS:
                self.fault_at(node.value[key], unknown_key(f"{of_prior}.{key}", PRIOR_KEYS))
        confidence = node.value.get("confidence")
        if confidence is not None and confidence.value not in CONFIDENCES:
            got = shown(confidence.plain())
            message = f"must be one of {', '.join(CONFIDENCES)}, but got {got}."
            self.fault_at(confidence, f"`{of_prior}.confidence` {message}")
        default = node.value.get("default")
        if default is None:
            self.stop("prior", "needs a `default`, around which good values are expected.")
        value = default.plain()
        if not drawn.contains(value):
            narrowing = self.narrowing(drawn, default)
            if narrowing is not None:
                self.fault_at(*self.left_out(narrowing, drawn, default))
            else:
                message = f"is {shown(value)}, but must be {_possible(drawn)}."
                self.fault_at(default, f"`{of_prior}.default` {message}")
        self.go_on()
        value = float(value) if isinstance(drawn, Float) else value
        sure = MEDIUM if confidence is None else confidence.plain()
        return replace(drawn, prior=Prior(default=value, confidence=sure))

    def narrowing(self, drawn: Distribution, default: Node) -> str | None:
        """Return the key of a range that leaves out a prior of an earlier layer, or None."""
        keys: tuple[str, ...] = ("min", "max", "q", "distribution")
        value = default.value
        if not isinstance(drawn, Choice) and isinstance(value, int | float):
            # A bound is to blame only for a value beyond it; within both, the step or the scale is.
            keys = ("min",) if value < drawn.low else ("max",) if value > drawn.high else keys
        later = (key for key in keys if self.layer(key) > self.layer("prior", "default"))
        return next(later, None)

    def layer(self, *path: str) -> int:
        """Return which layer states a key: base, file, profile or command line; -1: none does."""
        walked, node = self.node.trace(path)
        if walked != path:
            return -1
        if node.origin.line is None:
            return 3
        if node.origin != self.stated.at(path).origin:
            return 2
        return int(node.origin.where == self.stated.origin.where)

    def left_out(self, key: str, drawn: Distribution, default: Node) -> tuple[Node, str]:
        """Return the place and the fault of a range that leaves out an earlier prior."""
        node, origin, name = self.node.children()[key], default.origin, f"parameters.{self.name}"
        there = f"line {origin.line}" if origin.line is not None else ""
        if origin.where != node.origin.where:
            there = ", ".join(filter(None, (printable(origin.where, limit=4096), there)))
        if node.origin.line is None:  # an option
            ways = f"--set {name}.prior.default=VALUE", f"--set {name}.prior=null"
        else:
            ways = "`prior: {default: VALUE}` beside it", "`prior: null`"
        return node, (
            f"`{name}.{key}: {shown(node.plain())}` leaves out `prior.default: "
            f"{shown(default.plain())}` ({there}): write {ways[0]}, where VALUE is "
            f"{_possible(drawn)}, or {ways[1]}."
        )

    def go_on(self) -> None:
        if not self.sound:
            raise Unsound

    def stop(self, key: str, message: str) -> NoReturn:
        self.fault(key, message)
        raise Unsound

    def fault(self, key: str, message: str) -> None:
        """Add a fault for `key`, or for the whole parameter if `key` is empty."""
        name = f"parameters.{self.name}" + (f".{printable(key)}" if key else "")
        self.fault_at(key, f"`{name}` {message}")

    def fault_at(self, place: Node | str, message: str) -> None:
        self.sound = False
        node = place if isinstance(place, Node) else self.node.children().get(place, self.node)
        self.faults.add(node, message)


def _possible(distribution: Distribution) -> str:
    """Return the values that can be drawn, in words."""
    match distribution:
        case Choice(values=values):
            return f"one of {', '.join(map(shown, values))}"
        case Int(low=low, high=high, step=1) | Float(low=low, high=high, step=None):
            whole = "an integer " if isinstance(distribution, Int) else ""
            return f"{whole}from {shown(low)} to {shown(high)}"
        case Int(low=low, high=high, step=step) | Float(low=low, high=high, step=step):
            return f"a step of {shown(step)} from {shown(low)} to {shown(high)}"


def written(distribution: Distribution) -> dict[str, Any]:
    """Return a distribution in the notation of a sweep file, for `ParameterReader`."""
    when = {parent: list(values) for parent, values in distribution.when.items()}
    conditions: dict[str, Any] = {"when": when} if when else {}
    if distribution.prior is not None:
        conditions["prior"] = asdict(distribution.prior)
    step: float | None
    match distribution:
        case Choice(values=values):
            return {"values": list(values), **conditions}
        case Int(low=low, high=high, log=True):
            kind, step = "q_log_uniform_values", 1
        case Int(low=low, high=high, step=step):
            kind = "int_uniform"
        case Float(low=low, high=high, log=True):
            kind, step = "log_uniform_values", None
        case Float(low=low, high=high, step=None):
            kind, step = "uniform", None
        case Float(low=low, high=high, step=step):
            kind = "q_uniform"
    q = {} if step is None else {"q": step}
    return {"distribution": kind, "min": low, "max": high, **q, **conditions}


def misses(values: tuple[Scalar, ...], parent: Distribution) -> str | None:
    """Return the reason why `parent` never has a value of a condition, or None."""
    if isinstance(parent, Float) and parent.step is None:
        return "is drawn from a continuous range, and never equals a value."
    if any(map(parent.contains, values)):
        return None
    hint = did_you_mean(str(values[0]), map(str, parent.examples()))
    return f"is never {' or '.join(map(shown, values))}.{hint}"
