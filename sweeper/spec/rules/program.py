"""The sections `program` and `programs` of a sweep file, which stand for methods and tasks.

    program: {function: "mine:train", metric: loss}
    parameters: {lr: {distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-1}}

is read as if the file had `methods: [train]`, `tasks: [program/loss]` and the parameter `run.lr`.

    program: {metric: loss, data: [small, large]}
    programs: {ours: {function: "mine:train"}, official: {command: [python, theirs.py]}}
    fixed: {official.width: 8}

has two methods on `program/loss@small` and `program/loss@large`. All have the parameter `run.lr`,
but `run.official.width` is of one alone.
"""

import ast
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from sweeper.errors import unknown
from sweeper.spec.catalog import Catalog, fault_of, public_fields
from sweeper.spec.distributions import Choice, Distribution, Float
from sweeper.spec.faults import Faults, dotted
from sweeper.spec.node import Node, Place
from sweeper.spec.schema import OneProgram, Program, ProgramKeys, Section
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep
from sweeper.text import printable
from trainables.methods.program import (
    DATA,
    FOLDER,
    PLACEHOLDER,
    SEED,
    STAGE,
    data_set_of,
    files_of,
    method_of,
    name_of,
    on_this_node,
    program_of,
    task_of,
    text_hash,
)
from trainables.spec import ProgramSpec

if TYPE_CHECKING:
    from trainables.tasks.task import TaskInfo  # NumPy, which loads slowly

PROGRAM, PROGRAMS = "program", "programs"
FILL_IN = "FILL_IN.py"  # a program that an imported search does not name
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")  # of a parameter
OWN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")  # of a program
OF_TRIAL = (SEED, FOLDER, DATA)  # names that parameters cannot have
COUNTED = "epochs"  # the service's own parameter of the stage: it counts reports
UNUSED = ("methods", "tasks", "backbones", "proxies", "model", "data", "stages")
INHERITED = ("steps", "may_change", "folder")  # by each program from what all share
SCRIPT = re.compile(r"[\w.][\w./-]*\.(py|sh)")  # a word, relative to the folder

Where = tuple[str, ...]  # the path of a program: ("program",) or ("programs", NAME)
S = TypeVar("S", bound=Section)


def has_programs(document: Node) -> bool:
    """Return whether a file has a program, or several, in place of methods and tasks."""
    return not document.children().keys().isdisjoint((PROGRAM, PROGRAMS))


def staged(document: Node, of: Node | None = None) -> Node:
    """Return a document in which the names of a program's parameters begin with its stage.

    `of` is the whole document if this is a part of it.
    """
    if not has_programs(of or document):
        return document
    entries = _staged(document.children())
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


def read_programs(faults: Faults, catalog: Catalog, *, is_resolved: bool) -> Catalog:
    """Read the programs of a merged file, and return a catalog with their methods and tasks.

    `faults.tree` then names these. Without a program nothing changes.

    Raises:
        FileFaults: A program has a fault, by which nothing else of the file can be checked.
    """
    if not has_programs(faults.tree):
        return catalog
    faults.tree = tree = staged(faults.tree)
    given = _given(tree, faults)
    measured = _read(Program, tree.child(PROGRAM), (PROGRAM,), faults)
    read = {path: _read(OneProgram, node, path, faults) for path, node in given.items()}
    found = {path: each for path, each in read.items() if each is not None}
    if measured is None or not found or len(found) < len(given):
        faults.stop()
    assert measured is not None
    specs = {path: each.spec(_name(path, each), measured) for path, each in found.items()}
    # A resolved form has the folder and the hash of each text already.
    if not is_resolved:
        _check_keys(tree, measured, next(iter(specs.values())).objective, catalog, faults)
        specs = {p: _found(spec, p, given[p], tree.origin, faults) for p, spec in specs.items()}
        for path, spec in specs.items():
            _check_name(spec, path, catalog, faults)
    names = _names(tree, [spec.name for spec in specs.values()], faults)
    own = {spec.name: _own(spec.name, names) for spec in specs.values()}
    for path, spec in specs.items():
        known = [*own[spec.name].values(), SEED, FOLDER, *[DATA] * bool(measured.data)]
        _check_words(spec, path, known + [COUNTED] * bool(spec.steps), faults)
    faults.stop()
    methods = [method_of(spec, own[spec.name]) for spec in specs.values()]
    tasks = [task_of(next(iter(specs.values())), data) for data in measured.data or ("",)]
    faults.tree = _rewritten(tree, {specs[p].name: (specs[p], given[p]) for p in specs}, tasks)
    return catalog.with_programs(methods, tasks)


def _given(tree: Node, faults: Faults) -> dict[Where, Node]:
    """Return each program by its path, with the keys that all share and it does not have."""
    shared = tree.child(PROGRAM)
    common = {k: v for k, v in shared.children().items() if k in ProgramKeys.model_fields}
    if PROGRAMS not in tree.children():
        return {(PROGRAM,): Node(common, shared.origin)}
    programs = tree.child(PROGRAMS)
    for key in common:
        if key not in INHERITED:
            message = f"is of one program, but there are `{PROGRAMS}`: write it there."
            faults.about([PROGRAM, key], f" {message}")
    if not programs.children():
        faults.add(programs, f"`{PROGRAMS}` must map names to programs.")
    inherited = {key: common[key] for key in INHERITED if key in common}
    return {
        (PROGRAMS, name): Node({**inherited, **node.value}, node.origin)
        if isinstance(node.value, dict)
        else node
        for name, node in programs.children().items()
    }


def _read(kind: type[S], node: Node, path: Where, faults: Faults) -> S | None:
    """Return a section; add its faults, and return None if it has any."""
    try:
        return kind.model_validate(node.plain())
    except ValidationError as error:
        faults.explain(error, path, kind)
        return None


def _name(path: Where, program: OneProgram) -> str:
    return path[1] if path[1:] else name_of(program.function, program.command or ())


def _names(tree: Node, programs: Sequence[str], faults: Faults) -> list[str]:
    """Return the names of all parameters; add a fault for one that no program can have."""
    found: dict[str, None] = {}
    for section in ("parameters", "fixed"):
        for staged_name, node in tree.child(section).children().items():
            whole = staged_name.removeprefix(f"{STAGE}.")
            owner, _, name = whole.rpartition(".")
            if owner and owner not in programs:
                faults.add(node, unknown("program", printable(owner), programs))
            elif name == COUNTED:
                message = f"counts the reports of a trial: write `{PROGRAM}.steps`, which a program"
                faults.add(node, f"`{name}` {message} has among its parameters as `{name}`.")
            elif not NAME.fullmatch(name) or name in OF_TRIAL:
                message = "is of the trial" if name in OF_TRIAL else "must be letters, digits and _"
                faults.add(node, f"`{section}.{printable(whole)}` {message}: name it otherwise.")
            found[whole] = None
    return list(found)


def _own(program: str, names: Sequence[str]) -> dict[str, str]:
    """Return the parameters of a program, each with the name that it has there.

    One that begins with the program's name comes before one of the same name that all share.
    """
    short = {name: name.removeprefix(f"{program}.") for name in names}
    mine = {whole: name for whole, name in short.items() if "." not in name}
    return {k: v for k, v in mine.items() if k != v or f"{program}.{v}" not in mine}


def _check_words(spec: ProgramSpec, path: Where, known: Sequence[str], faults: Faults) -> None:
    """Add a fault for each word of a command that names what the program does not have."""
    for i, word in enumerate(spec.command):
        place: list[str | int] = [*path, "command", i]
        if word == FILL_IN:
            message = f"write the program in place of `{FILL_IN}`, as the import could not."
            faults.about(place, f": {message}")
        for name in PLACEHOLDER.findall(word):
            if name not in known:
                faults.about(place, f": {unknown('parameter', name, known)}")


def _check_name(spec: ProgramSpec, path: Where, catalog: Catalog, faults: Faults) -> None:
    """Add a fault for a program whose name cannot be that of a method."""
    name, what = spec.name, "function" if spec.function else "script"
    way_out = f"rename the {what}, or give it a name under `{PROGRAMS}`."
    way_out = "name it otherwise." if path[1:] else way_out
    if not OWN.fullmatch(name) or name == STAGE:
        faults.about(path, f": `{printable(name)}` names no study: {way_out}")
    elif name in catalog.methods and program_of(catalog.methods[name]) is None:
        faults.about(path, f": `{name}` is a method of sweeper: {way_out}")


def _check_keys(
    tree: Node, measured: Program, objective: str, catalog: Catalog, faults: Faults
) -> None:
    """Add a fault for keys that mean nothing here, and for data sets and floors that are none."""
    for key in UNUSED:
        if key in tree.children():
            faults.add([key], f"`{key}` has no effect on a `{PROGRAM}`: take it out.")
    for i, name in enumerate(measured.data):
        if name in measured.data[:i]:
            faults.add([PROGRAM, "data", i], f"`{PROGRAM}.data` has `{name}` twice; keep one.")
    given = measured.floor
    for name, floor in given.items() if isinstance(given, dict) else [("", given)]:
        place = (PROGRAM, "floor", *([name] if name else []))
        if name and name not in measured.data:
            faults.about(place, f": {unknown('data set', printable(name), measured.data)}")
        elif isinstance(floor, str) and (fault := fault_of("task", floor, catalog.tasks)):
            faults.about(place, f": {fault}")
        elif isinstance(floor, str) and catalog.tasks[floor].metric != objective:
            message = f"`{floor}` has the metric {catalog.tasks[floor].metric}, and the programs "
            message += f"{objective}: let them report it, or write a value."
            faults.about(place, f": {message}")


def _found(spec: ProgramSpec, path: Where, node: Node, file: Place, faults: Faults) -> ProgramSpec:
    """Return a program with its folder and the hash of its text."""
    if spec.code:  # of a function that a running program passes
        return spec
    # A program that an option names lies beside the file, too.
    origin = file if node.origin.line is None else node.origin
    beside = Path(origin.where).absolute().parent
    is_everywhere = Path(spec.folder).is_absolute()
    spec = spec.model_copy(
        update={"folder": str(beside / spec.folder), "travels": not is_everywhere}
    )
    here = on_this_node(spec)
    spec = spec.model_copy(update={"code": text_hash(here)})
    if spec.function is not None and (fault := _fault_of(here)) is not None:
        faults.add((*path, "function"), f"`{dotted(path)}.function: {spec.function}`: {fault}")
    scripts = ((i, w) for i, w in enumerate(spec.command) if SCRIPT.fullmatch(w) and w != FILL_IN)
    for i, script in islice(scripts, 1):
        if not (os.path.isfile(Path(here.folder, script)) or shutil.which(script)):
            message = f"there is no such file in {here.folder}: write its path, or `folder`."
            faults.about((*path, "command", i), f": {message}")
    return spec


def _rewritten(
    tree: Node, programs: Mapping[str, tuple[ProgramSpec, Node]], tasks: Sequence["TaskInfo"]
) -> Node:
    """Return a file that names the methods and the tasks which programs stand for."""
    shared = tree.child(PROGRAM)
    common = {k: v for k, v in shared.children().items() if k not in ProgramKeys.model_fields}
    placed = {
        name: Node({**node.children(), "folder": Node(spec.folder, node.origin),
                    "code": Node(spec.code, node.origin)}, node.origin)
        for name, (spec, node) in programs.items()
    }  # fmt: skip
    named = {"methods": [*programs], "tasks": [task.name for task in tasks]}
    lists = {
        key: Node([Node(each, tree.origin) for each in names], tree.origin)
        for key, names in named.items()
    }
    sections = {PROGRAM: Node(common, shared.origin), PROGRAMS: Node(placed, tree.origin)}
    return Node({**tree.children(), **sections, **lists}, tree.origin)


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
    known = {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef)}
    if name in known and not _takes_two(known[name]):
        return "it must take two arguments, params and trial."
    # Names that are assigned or imported may be functions, too.
    others = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}
    others |= {each.asname or each.name for each in ast.walk(tree) if isinstance(each, ast.alias)}
    return None if name in {*known, *others} else unknown("function", name, known)


def _takes_two(function: ast.FunctionDef) -> bool:
    """Return whether two positional arguments call a function; a decorator may change that."""
    if any("trainable" not in ast.unparse(each) for each in function.decorator_list):
        return True
    given = function.args
    positional = len(given.posonlyargs) + len(given.args)
    is_enough = positional - len(given.defaults) <= 2 and None not in given.kw_defaults
    return is_enough and (positional >= 2 or given.vararg is not None)


def sections_of(
    resolved: Mapping[str, Any], methods: Sequence[str], task: str = ""
) -> dict[str, dict[str, Any]]:
    """Return the sections of a file about some programs of a resolved sweep, on one task or all.

    They have no hashes, so that a launch reads the texts that programs have then.
    """
    shared = {k: v for k, v in resolved[PROGRAM].items() if v not in (None, [])}
    if data := data_set_of(task):
        shared["data"] = [data]
        if isinstance(floor := shared.get("floor"), dict):
            shared["floor"] = {k: v for k, v in floor.items() if k == data}
    given = {
        name: {k: v for k, v in resolved[PROGRAMS][name].items() if v and k != "code"}
        for name in methods
    }
    only = given[methods[0]]
    # A lone program with the name of its function or script fits the short form.
    if [name_of(only.get("function"), only.get("command", ()))] == [*methods]:
        return {PROGRAM: {**only, **shared}}
    return {PROGRAM: shared, PROGRAMS: given}


def with_defaults(sweep: Sweep) -> Sweep:
    """Return a sweep whose first trials have the prior of each parameter, or the middle of it."""
    if sweep.program is None:
        return sweep
    middles = {name: _default(each) for name, each in sweep.parameters.items()}
    methods = []
    for name in sweep.methods:
        method = sweep.catalog.methods[name]
        known = [f"{STAGE}.{key}" for key in public_fields(method.stages[STAGE])]
        mine = {key: value for key, value in middles.items() if key in known}
        methods.append(replace(method, preset={**method.preset, **mine}))
    tasks = [sweep.catalog.tasks[name] for name in sweep.tasks]
    return replace(sweep, catalog=sweep.catalog.with_programs(methods, tasks))


def _default(of: Distribution) -> Any:
    if of.prior is not None:
        return of.prior.default
    if isinstance(of, Choice):
        return of.values[0]
    middle = math.sqrt(of.low * of.high) if of.log else (of.low + of.high) / 2
    if isinstance(of, Float) and not of.step:
        return middle
    # The middle of a stepped range need not be a step.
    step = of.step or 1
    near = of.low + round((middle - of.low) / step) * step
    return near if isinstance(of, Float) else int(near)


def has_known_epochs(study: StudySpec) -> bool:
    """Return whether the epochs of a trial are known; of a program without `steps` they are not."""
    program = program_of(study.entry)
    return program is None or program.steps is not None
