"""Execution of the gallery: each page of `.site/gallery` becomes a notebook with its outputs.

    python .site/run_gallery.py [NAME...]

Each runs in an empty folder with data of its own, whose place is taken out of what is printed.
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

GALLERY = Path(__file__).parent / "gallery"
CELL_S = 600  # of a busy machine
MAX_S = 60  # that a page should take on two idle cores
KEPT = {"record_timing": False, "coalesce_streams": True}
HEAD = """---
jupyter:
  kernelspec: {name: python3, display_name: Python 3, language: python}
---
"""
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\\x1b\[[0-9;?]*[A-Za-z]")


def execute(source: Path, folder: Path) -> nbformat.NotebookNode:
    """Return the notebook of a page, executed in a folder."""
    book = jupytext.reads(HEAD + source.read_text(encoding="utf-8"), "md")
    book.metadata.pop("jupytext", None)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(book, timeout=CELL_S, resources=resources, **KEPT).execute()
    for number, cell in enumerate(book.cells):
        cell.id = f"cell-{number}"  # the same in each run
        for output in cell.get("outputs", ()):
            _clean(output, f"{folder}/")
    return book


def _clean(output: nbformat.NotebookNode, folder: str) -> None:
    if "text" in output:
        output.text = CONTROL.sub("", output.text).replace(folder, "")
    for kind, text in output.get("data", {}).items():
        if kind.startswith("text/"):
            output.data[kind] = CONTROL.sub("", text).replace(folder, "")


def main(names: list[str]) -> None:
    """Execute the named pages, or all, and print the seconds of each."""
    pages = sorted(page for page in GALLERY.glob("*.md") if page.stem != "README")
    for page in pages:
        if names and page.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as place:
            os.environ["SWEEPER_HOME"] = f"{place}/home"
            start = time.monotonic()
            book = execute(page, Path(place))
            took = time.monotonic() - start
            slow = f", more than {MAX_S} s" if took > MAX_S else ""
            print(f"{page.stem}: {took:.0f} s{slow}", flush=True)
        nbformat.write(book, page.with_suffix(".ipynb"))


if __name__ == "__main__":
    main(sys.argv[1:])
