"""The shape of the tree: few names at the top, whole packages, links that lead somewhere."""

import ast
import re
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.support.command import ROOT

WIDEST = 20  # modules of a folder: what a reader takes in at a glance
LONGEST = 50  # lines of a function
SLOW = re.compile(r"mark\.slow\b")
PACKAGES = ("sweeper", "trainables")
TOP = {
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "sweeper",
    "trainables",
    "search_spaces",
    "docker",
    "tests",
}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def ignored() -> list[str]:
    """Return the names that git ignores at the top: leavings of runs and tools."""
    lines = (ROOT / ".gitignore").read_text().splitlines()
    return [line.strip("/") for line in lines if line and not line.startswith(("#", "!"))]


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def pages() -> list[Path]:
    folders = [ROOT / name for name in TOP if (ROOT / name).is_dir()]
    nested = [path for folder in folders for path in folder.rglob("*.md")]
    return sorted([*ROOT.glob("*.md"), *ROOT.glob(".github/*.md"), *nested])


def broken_links(page: Path) -> list[str]:
    """The relative links of a page that lead to no file."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    targets = (link for link in LINK.findall(prose) if not re.match(r"[a-z]+:|#", link))
    return [link for link in targets if not (page.parent / link.partition("#")[0]).exists()]


def test_the_top_level_holds_the_agreed_names_and_dotfiles_only():
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    patterns = ignored()
    strangers = {
        name for name in found - TOP if not any(fnmatch(name, pattern) for pattern in patterns)
    }
    assert strangers == set()


def test_every_package_is_a_package():
    folders = {path.parent for path in modules()}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_no_module_is_a_drawer_of_sundries():
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    assert [str(path) for path in modules() if path.stem in drawers] == []


def test_no_folder_is_too_wide_to_read():
    widths = Counter(path.parent for path in modules() if path.name != "__init__.py")
    assert {str(folder): n for folder, n in widths.items() if n > WIDEST} == {}


@pytest.mark.parametrize(("package", "most"), [("sweeper", 8), ("trainables", 0)])
def test_functions_over_fifty_lines_become_fewer(package, most):
    """Lower the number whenever such a function is split, and never raise it."""
    found = [
        f"{file}:{node.lineno}"
        for file in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and _length(node, file.read_text()) > LONGEST
    ]
    assert len(found) <= most, found


def _length(function: ast.FunctionDef, text: str) -> int:
    """Return the lines of a function; a comment above a block makes none longer."""
    lines = text.splitlines()[function.lineno - 1 : function.end_lineno]
    return sum(not line.lstrip().startswith("#") for line in lines)


def fast_tests(file: Path) -> list[str]:
    """Return the names of a file's tests in the fast tier."""
    tree = ast.parse(file.read_text())
    marks = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign)]
    if any(mark.startswith("pytestmark") and SLOW.search(mark) for mark in marks):
        return []
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if not any(SLOW.search(ast.unparse(mark)) for mark in node.decorator_list)
    ]


def test_every_room_has_tests_and_some_that_are_not_slow():
    rooms = {path.parent.relative_to(ROOT) for path in modules() if path.name != "__init__.py"}
    files = {room: list((ROOT / "tests" / room).glob("test_*.py")) for room in rooms}
    without = {str(room) for room in rooms if not any(map(fast_tests, files[room]))}
    assert without == set()


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_of_prose_fit_into_120_columns(page):
    prose = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in prose.splitlines() if not line.lstrip().startswith("|")]
    assert [line for line in lines if len(line) > 120] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page):
    assert broken_links(page) == []


def test_a_broken_link_is_seen(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(
        "[a](README.md#top) [b](gone.md) [c](https://x.org) [d](#e)\n```\n[f](g)\n```\n"
    )
    assert broken_links(page) == ["gone.md"]
