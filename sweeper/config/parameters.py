"""The sections `parameters` and `fixed`, checked against the configs of their stages."""

import graphlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from sweeper.config.catalog import MODEL, PROXY, Catalog, public_fields, validated
from sweeper.config.distributions import (
    Choice,
    Constant,
    Distribution,
    Float,
    Int,
    ParameterReader,
    misses,
    parents_first,
    requirements,
    same,
)
from sweeper.config.faults import SECRET_KEY, Faults, sentence, shown, unknown_key
from sweeper.config.node import Node
from sweeper.errors import SYNONYMS, unknown
from sweeper.model import Params
from sweeper.text import printable

INTEGERS = (
    " It takes integers: write integer bounds, or on a log scale "
    "`distribution: q_log_uniform_values` with `q: 1`."
)


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The searched parameters, parents first, and the fixed ones."""

    searched: Mapping[str, Distribution]
    fixed: Params
    notes: tuple[str, ...]


def read_parameters(
    methods: Iterable[str], catalog: Catalog, faults: Faults, *, document: Node | None = None
) -> Parameters:
    """Return the parameters of a merged file. A constant in `parameters` counts as fixed.

    Args:
        methods: The methods of the sweep.
        catalog: The known names.
        faults: The faults so far; new ones are added.
        document: The file without profile and command line; None if the file was checked before.
    """
    methods = list(methods)
    types = catalog.parameter_types(methods)
    searched: dict[str, Distribution] = {}
    fixed: dict[str, Any] = {}
    unread: set[str] = set()  # parameters with a fault
    notes: list[str] = []

    for name, node in faults.tree.child("fixed").children().items():
        if _is_of_model(name, catalog):
            faults.add(node, f"`fixed.{name}`: write it under `{MODEL}`.")
            continue
        fixed[name] = node.plain()
        if is_known(name, node, methods, catalog, faults, section="fixed"):
            check_value(f"fixed.{name}", node, name, node.plain(), types, faults)

    stated = {} if document is None else document.child("parameters").children()

    # A constant moves to `fixed`, so that both notations give the same sweep.
    for name, node in faults.tree.child("parameters").children().items():
        known = name == PROXY or is_known(name, node, methods, catalog, faults)
        reader = ParameterReader(printable(name), node, faults, stated=stated.get(name))
        read = reader.read()
        notes += reader.notes
        if read is None or not known:
            unread.add(name)
        elif isinstance(read, Constant):
            if name == PROXY or _is_of_model(name, catalog):
                section = "proxies" if name == PROXY else MODEL
                faults.add(node, f"`parameters.{name}` has one value; write it under `{section}`.")
                continue
            fixed[name] = read.value
            place = node.at(["value"])
            check_value(f"parameters.{name}", place, name, read.value, types, faults)
        else:
            searched[name] = read
            _check_values(name, node, read, types, catalog, faults)
    if document is not None:
        _check_fixed_priors(document, fixed, faults)
        _check_conditions(document, searched, fixed, types, catalog, faults)
    return Parameters(
        searched=_ordered(searched, fixed, unread, faults), fixed=fixed, notes=tuple(notes)
    )


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
        messages = [sentence(item) for item in error.errors() if item["loc"][:1] == (field,)]
        return " or ".join(dict.fromkeys(messages)) or None
    return None


def is_known(
    name: str,
    node: Node,
    methods: list[str],
    catalog: Catalog,
    faults: Faults,
    *,
    section: str = "parameters",
) -> bool:
    """Add a fault if no method has the parameter; return whether one has it."""
    known = catalog.parameters(methods)
    if name in known:
        return True
    others = [m for m in catalog.usable_methods if name in catalog.parameters([m])]
    word = SYNONYMS.get(name, name)
    endings = [k for k in known if k.endswith(f".{word}")]
    if others:
        message = f"`{name}` is of {', '.join(others)}, but not of {', '.join(methods)}."
    elif SECRET_KEY.search(name):
        message = unknown_key(f"{section}.{name}", known)
    elif endings:
        message = f"unknown parameter `{printable(name)}`. Write its stage: {' or '.join(endings)}."
    else:
        message = unknown("parameter", printable(name), known)
    faults.add(node, message)
    return False


def _is_of_model(name: str, catalog: Catalog) -> bool:
    return name in catalog.parameters([]) and name.partition(".")[0] == MODEL


def _takers(name: str, types: Mapping[str, list[type[BaseModel]]]) -> list[type[BaseModel]]:
    stage, _, field = name.partition(".")
    return [config for config in types.get(stage, []) if field in public_fields(config)]


def check_value(
    label: str,
    node: Node,
    name: str,
    value: Any,
    types: Mapping[str, list[type[BaseModel]]],
    faults: Faults,
) -> bool:
    """Add a fault if a stage refuses `value`; return whether it does."""
    field = name.partition(".")[2]
    for config in _takers(name, types):
        if reason := refusal(config, field, value):
            yes_no = isinstance(value, str) and value.lower() in ("on", "off", "yes", "no")
            hint = " Only true and false are booleans in YAML 1.2." if yes_no else ""
            faults.add(node, f"`{label}` {reason}, but got {shown(value)}.{hint}")
            return True
    return False


def _check_values(
    name: str,
    node: Node,
    distribution: Distribution,
    types: Mapping[str, list[type[BaseModel]]],
    catalog: Catalog,
    faults: Faults,
) -> None:
    if name == PROXY:
        _check_proxy(node, distribution, catalog, faults)
        return
    label = f"parameters.{name}"
    if isinstance(distribution, Choice):
        for i, value in enumerate(distribution.values):
            place = node.at(["values", i])
            if value is None and _is_of_model(name, catalog):
                faults.add(place, f"`{label}.values[{i}]` must have a value, but got null.")
            check_value(f"{label}.values[{i}]", place, name, value, types, faults)
        return
    # A whole end is checked as an integer, which is valid for integer and real fields.
    for key, value in ("min", distribution.low), ("max", distribution.high):
        whole = int(value) if isinstance(distribution, Float) and value == int(value) else value
        if check_value(f"{label}.{key}", node.at([key]), name, whole, types, faults):
            return
    if not isinstance(distribution, Float):
        return
    between = distribution.examples()[1]  # not an integer if possible, to find integer fields
    for config in _takers(name, types):
        if reason := refusal(config, name.partition(".")[2], between):
            message = f"`{label}` {reason}, but could draw {shown(between)}.{INTEGERS}"
            faults.add(node, message)
            return


def _check_proxy(node: Node, distribution: Distribution, catalog: Catalog, faults: Faults) -> None:
    if isinstance(distribution, Float | Int):
        faults.add(node, "`parameters.proxy` must have `values`.")
        return
    for i, value in enumerate(distribution.values):
        if value not in catalog.proxies:
            message = unknown("proxy", printable(str(value)), catalog.proxies)
            faults.add(node.at(["values", i]), message)


def _check_conditions(
    document: Node,
    searched: Mapping[str, Distribution],
    fixed: Params,
    types: Mapping[str, list[type[BaseModel]]],
    catalog: Catalog,
    faults: Faults,
) -> None:
    """Add a fault for each condition that can never hold.

    A condition never holds if no stage accepts its value, or if the same part of the file fixes
    another value. A profile or `--set` may fix another value without a fault: it disables the
    condition.
    """
    for name, distribution in searched.items():
        for parent, values in distribution.when.items():
            if parent in searched and misses(values, searched[parent]):
                continue  # `_ordered` adds this fault
            path = ("parameters", name, "when", parent)
            place, label = path, f"`parameters.{name}.when`"
            for value in values:
                if reason := _never(parent, value, types, catalog):
                    message = f"`{parent}` is never {shown(value)}: it {reason}."
                    faults.add(place, f"{label}: {message}")
                    break
            else:
                message = f"{label} never holds: `{parent}` is fixed to {shown(fixed.get(parent))}."
                wanted = any(same(fixed.get(parent), value) for value in values)
                if parent in fixed and not wanted and _fixed_beside(faults.tree, document, path):
                    faults.add(place, message)


def _never(
    name: str, value: Any, types: Mapping[str, list[type[BaseModel]]], catalog: Catalog
) -> str | None:
    """Return the reason why a parameter can never have a value, or None."""
    if name == PROXY:
        known = value in catalog.proxies
        return None if known else f"must be one of {', '.join(catalog.proxies)}"
    takers = _takers(name, types)
    reasons = [refusal(config, name.partition(".")[2], value) for config in takers]
    return reasons[0] if reasons and all(reasons) else None


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


def _ordered(
    searched: dict[str, Distribution], fixed: Params, unread: set[str], faults: Faults
) -> dict[str, Distribution]:
    """Check every `when`, and return the parameters with their parents first."""
    told_of: set[str] = set()
    for name, distribution in searched.items():
        for parent, values in distribution.when.items():
            place = faults.tree.at(["parameters", name, "when", parent])
            label = f"`parameters.{name}.when`"
            if parent in searched:
                if reason := misses(values, searched[parent]):
                    told_of.add(name)
                    faults.add(place, f"{label} never holds: `{parent}` {reason}")
            elif parent not in fixed and parent not in unread:
                known = unknown("parameter", printable(parent), {*searched, *fixed} - {name})
                faults.add(place, f"{label} refers to what is neither searched nor fixed: {known}")
    # Contradictions along a chain of conditions are found only after cycles are excluded.
    try:
        order = parents_first(searched)
    except graphlib.CycleError as error:
        circle = error.args[1]
        message = " needs ".join(f"`{name}`" for name in reversed(circle))
        faults.add(["parameters", circle[0], "when"], f"`when` goes in a circle: {message}.")
        return {}
    for name in order:
        for ancestor, values in requirements(name, order).items():
            if not values and name not in told_of:
                message = f"its conditions contradict each other on `{ancestor}`."
                place = faults.tree.at(["parameters", name, "when"])
                faults.add(place, f"`parameters.{name}.when` never holds: {message}")
    return order
