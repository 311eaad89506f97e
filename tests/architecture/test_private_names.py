"""Tests use public names of the packages: a private one may change without a change of a test."""

import ast
import re
from collections.abc import Iterator

from tests.support.command import ROOT

PRIVATE = re.compile(r"_[A-Za-z]\w*")
OURS = re.compile(r"(sweeper|trainables)\b")
IN_TEXT = re.compile(r"from (?:sweeper|trainables)[.\w]* import (_\w+)")
OWN = ("self", "cls", "super()")  # a class may use private names of its own
SIMULATED = ROOT / "tests" / "support" / "simulated_cuda"  # stands in for private parts of torch
OTHERS = {  # protocols of Python and notebooks; what MLflow, Optuna, psutil and Ray do not publish
    "_replace", "_repr_html_", "_artifact_repos_cache", "_n_local_search", "_n_startup_trials",
    "_storage", "_trial_id", "_psplatform", "_py_driver_sys_path",
}  # fmt: skip


def names_used(node: ast.AST) -> Iterator[str]:
    """Yield names that a node takes from a module of ours or from an object."""
    match node:
        case ast.ImportFrom(module=str(module), names=names) if OURS.match(module):
            yield from (alias.name for alias in names)
        case ast.Attribute(value, name) if PRIVATE.match(name) and ast.unparse(value) not in OWN:
            yield name
        case ast.Call(ast.Attribute(attr="setattr" | "delattr"), args):
            texts = (arg.value for arg in args[:2] if isinstance(arg, ast.Constant))
            yield from (str(text).rpartition(".")[2] for text in texts)
        case ast.Constant(str(text)):
            yield from IN_TEXT.findall(text)


def private(source: str) -> list[str]:
    """Return the private names of others that the code of a test uses."""
    names = (name for node in ast.walk(ast.parse(source)) for name in names_used(node))
    return [name for name in names if PRIVATE.fullmatch(name) and name not in OTHERS]


def test_no_test_uses_a_private_name():
    files = [path for path in (ROOT / "tests").rglob("*.py") if SIMULATED not in path.parents]
    found = {str(path.relative_to(ROOT)): private(path.read_text()) for path in files}
    assert {path: names for path, names in found.items() if names} == {}


def test_each_use_is_found():
    imported = f"from trainables.report import {(name := '_x')}"
    ways = (
        imported,
        f"run({imported!r})",
        "core._x()",
        "p.setattr(core, '_x', 1)",
        "p.delattr('a._x')",
    )
    assert [private(way) for way in ways] == [[name]] * len(ways)
