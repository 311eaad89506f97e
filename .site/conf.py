"""Configuration of the site, which Sphinx builds from the pages of this repository (.ci/site)."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent))

import reference  # noqa: E402, of this folder
from rich.console import Console  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

import sweeper  # noqa: E402, with the package's own modules
from sweeper.commands.benchmark.site import site  # noqa: E402
from sweeper.commands.reproduce import write_paper  # noqa: E402

BLOCK = re.compile(r"(^ *```.*?^ *```)", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s#:]+)(#[^)\s]*)?\)")
PICTURE = re.compile(
    r'<picture>.*?srcset="([^"]+)".*?src="([^"]+)" alt="([^"]+)".*?</picture>', re.DOTALL
)
PAPER = "what_the_benchmarks_measure.html"
PAGES = {
    ".site/benchmark": reference.benchmark,
    ".site/commands": reference.commands,
    ".site/settings": reference.settings,
}

project = "sweeper"
author = copyright = "The authors of sweeper"
version = release = sweeper.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.githubpages", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = [
    "*.md",
    ".site/*.md",
    ".site/gallery/*.ipynb",
    ".site/gallery/README.md",
    ".github/[CS]*.md",
    "docker/**.md",
    "search_spaces/**.md",
    "sweeper/**.md",
    "tests/README.md",
    "trainables/**.md",
]
exclude_patterns = [".site/contents.md"]  # which `_read` puts below the README
html_theme = "furo"
html_title = f"sweeper {release}"
html_show_sourcelink = html_copy_source = False
html_additional_pages = {"index": "to_readme.html"}
templates_path = ["."]
myst_heading_anchors = 4  # as GitHub's
myst_enable_extensions = ["attrs_inline", "colon_fence"]
suppress_warnings = ["misc.highlighting_failure"]  # a cell of `%%writefile` may be no Python
nb_execution_mode = "off"  # .ci/gallery executes notebooks
nb_merge_streams = True
default_role = "code"  # of single backquotes in docstrings
autodoc_typehints = "description"
autodoc_member_order = "bysource"


def _as_document(folder: Path, link: re.Match[str]) -> str:
    """Return a link between files of the repository as one between pages.

    GitHub shows a folder by its README, so a link may name the folder. A file that is no page stays
    in the repository: the site has its name.
    """
    text, place, anchor = link[1], link[2], link[3] or ""
    target = (folder / place).resolve()
    if (target / "README.md").is_file():
        return f"{text}({place.rstrip('/')}/README.md{anchor})"
    if target.exists() and target.suffix not in (".md", ".ipynb", ".png", ".svg"):
        return f"{text[1:-1]} (`{target.relative_to(ROOT)}`)"
    return link[0]


def _read(_: object, name: str, content: list[str]) -> None:
    """Write generated pages, and rewrite the links and pictures of others, but for their code."""
    if name in PAGES:
        content[0] = PAGES[name]()
        return
    folder = (ROOT / name).parent
    parts = BLOCK.split(content[0])
    for place, part in enumerate(parts):
        if place % 2 == 0:
            both = PICTURE.sub(r"![\3](\2){.only-light}\n![\3](\1){.only-dark}", part)
            parts[place] = LINK.sub(lambda link: _as_document(folder, link), both)
    if name == root_doc:
        parts.append((ROOT / ".site" / "contents.md").read_text(encoding="utf-8"))
    content[0] = "".join(parts)


def _mark_examples(*found: object) -> None:
    """Mark indented examples of a docstring as code; napoleon then reads its sections."""
    lines = found[-1]
    assert isinstance(lines, list)
    for place in range(len(lines) - 1, 0, -1):
        is_first = lines[place].startswith("    ") and not lines[place - 1].strip()
        before = next((line for line in reversed(lines[:place]) if line.strip()), "")
        if is_first and not before.startswith("    "):
            lines[place:place] = [".. code-block:: python", ""]


def _write_others(app: Sphinx, error: Exception | None) -> None:
    """Write the benchmark's pages and the paper beside the pages that link to them."""
    if error is None:
        site((), Path(app.outdir) / "benchmark")
        write_paper(Path(app.outdir) / PAPER, console=Console(stderr=True, quiet=True))


def setup(app: Sphinx) -> None:
    """Let Sphinx call `_read` with each page, and `_mark_examples` before napoleon."""
    app.connect("build-finished", _write_others)
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _mark_examples, 400)
