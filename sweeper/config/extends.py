"""Sweep files that extend a base: a file that holds what several sweeps have in common.

    extends: base/pdebench.yaml      relative to the file that says so; one level

The file is laid over its base before any profile is: mappings merge, lists and scalars replace,
and null takes away what the base says. What both say of a profile merges in the same way.
"""

from pathlib import Path

from sweeper.config.faults import Faults, shown
from sweeper.config.merge import EXTENDS, check_keys, extend
from sweeper.config.node import Node
from sweeper.config.yaml_reader import parse, read_text, to_yaml
from sweeper.errors import FileFaults
from sweeper.text import visible


def read_document(path: Path) -> Node:
    """Return a sweep file merged with its base, each value with the file and line that it is from.

    Raises:
        FileFaults: The file or its base cannot be read.
    """
    return _with_base(path, parse(read_text(path), str(path)))


def whole_text(path: Path) -> str:
    """Return the text of a sweep file that needs no other file: if it extends a base, of both
    merged.

    Raises:
        FileFaults: The file or its base cannot be read.
    """
    text = read_text(path)
    own = parse(text, str(path))
    if (node := own.children().get(EXTENDS)) is None or node.value is None:
        return text
    head = f"# {path}, merged with the file that it extends: {node.value}"
    return f"{visible(head)}\n{to_yaml(_with_base(path, own).plain())}"


def _with_base(path: Path, own: Node) -> Node:
    """Return a document merged with the base that it names, if it names one."""
    node = own.children().get(EXTENDS)
    if node is None:
        return own
    faults = Faults()
    entries = {key: child for key, child in own.children().items() if key != EXTENDS}
    own = Node(entries, own.origin)
    if node.value is None:
        return own
    base = _read_base(path, node, faults)
    if base is None:
        check_keys(own, faults)
        faults.stop()
    assert base is not None
    return extend(base, own)


def _read_base(path: Path, node: Node, faults: Faults) -> Node | None:
    """Return the base that `node`, in the file at `path`, names; None: what is wrong is noted."""
    name = node.value
    if not isinstance(name, str) or not name:
        told = "must be the path of one file, such as base/common.yaml, but got"
        faults.add(node, f"`{EXTENDS}` {told} {shown(node.plain())}.")
        return None
    if fault := _misplaced(path, name):
        faults.add(node, f"`{EXTENDS}` {fault}")
        return None
    try:
        text = read_text(path.parent / name)
    except FileFaults as error:
        for found in error.faults:
            faults.add(node, f"`{EXTENDS}: {shown(name)}` {found.message}")
        return None
    try:
        base = parse(text, str(path.parent / name))
    except FileFaults as error:
        faults.found.extend(error.faults)
        return None
    if (nested := base.children().get(EXTENDS)) is not None:
        told = "a file that another one extends cannot extend a third. Write here what that holds."
        faults.add(nested, f"`{EXTENDS}`: {told}")
        return None
    return base


def _misplaced(path: Path, name: str) -> str | None:
    """Return why the file at `path` cannot extend the file `name`, or None."""
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
