"""Docstrings: they exist, and they begin as plain English has it.

A module's docstring is a noun phrase. A function's begins with an imperative verb.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.command import ROOT

MODULES = sorted(path for name in ("sweeper", "trainables") for path in (ROOT / name).rglob("*.py"))
QUESTIONS = r"(What|Who|Whose|Whether|Which|Where|When|How|Why)\b"
DIALECT = rf"({QUESTIONS}|(Takes in|Says|Sees|Lets|Lends|Has|Gives)\b)"
NO_THIRD_PERSON = {"Args", "Pass", "Process", "Focus", "Compress", "Express", "Address", "Access"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions(module: ast.AST) -> Iterator[Function]:
    """Yield the functions and methods that have docstrings."""
    for node in ast.walk(module):
        if isinstance(node, Function) and ast.get_docstring(node):
            yield node


def is_property(node: Function) -> bool:
    """Return whether a method reads as an attribute: its docstring is a noun phrase, too."""
    return any(ast.unparse(name).endswith("property") for name in node.decorator_list)


def in_dialect(docstring: str) -> bool:
    """Return whether a docstring begins as a question or with a verb of our own dialect."""
    return re.match(DIALECT, docstring) is not None


def is_third_person(docstring: str) -> bool:
    """Return whether a docstring begins with a verb like "Returns"."""
    first = re.match(r"[A-Za-z]+", docstring)
    return first is not None and first[0].endswith("s") and first[0] not in NO_THIRD_PERSON


def test_modules_and_the_public_functions_of_the_science_have_docstrings():
    lacking = []
    for path in MODULES:
        name = str(path.relative_to(ROOT))
        if path.name != "__init__.py" and not ast.get_docstring(tree(path)):
            lacking.append(name)
        if name.startswith("trainables"):
            lacking += [
                f"{name}:{node.lineno}"
                for node in tree(path).body
                if isinstance(node, Function) and not node.name.startswith("_")
                if not ast.get_docstring(node)
            ]
    assert lacking == []


def test_no_module_begins_with_a_question():
    begun = {path.relative_to(ROOT): ast.get_docstring(tree(path)) or "" for path in MODULES}
    assert [str(path) for path, text in begun.items() if re.match(QUESTIONS, text)] == []


def test_functions_begin_with_an_imperative_verb():
    begun = {
        f"{path.relative_to(ROOT)}:{node.lineno}": (ast.get_docstring(node) or "").splitlines()[0]
        for path in MODULES
        for node in functions(tree(path))
        if not is_property(node)
    }
    found = {at: text for at, text in begun.items() if in_dialect(text) or is_third_person(text)}
    assert found == {}


def test_no_property_begins_with_a_question():
    begun = {
        f"{path.relative_to(ROOT)}:{node.lineno}": ast.get_docstring(node) or ""
        for path in MODULES
        for node in functions(tree(path))
        if is_property(node)
    }
    assert [at for at, text in begun.items() if re.match(QUESTIONS, text)] == []


@pytest.mark.parametrize("text", ["Returns a sum.", "Says why.", "Whether it is.", "Takes in it."])
def test_the_dialect_is_found(text):
    assert in_dialect(text) or is_third_person(text)


@pytest.mark.parametrize("text", ["Return a sum.", "Pass it on.", "Handle the end of a trial."])
def test_plain_english_passes(text):
    assert not in_dialect(text)
    assert not is_third_person(text)
