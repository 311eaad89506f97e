"""The arms of an ablation: configurations with some settings pinned, each a study of its own.

    compare_by: {refine.freeze: [none, body], align.epochs: [0, 20]}    # crossed: four arms
    compare_by: [{refine.freeze: body}, {align.epochs: 0}]              # listed: two arms

A setting that an arm pins is a factor: `stage.parameter`, `model.SETTING`, `data.SETTING`,
`backbone.SETTING` or `proxy`. All other settings of the arms are those of their common base.
A listed arm with `method` is of this method alone; one that pins nothing else is the method as it
is.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from sweeper.errors import unknown
from sweeper.model import PRESET_ARM, Params
from sweeper.spec.catalog import MODEL, PROXY, SPECS, Settings, public_fields
from sweeper.spec.faults import Faults, shown
from sweeper.spec.node import Node
from sweeper.spec.parameters import Takers
from sweeper.spec.schema import SweepFile
from sweeper.text import printable

DATA, BACKBONE = "data", "backbone"  # prefixes of settings of these sections
SECTIONS = (DATA, BACKBONE)
ORIGINS = ("name", "hub", "timm", "revision")  # settings that say where a backbone is from
METHOD = "method"  # key of a listed arm of one method
UNFIT = re.compile(r"[^A-Za-z0-9._+-]+")  # characters that a value's text in a name may not have

CompareBy = Mapping[str, Sequence[Any]] | Sequence[Params]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One configuration of an ablation."""

    name: str  # "refine.freeze=body", which ends the name of its studies
    pinned: Params = field(default_factory=dict)
    method: str | None = None  # None: of every method

    def of(self, section: str) -> dict[str, Any]:
        """Return the pinned settings of a section: `model`, `data` or `backbone`."""
        start = f"{section}."
        return {k.removeprefix(start): v for k, v in self.pinned.items() if k.startswith(start)}

    def backbone_on(self, common: Settings) -> Settings:
        """Return the arm's backbone, given that of the file, whose origin a pinned one replaces."""
        pinned = self.of(BACKBONE)
        kept = common
        if not pinned.keys().isdisjoint(ORIGINS):
            kept = {key: value for key, value in common.items() if key not in ORIGINS}
        return {**kept, **pinned}


def arms_of(compare_by: CompareBy) -> tuple[Arm, ...]:
    """Return the arms: all combinations of the values of crossed factors, or the listed ones."""
    if isinstance(compare_by, Mapping):
        listed: Iterator[Params] | Sequence[Params] = (
            dict(zip(compare_by, values, strict=True)) for values in product(*compare_by.values())
        )
        return tuple(map(arm_of, listed)) if compare_by else ()
    return tuple(map(arm_of, compare_by))


def factors(compare_by: CompareBy) -> list[str]:
    """Return the settings that some arm pins."""
    if isinstance(compare_by, Mapping):
        return list(compare_by)
    return list(dict.fromkeys(name for arm in compare_by for name in arm if name != METHOD))


def levels_of_factor(compare_by: CompareBy, factor: str) -> list[Any]:
    """Return the values of a setting that arms pin, in their order."""
    if isinstance(compare_by, Mapping):
        return list(compare_by[factor])
    return [arm[factor] for arm in compare_by if factor in arm]


def arm_of(listed: Params) -> Arm:
    """Return the arm that pins these settings, of the method that they name, if any."""
    pinned = {name: value for name, value in listed.items() if name != METHOD}
    name = ",".join(f"{k}={_text(v)}" for k, v in pinned.items())
    return Arm(name=name or PRESET_ARM, pinned=pinned, method=listed.get(METHOD))


def _text(value: Any) -> str:
    plain = value if isinstance(value, str) else json.dumps(value)
    return UNFIT.sub("-", plain).strip("-") or "-"


def check_ablation_keys(given: CompareBy, searched: Iterable[str], faults: Faults) -> None:
    """Add a fault for each key of an ablation that has no effect.

    Args:
        given: Its `compare_by`.
        searched: The searched parameters.
        faults: The faults so far; new ones are added.
    """
    keys = faults.tree.children()
    if "compare_by" in keys and keys["compare_by"].plain() in ({}, []):
        faults.add(keys["compare_by"], "`compare_by` has no arm; list two or more, or take it out.")
    elif "compare_by" not in keys:
        for key in ("base", "tune", "max_arms"):
            if key in keys:
                message = "has no effect without `compare_by`, which names arms: take it out."
                faults.add(keys[key], f"`{key}` {message}")
    arms = arms_of(given)
    for name in searched:
        if arms and all(name in arm.pinned for arm in arms):
            message = f"`parameters.{name}` is searched, but `compare_by` pins it in each arm: take"
            faults.add(["parameters", name], f"{message} one out.")


def check_compare_by(settings: SweepFile, takers: Takers) -> None:
    """Add faults for factors of a file that are unknown, for values, and for arms that are twice.

    Args:
        settings: The file.
        takers: The methods of the sweep.
    """
    given, methods, faults = settings.compare_by, takers.methods, takers.faults
    node = faults.tree.child("compare_by")
    if isinstance(given, Mapping):
        pinned = [(k, [(node.at([k, i]), v) for i, v in enumerate(vs)]) for k, vs in given.items()]
        count = math.prod(map(len, given.values()))
    else:
        places: dict[str, list[tuple[Node, Any]]] = {}
        for i, arm in enumerate(given):
            for name, value in arm.items():
                places.setdefault(name, []).append((node.at([i, name]), value))
        pinned, count = list(places.items()), len(given)
        _check_methods_of_arms(node, given, methods, faults)
    for name, values in pinned:
        if name == METHOD and not isinstance(given, Mapping):
            continue
        own = replace(takers, methods=_methods_of(name, given, methods))
        _check_factor(name, node, values, own)
        if isinstance(given, Mapping) and len(values) < 2:
            faults.add(node.at([name]), f"`compare_by.{name}` needs two values or more to compare.")
    if not isinstance(given, Mapping) and count == 1:
        faults.add(node, "`compare_by` has one arm; list two or more.")
    if count > (max_arms := settings.max_arms):
        message = f"`compare_by` has {count} arms for each method and task, over `max_arms`"
        faults.add(
            node, f"{message} ({max_arms}): list fewer, or raise it with --max-arms {count}."
        )
    elif twice := _twice(arms_of(given)):
        faults.add(node, f"`compare_by` has the arm `{twice}` twice; keep one.")


def _twice(arms: Sequence[Arm]) -> str | None:
    """Return the name of an arm that a method has twice, or None."""
    return next(
        (
            arm.name
            for i, arm in enumerate(arms)
            for other in arms[:i]
            if other.name == arm.name
            and (None in (arm.method, other.method) or arm.method == other.method)
        ),
        None,
    )


def _methods_of(name: str, given: CompareBy, methods: Sequence[str]) -> list[str]:
    """Return the methods whose arms pin a factor."""
    if isinstance(given, Mapping):
        return list(methods)
    named = [arm.get(METHOD) for arm in given if name in arm]
    return [method for method in methods if None in named or method in named]


def _check_methods_of_arms(
    node: Node, given: Sequence[Params], methods: Sequence[str], faults: Faults
) -> None:
    """Add a fault for an arm of a method that the sweep lacks, and for a method without an arm."""
    for i, arm in enumerate(given):
        if METHOD in arm and arm[METHOD] not in methods:
            message = unknown("method", shown(arm[METHOD]), methods)
            faults.add(node.at([i, METHOD]), f"`compare_by[{i}]`: {message}")
        elif not arm:
            message = "pins nothing; write `method: NAME` for a method as it is."
            faults.add(node.at([i]), f"`compare_by[{i}]` {message}")
    named = [arm.get(METHOD) for arm in given]
    for method in methods:
        if given and None not in named and method not in named:
            message = f"no arm of `compare_by` is of {method}: list `{{method: {method}}}`, or"
            faults.add(node, f"{message} take it out of `methods`.")


def _check_factor(
    name: str, node: Node, values: Sequence[tuple[Node, Any]], takers: Takers
) -> None:
    """Add a fault for a factor that some method lacks, or for a value that is refused."""
    place, label = values[0][0] if values else node, f"compare_by.{printable(name)}"
    section, catalog, faults = name.partition(".")[0], takers.catalog, takers.faults
    if name == PROXY:
        for at, value in values:
            if value not in catalog.proxies:
                faults.add(at, f"`{label}`: {unknown('proxy', shown(value), catalog.proxies)}")
        for method in takers.methods:
            if not catalog.methods[method].needs_source:
                faults.add(place, f"`{label}`: {method} reads no source data; take it out.")
    elif _is_known(name, place, takers):
        for at, value in values:
            if value is None and section == MODEL:
                faults.add(at, f"`{label}` must have a value, but got null.")
            takers.check_value(label, at, name, value)


def _is_known(name: str, place: Node, takers: Takers) -> bool:
    """Return whether all methods have a factor; add a fault for the first that lacks it."""
    if name.partition(".")[0] not in SECTIONS:
        each = (replace(takers, methods=[method]) for method in takers.methods)
        return all(one.is_known(name, place, section="compare_by") for one in each)
    known = [f"{s}.{key}" for s in SECTIONS for key in public_fields(SPECS[s])]
    if name not in known:
        takers.faults.add(place, unknown("factor", printable(name), known))
    return name in known
