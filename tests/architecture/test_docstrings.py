"""Docstrings that begin as questions, or with verbs that ruff's D401 does not know."""

import ast
import re

import pytest

from tests.support.command import ROOT

DIALECT = r"(What|Who|Whose|Whether|Which|Where|When|How|Why|Says|Sees|Lets|Lends|Has)\b"
MODULES = sorted(path for name in ("sweeper", "trainables") for path in (ROOT / name).rglob("*.py"))


@pytest.mark.parametrize("kind", [ast.Module, ast.ClassDef, ast.FunctionDef])
def test_no_docstring_begins_in_dialect(kind):
    texts = {
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}": ast.get_docstring(node) or ""
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, kind)
    }
    assert [place for place, text in texts.items() if re.match(DIALECT, text)] == []
