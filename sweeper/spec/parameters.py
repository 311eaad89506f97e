"""The sections `parameters` and `fixed`, checked against the configs of their stages."""

import graphlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ValidationError

from sweeper.errors import SYNONYMS, unknown
from sweeper.model import Params
from sweeper.spec.catalog import MODEL, PROXY, SPECS, Catalog, public_fields, validated
from sweeper.spec.distributions import (
    Choice,
    Constant,
    Distribution,
    ParameterReader,
    misses,
    parents_first,
    requirements,
    same,
)
from sweeper.spec.faults import SECRET_KEY, Faults, sentence, shown, unknown_key
from sweeper.spec.node import Node
from sweeper.text import printable
from trainables.spec import SEARCHED_MODEL

INTEGERS = (
    " It takes integers: write integer bounds, or on a log scale "
    "`distribution: q_log_uniform_values` with `q: 1`."
)


@dataclass(frozen=True)
class Takers:
    """The stages and sections that take parameters, and the faults of what they refuse."""

    methods: Sequence[str]
    catalog: Catalog
    faults: Faults

    @cached_property
    def _types(self) -> Mapping[str, list[type[BaseModel]]]:
        sections = {key: [spec] for key, spec in SPECS.items()}
        return {**self.catalog.stage_types(self.methods), **sections}

    def __getitem__(self, name: str) -> list[type[BaseModel]]:
        """Return the types of the configs that take a parameter."""
        owner, _, key = name.partition(".")
        return [config for config in self._types.get(owner, []) if key in public_fields(config)]

    def refusals(self, name: str, value: Any) -> list[str]:
        """Return the reasons why configs refuse a value of a parameter."""
        key = name.partition(".")[2]
        return [reason for config in self[name] if (reason := refusal(config, key, value))]

    def check_value(self, label: str, node: Node, name: str, value: Any) -> bool:
        """Add a fault if a stage refuses `value`; return whether one does."""
        reason = next(iter(self.refusals(name, value)), None)
        if reason is None:
            return False
        yes_no = isinstance(value, str) and value.lower() in ("on", "off", "yes", "no")
        hint = " Only true and false are booleans in YAML 1.2." if yes_no else ""
        self.faults.add(node, f"`{label}` {reason}, but got {shown(value)}.{hint}")
        return True

    def is_known(self, name: str, node: Node, *, section: str = "parameters") -> bool:
        """Add a fault if no method has the parameter; return whether one has it."""
        known = self.catalog.parameters(self.methods)
        if name in known:
            return True
        usable = self.catalog.usable_methods
        others = [method for method in usable if name in self.catalog.parameters([method])]
        word = SYNONYMS.get(name, name)
        endings = " or ".join(each for each in known if each.endswith(f".{word}"))
        if others:
            message = f"`{name}` is of {', '.join(others)}, but not of {', '.join(self.methods)}."
        elif SECRET_KEY.search(name):
            message = unknown_key(f"{section}.{name}", known)
        elif endings:
            message = f"unknown parameter `{printable(name)}`. Write its stage: {endings}."
        else:
            message = unknown("parameter", printable(name), known)
        self.faults.add(node, message)
        return False


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The searched parameters, parents first, and the fixed ones."""

    searched: dict[str, Distribution] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)


def read_parameters(takers: Takers, document: Node | None = None) -> Parameters:
    """Return the parameters of a merged file. A constant in `parameters` counts as fixed.

    Args:
        takers: The methods of the sweep.
        document: The file without profile and command line; None if the file was checked before.
    """
    read, faults = Parameters(), takers.faults
    for name, node in faults.tree.child("fixed").children().items():
        if _is_of_model(name):
            faults.about(["fixed", name], f": write it under `{MODEL}`.")
            continue
        # A name with a fault is kept: a condition on it must not make a second fault.
        read.fixed[name] = node.plain()
        if takers.is_known(name, node, section="fixed"):
            takers.check_value(f"fixed.{name}", node, name, node.plain())
    stated = {} if document is None else document.child("parameters").children()
    for name, node in faults.tree.child("parameters").children().items():
        is_known = name == PROXY or takers.is_known(name, node)
        found = ParameterReader(printable(name), node, faults, stated=stated.get(name)).read()
        if found is not None and is_known:
            _add(read, name, node, found, takers)
    if document is not None:
        _check_fixed_priors(document, read.fixed, faults)
        _check_conditions(document, read, takers)
    return replace(read, searched=_ordered(read, faults))


def _add(
    read: Parameters, name: str, node: Node, found: Distribution | Constant, takers: Takers
) -> None:
    """Add a parameter that was read. A constant is fixed, so that both notations are the same."""
    if not isinstance(found, Constant):
        read.searched[name] = found
        _check_values(name, node, found, takers)
    elif name == PROXY or _is_of_model(name):
        section = "proxies" if name == PROXY else MODEL
        message = f" has one value; write it under `{section}`."
        takers.faults.about(["parameters", name], message)
    else:
        read.fixed[name] = found.value
        takers.check_value(f"parameters.{name}", node.at(["value"]), name, found.value)


def _check_fixed_priors(document: Node, fixed: Params, faults: Faults) -> None:
    """Add a fault for each prior of a parameter that the same file fixes."""
    for name, node in document.child("parameters").children().items():
        other, prior = document.child("fixed").children().get(name), node.children().get("prior")
        if name in fixed and other is not None and prior is not None:
            message = f"has no effect: `{printable(name)}` is in `fixed` (line {other.origin.line})"
            faults.add(prior, f"`parameters.{printable(name)}.prior` {message}; take one out.")


def refusal(config: type[BaseModel], field: str, value: Any) -> str | None:
    """Return the reason why a stage's config refuses `value` for `field`, or None."""
    try:
        validated(config, {field: value})
    except ValidationError as error:
        # The other fields are absent, and so their errors say nothing about this value.
        messages = [sentence(item) for item in error.errors() if item["loc"][:1] == (field,)]
        return " or ".join(dict.fromkeys(messages)) or None
    return None


def _is_of_model(name: str) -> bool:
    return name in {f"{MODEL}.{key}" for key in SEARCHED_MODEL}


def _check_values(name: str, node: Node, distribution: Distribution, takers: Takers) -> None:
    if name == PROXY:
        _check_proxy(node, distribution, takers)
        return
    label = f"parameters.{name}"
    if isinstance(distribution, Choice):
        for i, value in enumerate(distribution.values):
            place = node.at(["values", i])
            if value is None and _is_of_model(name):
                takers.faults.add(place, f"`{label}.values[{i}]` must have a value, but got null.")
            takers.check_value(f"{label}.values[{i}]", place, name, value)
        return
    # A whole end is checked as an integer, which is valid for integer and real fields.
    for key, value in ("min", distribution.low), ("max", distribution.high):
        whole = int(value) if value == int(value) else value
        if takers.check_value(f"{label}.{key}", node.at([key]), name, whole):
            return
    between = distribution.examples()[1]  # not an integer if possible, to find integer fields
    for reason in takers.refusals(name, between)[:1]:
        takers.faults.add(node, f"`{label}` {reason}, but could draw {shown(between)}.{INTEGERS}")


def _check_proxy(node: Node, distribution: Distribution, takers: Takers) -> None:
    if not isinstance(distribution, Choice):
        takers.faults.add(node, "`parameters.proxy` must have `values`.")
        return
    for i, value in enumerate(distribution.values):
        if value not in (proxies := takers.catalog.proxies):
            message = unknown("proxy", printable(str(value)), proxies)
            takers.faults.add(node.at(["values", i]), message)


def _check_conditions(document: Node, read: Parameters, takers: Takers) -> None:
    """Add a fault for each condition that can never hold.

    A condition never holds if no stage accepts its value, or if the same part of the file fixes
    another value. A profile or `--set` may fix another value without a fault: it disables the
    condition.
    """
    searched, faults = read.searched, takers.faults
    for name, distribution in searched.items():
        for parent, values in distribution.when.items():
            if parent in searched and misses(values, searched[parent]):
                continue  # `_ordered` adds this fault
            path, label = ("parameters", name, "when", parent), f"`parameters.{name}.when`"
            reasons = ((value, _never(parent, value, takers)) for value in values)
            if never := next((each for each in reasons if each[1]), None):
                message = f"`{parent}` is never {shown(never[0])}: it {never[1]}."
                faults.add(path, f"{label}: {message}")
            elif parent in read.fixed and _fixed_beside(faults.tree, document, path):
                fixed = read.fixed[parent]
                if not any(same(fixed, value) for value in values):
                    faults.add(path, f"{label} never holds: `{parent}` is fixed to {shown(fixed)}.")


def _never(name: str, value: Any, takers: Takers) -> str | None:
    """Return the reason why a parameter can never have a value, or None."""
    if name == PROXY:
        proxies = takers.catalog.proxies
        return None if value in proxies else f"must be one of {', '.join(proxies)}"
    # A condition can hold as long as one method accepts the value.
    reasons = takers.refusals(name, value)
    return reasons[0] if reasons and len(reasons) == len(takers[name]) else None


def _fixed_beside(tree: Node, document: Node, path: tuple[str, ...]) -> bool:
    """Return whether the condition at `path` and the fixed value are in the same part of a file.

    Neither of them may come from a profile or from the command line.
    """
    parent = path[-1]
    for section in ("fixed", "parameters"):
        node = tree.child(section).children().get(parent)
        if node is not None:
            given = document.child(section).children().get(parent)
            condition = tree.at(path).origin
            beside = condition == document.at(path).origin and condition.where == node.origin.where
            return given is not None and given.origin == node.origin and beside
    return False


def _ordered(read: Parameters, faults: Faults) -> dict[str, Distribution]:
    """Check every `when`, and return the parameters with their parents first."""
    searched, fixed = read.searched, read.fixed
    given = faults.tree.child("parameters").children()
    told_of: set[str] = set()  # parameters whose condition has a fault
    for name, distribution in searched.items():
        for parent, values in distribution.when.items():
            place, label = ["parameters", name, "when", parent], f"`parameters.{name}.when`"
            if parent in searched:
                if reason := misses(values, searched[parent]):
                    told_of.add(name)
                    faults.add(place, f"{label} never holds: `{parent}` {reason}")
            elif parent not in fixed and parent not in given:  # else it has a fault of its own
                known = unknown("parameter", printable(parent), {*searched, *fixed} - {name})
                faults.add(place, f"{label} refers to what is neither searched nor fixed: {known}")
    # Contradictions along a chain of conditions are found only after cycles are excluded.
    try:
        order = parents_first(searched)
    except graphlib.CycleError as error:
        circle = error.args[1]
        message = " needs ".join(f"`{name}`" for name in reversed(circle))
        faults.add(["parameters", circle[0], "when"], f"circular condition in `when`: {message}.")
        return {}
    for name in order:
        for ancestor, values in requirements(name, order).items():
            if not values and name not in told_of:
                message = f"its conditions contradict each other on `{ancestor}`."
                where = ["parameters", name, "when"]
                faults.add(where, f"`parameters.{name}.when` never holds: {message}")
    return order
