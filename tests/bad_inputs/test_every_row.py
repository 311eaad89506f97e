"""Every known way of getting something wrong has a test, by its number."""

import ast
import importlib
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROWS = range(1, 96)
FALL_AWAY = {35: "a file names no metric: the task has one, and knows its direction"}


def numbers_in_tables() -> set[int]:
    """The numbers of rows in the tables of this folder."""
    modules = (
        importlib.import_module(f"tests.bad_inputs.{path.stem}")
        for path in Path(__file__).parent.glob("test_*.py")
    )
    return {
        row.number
        for module in modules
        for table in vars(module).values()
        if isinstance(table, list)
        for row in table
        if hasattr(row, "number")
    }


def numbers_in_names() -> set[int]:
    """The numbers of rows that tests are called by, wherever they are."""
    return {
        int(found[1])
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and (found := re.match(r"test_row_(\d\d)_", node.name))
    }


@pytest.mark.slow
def test_every_row_is_tested_or_falls_away() -> None:
    tested = numbers_in_tables() | numbers_in_names()
    assert sorted(tested) == [number for number in ROWS if number not in FALL_AWAY]
