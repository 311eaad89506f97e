"""Docstrings: every module and every public function of the science has one."""

import ast

from tests.support.command import ROOT

MODULES = sorted(path for name in ("sweeper", "trainables") for path in (ROOT / name).rglob("*.py"))


def test_modules_and_the_public_functions_of_the_science_have_docstrings():
    lacking = []
    for path in MODULES:
        name, tree = str(path.relative_to(ROOT)), ast.parse(path.read_text())
        if path.name != "__init__.py" and not ast.get_docstring(tree):
            lacking.append(name)
        if name.startswith("trainables"):
            lacking += [
                f"{name}:{node.lineno}"
                for node in tree.body
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
                if not ast.get_docstring(node)
            ]
    assert lacking == []
