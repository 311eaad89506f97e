"""Checks of the arms of an ablation: what they pin, and what they share."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, product
from typing import Any

from sweeper.errors import unknown
from sweeper.model import CONTROL_ARM, Params
from sweeper.spec.arms import BACKBONE, METHOD, SECTIONS, Arm, CompareBy, arms_of
from sweeper.spec.catalog import MODEL, PROXY, SPECS, public_fields
from sweeper.spec.faults import Faults, shown
from sweeper.spec.node import Node
from sweeper.spec.parameters import Takers
from sweeper.spec.rules.file import backbone_faults
from sweeper.spec.schema import SweepFile
from sweeper.spec.shared_base import WAY_OUT
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep
from sweeper.text import printable

MAX_NAME = 200  # characters of a study's name, as the ledger stores it


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
    elif "compare_by" not in keys and "ladder" not in keys:
        for key in ("base", "tune", "max_arms"):
            if key in keys:
                message = " has no effect without `compare_by`, which names arms: take it out."
                faults.about([key], message)
    arms = arms_of(given)
    for name in searched:
        if arms and all(name in arm.pinned for arm in arms):
            message = " is searched, but `compare_by` pins it in each arm: take one out."
            faults.about(["parameters", name], message)


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
        # A listed arm names its method by this key; among crossed factors it is unknown.
        if name == METHOD and not isinstance(given, Mapping):
            continue
        own = replace(takers, methods=_methods_of(name, given, methods))
        check_factor(name, node, values, own)
        if isinstance(given, Mapping) and len(values) < 2:
            faults.about(["compare_by", name], " needs two values or more to compare.")
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
            # An arm without a method is of each method, and so the twin of any.
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
            message = " pins nothing; write `method: NAME` for a method as it is."
            faults.about(["compare_by", i], message)
    named = [arm.get(METHOD) for arm in given]
    for method in methods:
        if given and None not in named and method not in named:
            message = f"no arm of `compare_by` is of {method}: list `{{method: {method}}}`, or"
            faults.add(node, f"{message} take it out of `methods`.")


def check_factor(
    name: str,
    node: Node,
    values: Sequence[tuple[Node, Any]],
    takers: Takers,
    section: str = "compare_by",
) -> None:
    """Add a fault for a factor that some method lacks, or for a value that is refused.

    Args:
        name: The factor.
        node: The section that has it.
        values: Its values, each with its place.
        takers: The methods that pin it.
        section: The name of the section.
    """
    place, label = values[0][0] if values else node, f"{section}.{printable(name)}"
    owner, catalog, faults = name.partition(".")[0], takers.catalog, takers.faults
    if name == PROXY:
        for at, value in values:
            if value not in catalog.proxies:
                faults.add(at, f"`{label}`: {unknown('proxy', shown(value), catalog.proxies)}")
        for method in takers.methods:
            if not catalog.methods[method].needs_source:
                faults.add(place, f"`{label}`: {method} reads no source data; take it out.")
    elif _is_known(name, place, takers, section):
        for at, value in values:
            if value is None and owner == MODEL:
                faults.add(at, f"`{label}` must have a value, but got null.")
            takers.check_value(label, at, name, value)


def _is_known(name: str, place: Node, takers: Takers, section: str) -> bool:
    """Return whether all methods have a factor; add a fault for the first that lacks it."""
    if name.partition(".")[0] not in SECTIONS:
        # `is_known` asks for one of the methods, but the arm is a study of each.
        each = (replace(takers, methods=[method]) for method in takers.methods)
        return all(one.is_known(name, place, section=section) for one in each)
    known = [f"{s}.{key}" for s in SECTIONS for key in public_fields(SPECS[s])]
    if name not in known:
        takers.faults.add(place, unknown("factor", printable(name), known))
    return name in known


def check_arms(sweep: Sweep, studies: Sequence[StudySpec], faults: Faults) -> None:
    """Add a fault for arms that are equal once complete, and notes on an ablation."""
    if not sweep.compare_by:
        return
    groups: dict[tuple[str, str], list[StudySpec]] = {}
    for study in studies:
        if study.arm is not None:
            groups.setdefault((study.method, study.task), []).append(study)
    of_arms = (_faults_of_arms(arms, sweep) for arms in groups.values())
    for fault in chain(_without_arms(groups, sweep), *of_arms):
        faults.add(faults.tree.child("compare_by"), fault)
    if too_long := [study.name for study in studies if len(study.name) > MAX_NAME]:
        faults.add(
            faults.tree.child("compare_by"),
            f"an arm's study would have a name of {len(too_long[0])} characters, over {MAX_NAME}, "
            f"`{printable(too_long[0])}`: pin in `fixed` what all arms have in common.",
        )
    if sweep.tune == "per_arm" and sweep.base != "preset":
        what = f"`base{': tuned' if sweep.base == 'tuned' else ''}`"
        faults.add(
            ["base"],
            f"{what} is for arms that share their settings; with `tune: per_arm` each arm "
            "has a search of its own. Take one out.",
        )
    if not isinstance(sweep.base, str):
        _check_shared(sweep.base, list(groups), faults)
    if sweep.parameters and not sweep.drawn:
        of = "the preset" if sweep.base == "preset" else "settings that were tuned before"
        faults.note(
            f"`parameters` are not searched: the arms share {of}. Write `base: tuned` to "
            "search the base first, or `tune: per_arm` to search each arm."
        )
    if sweep.replicate is None:
        faults.note(
            "each arm has one seed, so that no difference can be tested: add `replicate: {seeds: "
            "8}`."
        )


def _without_arms(
    groups: Mapping[tuple[str, str], Sequence[StudySpec]], sweep: Sweep
) -> Iterator[str]:
    """Yield a fault for each method and task that has no arm beside its control."""
    for method, task in product(sweep.methods, sweep.tasks):
        if all(s.arm and s.arm.name == CONTROL_ARM for s in groups.get((method, task), ())):
            yield (
                f"`{method}` on `{task}` has no arm whose backbone and source data are of its "
                "dimension: add one, or take the task out."
            )


def _faults_of_arms(studies: Sequence[StudySpec], sweep: Sweep) -> Iterator[str]:
    """Yield the faults of the arms of a method on a task: of their backbones, and of twins."""
    for i, study in enumerate(studies):
        assert study.arm is not None
        if study.backbone is not None and study.arm.of(BACKBONE):
            dimension = sweep.catalog.tasks[study.task].dimension
            found = backbone_faults(study.backbone, dimension, sweep.catalog, study.arm.name)
            yield from (fault for _, fault in found)
        for setting, why in _idle(study):
            yield (
                f"`{study.method}` on `{study.task}` {why}, so that `{setting}` changes nothing in "
                f"the arm `{study.arm.name}`: take it out, or list the arms of each `method`."
            )
        twin = next((other.arm for other in studies[:i] if sweep.are_twins(other, study)), None)
        if twin is not None:
            yield (
                f"`{study.method}` on `{study.task}` has two arms that are equal once complete: "
                f"`{twin.name}` and `{study.arm.name}`; keep one."
            )


def _idle(study: StudySpec) -> Iterator[tuple[str, str]]:
    """Yield each setting of an arm that its training would not have, and why."""
    assert study.arm is not None
    for key in study.arm.of(BACKBONE):
        if study.backbone is None:
            yield f"{BACKBONE}.{key}", "has a network of its own"
        elif key in study.entry.backbone:
            yield f"{BACKBONE}.{key}", "sets this itself"
    for key in study.arm.of(MODEL):
        if f"{MODEL}.{key}" not in study.preset:
            yield f"{MODEL}.{key}", "has no such setting"


def _check_shared(
    base: Mapping[str, Params], pairs: Iterable[tuple[str, str]], faults: Faults
) -> None:
    """Add a fault for each method and task that the files of `base` lack; note those left over."""
    wanted = [f"{method}/{task}" for method, task in pairs]
    for study in wanted:
        if study not in base:
            message = f"`base` has no settings of `{study}`, which was not tuned there: add a file"
            faults.add(["base"], f"{message}; {WAY_OUT}.")
    for study in base:
        if study not in wanted:
            what = f"settings of `{printable(study)}`, which the sweep does not have"
            faults.note(f"`base` has {what}.")
    for key, node in faults.tree.child(MODEL).children().items():
        name = f"{MODEL}.{key}"
        tuned = {shown(params[name]) for params in base.values() if name in params}
        others = tuned - {shown(node.value)}
        if others and node.value is not None:
            has = f"is {shown(node.value)} in the file, but {' or '.join(sorted(others))} in `base`"
            faults.note(f"`{name}` {has}, which holds: pin it in `compare_by` to have another.")
