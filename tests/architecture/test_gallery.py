"""The gallery: each notebook is its page, executed, without an error or a place of the machine."""

import difflib
import json
import re

import pytest

from tests.support.command import ROOT

GALLERY = ROOT / ".site" / "gallery"
PLAIN = sorted((GALLERY / "scripts").glob("*.py"))
PAGES = sorted(page for page in GALLERY.glob("*.md") if page.stem != "README")
BLOCK = re.compile(r"^```(python|bash)\n(.*?)\n```$", re.DOTALL | re.MULTILINE)


def cells(page) -> list[dict]:
    book = json.loads(page.with_suffix(".ipynb").read_text(encoding="utf-8"))
    return [cell for cell in book["cells"] if cell["cell_type"] == "code"]


def test_there_are_pages():
    assert len(PAGES) == 9


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_notebook_has_the_code_of_its_page(page):
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    written = ["%%bash\n" * (kind == "bash") + text for kind, text in blocks]
    assert ["".join(cell["source"]) for cell in cells(page)] == written


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_notebook_ran_to_its_end(page):
    kinds = {output["output_type"] for cell in cells(page) for output in cell["outputs"]}
    assert all(cell["execution_count"] for cell in cells(page))
    assert "error" not in kinds
    assert kinds


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_notebook_names_a_folder_of_the_machine(page):
    assert re.findall(r"/(?:tmp|root|home|work)/\w+", page.with_suffix(".ipynb").read_text()) == []


def test_the_method_of_the_gallery_is_that_of_the_guide():
    guide = (ROOT / "trainables" / "methods" / "README.md").read_text(encoding="utf-8")
    code = BLOCK.search(guide)
    assert code is not None
    assert code[2] in (GALLERY / "method_of_your_own.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("plain", PLAIN, ids=lambda path: path.stem)
def test_a_script_is_tuned_by_at_most_ten_changed_lines(plain):
    """A changed line counts once; of lines added and lines taken out, the larger number counts."""
    texts = [path.read_text().splitlines() for path in (plain, plain.parent / "tuned" / plain.name)]
    changes = [line[0] for line in difflib.ndiff(*texts)]
    assert 1 <= max(changes.count("+"), changes.count("-")) <= 10
    assert "sweeper" not in plain.read_text()


def test_five_scripts_are_tuned():
    assert len(PLAIN) == 5
