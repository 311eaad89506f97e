"""The settings that the arms of an ablation share, from files that `sweeper best` wrote.

    base: best.yaml                       # or a list of files, one for each method and task

A file is read when the sweep file is read. `base` then has its settings by study in its place, so
that a sweep needs no other file later:

    base: {orca/pdebench/advection_1d: {align.epochs: 20, refine.lr: 1.0e-4, proxy: python_source}}
"""

from collections.abc import Iterator
from pathlib import Path

from sweeper.errors import FileFaults
from sweeper.spec.catalog import MODEL, PROXY
from sweeper.spec.faults import Faults
from sweeper.spec.node import Node
from sweeper.spec.reader import parse, read_text
from sweeper.text import printable

BASE = "base"
WORDS = ("preset", "tuned")
WAY_OUT = "`sweeper best SWEEP --study METHOD/TASK` writes such a file"


def with_base_settings(tree: Node) -> Node:
    """Return a document whose files under `base`, also in profiles, are replaced by their settings.

    Raises:
        FileFaults: A file cannot be read, or is not one that `sweeper best` wrote.
    """
    faults = Faults()
    entries = _replaced(tree, faults).children()
    profiles = entries.get("profiles")
    if profiles is not None and isinstance(profiles.value, dict):
        replaced = {k: _replaced(v, faults) for k, v in profiles.children().items()}
        entries = {**entries, "profiles": Node(replaced, profiles.origin)}
    faults.stop()
    return Node(entries, tree.origin) if isinstance(tree.value, dict) else tree


def names_files(tree: Node) -> bool:
    """Return whether a document, or a profile of it, has files under `base`."""
    parts = [tree, *tree.child("profiles").children().values()]
    return any(_files(part.child(BASE)) for part in parts)


def _files(node: Node) -> list[Node]:
    """Return the nodes under `base` that are names of files."""
    items = node.items() or [node]
    return [item for item in items if isinstance(item.value, str) and item.value not in WORDS]


def _names(node: Node) -> list[str]:
    """Return the names in a list of methods or tasks."""
    return [item.value for item in node.items() if isinstance(item.value, str)]


def _replaced(tree: Node, faults: Faults) -> Node:
    node = tree.child(BASE)
    files = _files(node)
    if not files:
        return tree
    studies: dict[str, Node] = {}
    for item in files:
        for study, settings in _read(item, faults):
            if study in studies:
                faults.add(item, f"`{BASE}` has settings of `{study}` twice; keep one file.")
            studies[study] = settings
    return Node({**tree.children(), BASE: Node(studies, node.origin)}, tree.origin)


def _read(item: Node, faults: Faults) -> Iterator[tuple[str, Node]]:
    """Yield the studies of a file with their settings; add a fault if it has none."""
    name = str(item.value)
    label, path = f"`{BASE}: {printable(name)}`", Path(item.origin.where).parent / name
    try:
        best = parse(read_text(path), str(path))
    except FileFaults as error:
        for fault in error.faults:
            place = f"line {fault.line}: " if fault.line is not None else ""
            faults.add(item, f"{label}: {place}{fault.message} Or write {' or '.join(WORDS)}.")
        return
    fixed, searched = best.child("fixed").children(), best.child("parameters").children()
    if not fixed or searched:
        reason = "it still searches `parameters`" if searched else "it has no tuned settings"
        faults.add(item, f"{label}: {reason}; {WAY_OUT}.")
        return
    settings = dict(fixed)
    settings |= {f"{MODEL}.{key}": v for key, v in best.child("model").children().items()}
    proxies = list(best.child("proxies").children().values())
    if len(proxies) == 1:
        settings[PROXY] = proxies[0]
    for method in _names(best.child("methods")):
        for task in _names(best.child("tasks")):
            yield f"{method}/{task}", Node(settings, item.origin)
