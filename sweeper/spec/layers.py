"""The layers of a sweep file, merged into one document. Each value keeps its place.

    base <- file <- profile <- --set <- --trials

Mappings merge, lists and scalars replace, and null removes a key, as in JSON Merge Patch (RFC
7396). There are three exceptions. A backbone in the short form, a name, becomes `{name: ...}` if a
layer adds keys to it. A parameter loses its range if a layer gives it values, and vice versa. Null
is a value where it is one and the default is another (`is_nullable`). A parameter that a layer
searches is removed from what those below fix, and vice versa.

A base is a file with the common part of several sweeps. `extends: base/pdebench.yaml` names it
relative to the file. There is one level only. The profiles of both files merge.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import TypedDict, get_args

from pydantic import BaseModel

from sweeper.errors import SYNONYMS, FileFaults, unknown
from sweeper.spec.catalog import PROXY, Catalog, Settings
from sweeper.spec.faults import Faults, model_keys, shown, unknown_key
from sweeper.spec.node import Node, Place
from sweeper.spec.reader import parse, parse_value, read_text, to_yaml
from sweeper.spec.rules.program import has_programs
from sweeper.spec.schema import NAME, RULES, SweepFile
from sweeper.spec.shared_base import names_files, with_base_settings
from sweeper.spec.task_files import INCLUDE, TASK_FILES
from sweeper.text import printable, visible
from trainables.methods.program import STAGE

EXTENDS = "extends"
_OURS = {  # key of other tools -> key of a sweep file
    "method": "methods", "task": "tasks", "backbone": "backbones", "proxy": "proxies",
    "space": "parameters", "search_space": "parameters", "hyperparameters": "parameters",
    "run_cap": "search.trials", "n_trials": "search.trials", "num_samples": "search.trials",
    "trials": "search.trials", "max_trials": "search.trials", "seed": "search.seed",
    "sampler": "search.sampler", "max_concurrent": "search.max_concurrent",
    "early_terminate": "pruning", "scheduler": "pruning", "retry": "failures",
    "failure": "failures", "storage": "--storage", "stage": "stages", "command": "program",
    "stage_cache": "stage_store", "notifications": "notify", "webhook": "notify",
    "webhooks": "notify", "alerts": "notify",
}  # fmt: skip
HINTS = {  # unknown key -> what to do
    **{key: f"Write `{ours}`." for key, ours in _OURS.items()},
    EXTENDS: "It is read at the top of a file alone.",
    INCLUDE: "It is read at the top of a file alone; a command has --include PATH.",
    TASK_FILES: "It is read at the top of a file alone.",
    **dict.fromkeys(
        ("metric", "mode", "goal", "direction", "objective"),
        "The task's metric decides: lower is better.",
    ),
    **dict.fromkeys(
        ("plugin", "plugins"),
        "A file names no code: write --plugin PATH on the command line, or install the plugin.",
    ),
    **dict.fromkeys(("version", "schema"), "A sweep file has none: take it out."),
    **dict.fromkeys(
        ("initial", "enqueue", "points_to_evaluate"),
        "The first trial is the method's preset; change it under `fixed`.",
    ),
}
RANGE_KEYS = ("min", "max", "q")
ORIGIN = ("name", "hub", "timm")  # keys of which a backbone has one
Keys = tuple[str, ...]  # a path in a sweep file
HAVE_FOLDERS = ("1d", "2d", "name", "hub", "backbone.name", "backbone.hub")  # of backbones
READ_BEFORE = ("profiles", INCLUDE, TASK_FILES)  # at the top of a file, before it is merged


class LayerOptions(TypedDict, total=False):
    """The options of a command that override a sweep file."""

    profile: str  # default: auto
    sets: Iterable[str]  # KEY=VALUE
    trials: int | None
    name: str | None
    has_gpu: bool  # decides the profile `auto`


def lay_over(
    document: Node,
    catalog: Catalog,
    faults: Faults,
    options: LayerOptions,
    named: Callable[[Node], Node] = lambda option: option,
) -> str:
    """Merge the file with its profile and the command line into `faults.tree`; return the profile.

    The faults of the profile and of the command line are added. `named` gives the parameters of an
    option the names that they have in the document.
    """
    profiles = _profiles(document, faults)
    entries = {k: v for k, v in document.children().items() if k not in READ_BEFORE}
    tree = Node({k: v for k, v in entries.items() if v.value is not None}, document.origin)
    # `paper` is valid in every file: without such a profile, the file is used unchanged.
    chosen = options.get("profile", "auto")
    if chosen == "auto":
        chosen = "paper" if options.get("has_gpu") or "laptop" not in profiles else "laptop"
        if chosen == "laptop":
            faults.note("no GPU is visible: profile `laptop` (or say --profile paper).")
    if chosen in profiles:
        tree = patch(tree, profiles[chosen], catalog=catalog)
    elif chosen != "paper":
        known = {"auto", "paper", *profiles}
        faults.add(Place("--profile"), unknown("profile", printable(chosen), known))
    for option in options.get("sets", ()):
        if (overlay := _option(option, catalog, faults, tree)) is not None:
            tree = patch(tree, named(overlay), catalog=catalog, is_option=True)
    for path, value in (
        (("search", "trials"), options.get("trials")),
        (("name",), options.get("name")),
    ):
        if value is not None:
            tree = patch(tree, _nest(path, Node(value, Place(f"--{path[-1]}"))))
    _note_fixed_twice(document, faults)
    faults.tree = _without_fixed(tree)
    return chosen


def is_nullable(path: Keys, catalog: Catalog | None = None) -> bool:
    """Return whether the setting at `path` may be null and is something else by default.

    Without a catalog settings of stages, in `fixed`, are not known.
    """
    section, name = path[0], path[-1]
    if len(path) != 2:
        return False
    if section == "fixed" and catalog is not None:
        stage, _, name = name.partition(".")
        models = catalog.stage_types(catalog.usable_methods).get(stage, [])
    else:
        field = SweepFile.model_fields.get(section)
        annotation = None if field is None else field.annotation
        parts = (annotation, *get_args(annotation))
        models = [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
    fields = [model.model_fields[name] for model in models if name in model.model_fields]
    return any(
        NoneType in get_args(each.annotation)
        and not each.is_required()
        and each.get_default() is not None
        for each in fields
    )


def patch(
    base: Node,
    over: Node,
    path: Keys = (),
    catalog: Catalog | None = None,
    *,
    is_option: bool = False,
) -> Node:
    """Return `base` with the changes of `over`, in which null may be a value (`is_nullable`).

    In an option null is a value, too, where no file fixes the parameter, and nothing is to remove.
    """
    # Another file of `base` replaces the first one, whose settings stand there by now.
    if not isinstance(over.value, dict) or path == ("base",):
        return over
    entries = _prepared(base, over.value, path)
    if not path:
        entries = _unfixed(entries, over)
    for key, child in over.value.items():
        is_value = is_option and path == ("fixed",) and key not in entries
        if child.value is None and not (is_value or is_nullable((*path, key), catalog)):
            entries.pop(key, None)
        else:
            below = entries.get(key, Node(None, child.origin))
            entries[key] = patch(below, child, (*path, key), catalog, is_option=is_option)
    return Node(entries, base.origin if isinstance(base.value, dict) else over.origin)


def extend(base: Node, own: Node, path: Keys = ()) -> Node:
    """Return a file, or the part of it at `path`, merged with its base.

    A null removes a key of the base. It stays in three cases: if the base lacks the key, since then
    it is a value, if the key is of a section that may have it, and in a profile, where it removes a
    key of the file.
    """
    profile, place = (path[:2], path[2:]) if path[:1] == ("profiles",) else ((), path)
    of_backbone = isinstance(base.value, str) and place[:1] == ("backbones",)
    if not isinstance(own.value, dict) or not (isinstance(base.value, dict) or of_backbone):
        return own
    entries = _prepared(base, own.value, place)
    if not place:
        entries = _unfixed(entries, own)
    for key, child in own.value.items():
        if key not in entries or (child.value is None and len(profile) == 2):
            entries[key] = child
        elif child.value is None and not is_nullable((*place, key)):
            del entries[key]
        else:
            entries[key] = extend(entries[key], child, (*path, key))
    return Node(entries, own.origin)


def _unfixed(base: dict[str, Node], own: Node) -> dict[str, Node]:
    """Return the entries of a base without the fixed parameters that the file searches."""
    searched = {k for k, v in own.child("parameters").children().items() if v.value is not None}
    if "fixed" not in base or not searched:
        return base
    fixed = {k: v for k, v in base["fixed"].children().items() if k not in searched}
    return {**base, "fixed": Node(fixed, base["fixed"].origin)}


def _prepared(base: Node, over: Mapping[str, Node], path: Keys) -> dict[str, Node]:
    match path:
        case ("backbones", _):
            kept = {"name": base} if isinstance(base.value, str) else dict(base.children())
            # Another backbone replaces that of the base, whatever key names either of them.
            if any(key in over and over[key].value is not None for key in ORIGIN):
                for key in (*ORIGIN, "revision"):
                    kept.pop(key, None)
            return kept
        case ("parameters", _):
            kept = dict(base.children())
            given = {key for key, child in over.items() if child.value is not None}
            # Values have no bounds, scale or step, and the prior of a range need not be one of
            # them; a range has no values.
            if given & {"value", "values"}:
                for key in (*RANGE_KEYS, "distribution", "value", "values", "prior"):
                    kept.pop(key, None)
            elif given & {*RANGE_KEYS}:
                kept.pop("value", None)
                kept.pop("values", None)
            return kept
        case _:
            return dict(base.children())


def _without_fixed(tree: Node) -> Node:
    fixed, parameters = tree.child("fixed").children(), tree.child("parameters")
    if not fixed or not parameters.children():
        return tree
    left = {name: node for name, node in parameters.children().items() if name not in fixed}
    return Node({**tree.children(), "parameters": Node(left, parameters.origin)}, tree.origin)


def _note_fixed_twice(document: Node, faults: Faults) -> None:
    """Note each name that the same file both searches and fixes."""
    parameters = document.child("parameters").children()
    for name, node in document.child("fixed").children().items():
        searched = parameters.get(name)
        # A profile or a base overrides on purpose. Within one file it may be a slip.
        if searched is not None and searched.origin.where == node.origin.where:
            what = f"is in `parameters` too (line {searched.origin.line}); it is fixed."
            faults.note(str(node.origin.fault(f"`{printable(name)}` {what}")))


def _profiles(document: Node, faults: Faults) -> dict[str, Node]:
    node = document.children().get("profiles")
    if node is None or node.value is None:
        return {}
    if not isinstance(node.value, dict):
        faults.add(node, f"`profiles` must map names to what they change, but got "
                   f"{shown(node.plain())}.")  # fmt: skip
        return {}
    sound = {}
    for name, profile in node.value.items():
        if not re.fullmatch(NAME, name) or name == "auto":
            message = "`auto` chooses one" if name == "auto" else RULES[NAME]
            faults.add(profile, f"profile name `{printable(name)}`: {message}.")
        elif not isinstance(profile.value, dict) and profile.value is not None:
            faults.add(profile, f"`profiles.{name}` must be a mapping of what it changes, but got "
                       f"{shown(profile.plain())}.")  # fmt: skip
        else:
            # A profile without any key is null in YAML, and changes nothing.
            sound[name] = Node(profile.children(), profile.origin)
            check_keys(sound[name], faults, prefix=f"profiles.{name}.")
    return sound


def check_keys(tree: Node, faults: Faults, *, prefix: str = "") -> None:
    """Add a fault for every unknown key at the top of a file or profile."""
    for key, node in tree.children().items():
        if key in SweepFile.model_fields or (key in READ_BEFORE and not prefix):
            continue
        name = prefix + key
        if key in HINTS:
            message = f"unknown key `{name}`. {HINTS[key]}"
        elif key == "profiles":
            message = f"`{name}`: a profile holds no profiles."
        else:
            message = unknown_key(name, SweepFile.model_fields)
        faults.add(node, message)


def _option(option: str, catalog: Catalog, faults: Faults, tree: Node) -> Node | None:
    """Return an option KEY=VALUE as a tree with only this value, or None after a fault.

    `tree` is the document that it changes.
    """
    key, equals, text = option.partition("=")
    key = key.strip()
    where = f"--set {printable(key)}"
    origin = Place(where)
    if not equals or not key:
        faults.add(origin, "expected KEY=VALUE, such as search.trials=8 or refine.lr=1e-4.")
        return None
    path = _path(key, catalog, tree)
    if path is None:
        faults.add(origin, _unknown_option(key, catalog, tree))
        return None
    if "" in path:
        faults.add(origin, "an empty name between dots.")
        return None
    try:
        return with_base_settings(_nest(path, parse_value(text, where)))
    except FileFaults as error:
        for fault in error.faults:
            faults.add(origin, fault.message)
        return None


def _unknown_option(key: str, catalog: Catalog, tree: Node) -> str:
    """Return the message for an unknown KEY of an option, with the key that may be meant."""
    if has_programs(tree):
        fixed = f" A parameter of the program that has one value is `fixed.{printable(key)}`."
        known = unknown_key(key.partition(".")[0], SweepFile.model_fields) + fixed
        return f"unknown key `{printable(key)}`. {HINTS[key]}" if key in HINTS else known
    names = catalog.parameters(catalog.usable_methods)
    endings = [name for name in names if name.endswith(f".{SYNONYMS.get(key, key)}")]
    hint = f"Write its stage: {' or '.join(endings)}." if endings else None
    if (hint := HINTS.get(key, hint)) is not None:
        return f"unknown key `{printable(key)}`. {hint}"
    stages = catalog.stage_types(catalog.usable_methods)
    return unknown_key(
        key.partition(".")[0], [*SweepFile.model_fields, *(f"{s}.*" for s in stages)]
    )


def _path(key: str, catalog: Catalog, tree: Node) -> Keys | None:
    """Return the path of `key` in a sweep file, or None if no such key exists."""
    head, _, rest = key.partition(".")
    # A stage may have the name of a section, such as `search`, whose own keys come first.
    if _is_of_section(head, rest.partition(".")[0]):
        return tuple(key.split("."))
    if head in catalog.stage_types(catalog.usable_methods) and rest:
        return ("fixed", key)
    if head in ("fixed", "ladder", "compare_by") and rest:
        return (head, rest)
    if head == "parameters" and rest:
        words = rest.split(".")
        length = _words_of_name(words, tree)
        return (head, ".".join(words[:length]), *words[length:])
    return tuple(key.split(".")) if head in SweepFile.model_fields else None


def _words_of_name(words: list[str], tree: Node) -> int:
    """Return how many words, which were between dots, are the name of a parameter."""
    known = tree.child("parameters").children()
    for length in range(len(words), 0, -1):
        name = ".".join(words[:length])
        # A program's parameter has the name of its stage before its own.
        if name in known or f"{STAGE}.{name}" in known:
            return length
    # The name of a parameter has a dot itself, but that of the proxy has none.
    return 1 if words[0] == PROXY else 2


def _is_of_section(head: str, key: str) -> bool:
    """Return whether a section of the file has a key."""
    # For a section without a model of its own, `model_keys` returns the keys of the file.
    keys = model_keys(SweepFile, (head,))
    return head in SweepFile.model_fields and keys != model_keys(SweepFile, ()) and key in keys


def _nest(path: Iterable[str], value: Node) -> Node:
    node = value
    for key in reversed(tuple(path)):
        node = Node({key: node}, value.origin)
    return node


def read_document(path: Path) -> Node:
    """Return a sweep file merged with the files that it names. Each value keeps its file and line.

    Raises:
        FileFaults: One of the files cannot be read.
    """
    return _located(with_base_settings(_with_base(path, parse(read_text(path), str(path)))))


def _located(node: Node, key: str = "") -> Node:
    """Return a document in which the folders of backbones that lie beside a file are absolute."""
    value = node.value
    if isinstance(value, dict):
        return Node({name: _located(child, name) for name, child in value.items()}, node.origin)
    if isinstance(value, list):
        return Node([_located(child, key) for child in value], node.origin)
    if key in HAVE_FOLDERS and isinstance(value, str) and value.startswith(("./", "../")):
        folder = Path(node.origin.where).parent / value
        return Node(str(folder.resolve()), node.origin) if folder.is_dir() else node
    return node


def whole_text(path: Path, task_files: Mapping[str, Settings] | None = None) -> str:
    """Return the text of a sweep file with all files that it names.

    A file without them is returned as it is.

    Args:
        path: The sweep file.
        task_files: The definitions of its own tasks, by name.

    Raises:
        FileFaults: The file or its base cannot be read.
    """
    text = read_text(path)
    own = parse(text, str(path))
    base, extended = own.child(EXTENDS).value, _with_base(path, own)
    parts = [f"with the file that it extends: {base}"] if base else []
    if task_files or INCLUDE in own.children():
        parts.append("with its task files")
    if names_files(extended):
        parts.append("with the settings of its base")
    if not parts:
        return text
    merged = with_base_settings(extended).plain()
    # The text has to be whole without the files that it included.
    merged.pop(INCLUDE, None)
    if task_files:
        merged[TASK_FILES] = {**(merged.get(TASK_FILES) or {}), **task_files}
    head = f"# {path}, merged {', and '.join(parts)}"
    return f"{visible(head)}\n{to_yaml(merged)}"


def _with_base(path: Path, own: Node) -> Node:
    """Return a document merged with its base, if it has one."""
    node, faults = own.children().get(EXTENDS), Faults()
    own = Node({key: child for key, child in own.children().items() if key != EXTENDS}, own.origin)
    if node is None or node.value is None:
        return own
    base = _read_base(path, node, faults)
    # The file's own unknown keys can be told without its base, so that both faults are found at
    # once.
    if base is None:
        check_keys(own, faults)
        faults.stop()
    assert base is not None
    return extend(base, own)


def _read_base(path: Path, node: Node, faults: Faults) -> Node | None:
    """Return the base that `node` names in the file at `path`, or None after a fault."""
    name = node.value
    if not isinstance(name, str) or not name:
        message = "must be the path of one file, such as base/common.yaml, but got"
        faults.add(node, f"`{EXTENDS}` {message} {shown(node.plain())}.")
        return None
    if fault := _misplaced(path, name):
        faults.add(node, f"`{EXTENDS}` {fault}")
        return None
    try:
        text = read_text(path.parent / name)
    except FileFaults as error:
        for found in error.faults:
            message = found.message.replace(f"`{path.parent}/", "`")  # as in the file
            faults.add(node, f"`{EXTENDS}: {printable(name)}`: {message}")
        return None
    try:
        base = parse(text, str(path.parent / name))
    except FileFaults as error:
        faults.found.extend(error.faults)
        return None
    nested = base.children().get(EXTENDS)
    if nested is None:
        return base
    message = "a file that another one extends cannot extend a third. Write here what that holds."
    faults.add(nested, f"`{EXTENDS}`: {message}")
    return None


def _misplaced(path: Path, name: str) -> str | None:
    """Return the reason why the file at `path` cannot extend the file `name`, or None."""
    got = f"but got {shown(name)}"
    if name.startswith(("/", "~")):
        return f"must be relative to this file, such as base/common.yaml, {got}."
    folder = path.parent
    try:
        base = (folder / name).resolve()
        if base == path.resolve():
            return "names this file itself. Name another file, or take it out."
        if base.is_relative_to(folder.resolve()):
            return None
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a zero byte
        return f"must be the path of a file, {got}: {shown(str(error))}."
    return f"must lie in this file's folder or below, {got}. Copy the base there."
