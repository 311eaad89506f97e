"""The section `program` of a sweep file, which stands for a method and a task of its own.

    program: {function: "mine:train", metric: loss}
    parameters: {lr: {distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-1}}

is read as if the file had `methods: [train]`, `tasks: [program/loss]` and the parameter `run.lr`.
"""

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sweeper.errors import unknown
from sweeper.spec.catalog import Catalog
from sweeper.spec.distributions import Choice, Distribution, Float
from sweeper.spec.faults import Faults
from sweeper.spec.node import Node
from sweeper.spec.schema import Program
from sweeper.spec.sweep import Sweep
from sweeper.text import printable
from trainables.methods.program import (
    PLACEHOLDER,
    SEED,
    STAGE,
    files_of,
    method_of,
    program_of,
    task_of,
    text_hash,
)
from trainables.spec import ProgramSpec

PROGRAM = "program"
FILL_IN = "FILL_IN.py"  # a program that an imported search does not name
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")  # of a parameter
OWN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")  # of a program
COUNTED = "epochs"  # the service's own parameter of the stage: it counts reports
UNUSED = ("methods", "tasks", "backbones", "proxies", "model", "data", "stages")


def staged(document: Node) -> Node:
    """Return a document in which the names of a program's parameters begin with its stage."""
    entries = document.children()
    if PROGRAM not in entries:
        return document
    entries = _staged(entries)
    if (profiles := entries.get("profiles")) is not None and profiles.children():
        renamed = {k: Node(_staged(p.children()), p.origin) for k, p in profiles.children().items()
                   if p.children()}  # fmt: skip
        entries["profiles"] = Node({**profiles.children(), **renamed}, profiles.origin)
    return Node(entries, document.origin)


def _staged(entries: Mapping[str, Node]) -> dict[str, Node]:
    found = dict(entries)
    for section in ("parameters", "fixed"):
        if (node := found.get(section)) is not None and node.children():
            found[section] = _renamed(node, with_conditions=section == "parameters")
    return found


def _renamed(node: Node, *, with_conditions: bool = False) -> Node:
    entries = {}
    for name, child in node.children().items():
        if with_conditions and "when" in child.children():
            when = _renamed(child.children()["when"])
            child = Node({**child.children(), "when": when}, child.origin)
        entries[name if name.startswith(f"{STAGE}.") else f"{STAGE}.{name}"] = child
    return Node(entries, node.origin)


def read_program(faults: Faults, catalog: Catalog, *, is_resolved: bool) -> Catalog:
    """Read the program of a merged file, and return a catalog with its method and its task.

    `faults.tree` then names these two. Without a program nothing changes.

    Raises:
        FileFaults: The program has a fault, by which nothing else of the file can be checked.
    """
    if PROGRAM not in faults.tree.children():
        return catalog
    faults.tree = tree = staged(faults.tree)
    node = tree.children()[PROGRAM]
    try:
        spec = Program.model_validate(node.plain()).spec
    except ValidationError as error:
        faults.explain(error, (PROGRAM,), Program)
        faults.stop()
        raise
    if not is_resolved:
        for key in UNUSED:
            if key in tree.children():
                faults.add([key], f"`{key}` has no effect on a `program`: take it out.")
        spec = _found(spec, node, faults)
        _check_name(spec, node, catalog, faults)
    names = _names(tree, faults)
    _check_words(spec, names, faults)
    faults.stop()
    method, task = method_of(spec, names), task_of(spec)
    place = {"folder": spec.folder, "code": spec.code}
    placed = {**node.children(), **{k: Node(v, node.origin) for k, v in place.items()}}
    named = {"methods": method.name, "tasks": task.name}
    lists = {k: Node([Node(v, node.origin)], node.origin) for k, v in named.items()}
    faults.tree = Node(
        {**tree.children(), PROGRAM: Node(placed, node.origin), **lists}, tree.origin
    )
    return catalog.with_program(method, task)


def _names(tree: Node, faults: Faults) -> list[str]:
    """Return the names of the parameters of a program; add a fault for one that cannot be had."""
    found: dict[str, None] = {}
    for section in ("parameters", "fixed"):
        for staged_name, node in tree.child(section).children().items():
            name = staged_name.removeprefix(f"{STAGE}.")
            if name == COUNTED:
                message = f"counts the reports of a trial: write `{PROGRAM}.steps`, which a program"
                faults.add(node, f"`{name}` {message} has among its parameters as `{name}`.")
            elif not NAME.fullmatch(name) or name == SEED:
                message = "must be letters, digits and _" if name != SEED else "is of the trial"
                faults.add(node, f"`{section}.{printable(name)}` {message}: name it otherwise.")
            found[name] = None
    return list(found)


def _check_words(spec: ProgramSpec, names: list[str], faults: Faults) -> None:
    known = dict.fromkeys([*names, SEED, *([COUNTED] if spec.steps else [])])
    for i, word in enumerate(spec.command):
        if word == FILL_IN:
            message = f"write the program in place of `{FILL_IN}`, as the import could not."
            faults.add([PROGRAM, "command", i], f"`{PROGRAM}.command[{i}]`: {message}")
        for name in PLACEHOLDER.findall(word):
            if name not in known:
                message = unknown("parameter", name, known)
                faults.add([PROGRAM, "command", i], f"`{PROGRAM}.command[{i}]`: {message}")


def _check_name(spec: ProgramSpec, node: Node, catalog: Catalog, faults: Faults) -> None:
    name, what = spec.name, "function" if spec.function else "script"
    if not OWN.fullmatch(name):
        faults.add(node, f"`{PROGRAM}`: `{printable(name)}` names no study: rename the {what}.")
    elif name in catalog.methods and program_of(catalog.methods[name]) is None:
        faults.add(node, f"`{PROGRAM}`: `{name}` is a method of sweeper: rename the {what}.")


def _found(spec: ProgramSpec, node: Node, faults: Faults) -> ProgramSpec:
    """Return a program with its folder and the hash of its text."""
    if spec.code:  # of a function that a running program passes
        return spec
    beside = Path(node.origin.where).absolute().parent
    spec = spec.model_copy(update={"folder": spec.folder or str(beside)})
    spec = spec.model_copy(update={"code": text_hash(spec)})
    if spec.function is not None and (fault := _fault_of(spec)) is not None:
        faults.add([PROGRAM, "function"], f"`{PROGRAM}.function: {spec.function}`: {fault}")
    return spec


def _fault_of(spec: ProgramSpec) -> str | None:
    """Return why a function is not there; nothing is imported. None: it is, or may be."""
    module, _, name = str(spec.function).rpartition(":")
    if not module:
        return "its module is missing: write MODULE:NAME, such as mine:train."
    file = next(iter(files_of(spec)), None)
    if file is None:
        if find_spec(module.partition(".")[0]) is not None:  # installed: its worker imports it
            return None
        return f"there is no {module.replace('.', '/')}.py in {spec.folder}, nor is it installed."
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        return f"{file} is not valid Python: {error}."
    known = [each.name for each in tree.body if isinstance(each, ast.FunctionDef)]
    # Names that are assigned or imported may be functions, too.
    others = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}
    others |= {each.asname or each.name for each in ast.walk(tree) if isinstance(each, ast.alias)}
    return None if name in {*known, *others} else unknown("function", name, known)


def with_defaults(sweep: Sweep) -> Sweep:
    """Return a sweep whose first trial has the prior of each parameter, or the middle of it."""
    if sweep.program is None:
        return sweep
    (name,), catalog = sweep.methods, sweep.catalog
    method = catalog.methods[name]
    middles = {name: _default(each) for name, each in sweep.parameters.items()}
    method = replace(method, preset={**method.preset, **middles})
    return replace(sweep, catalog=catalog.with_program(method, catalog.tasks[sweep.tasks[0]]))


def _default(of: Distribution) -> Any:
    if of.prior is not None:
        return of.prior.default
    if isinstance(of, Choice):
        return of.values[0]
    middle = math.sqrt(of.low * of.high) if of.log else (of.low + of.high) / 2
    if isinstance(of, Float) and not of.step:
        return middle
    step = of.step or 1
    near = of.low + round((middle - of.low) / step) * step
    return near if isinstance(of, Float) else int(near)
