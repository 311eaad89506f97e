"""The self-contained HTML page: its templates, its tables, and the escape of untrusted text.

The page follows the reader's light or dark setting, prints in light colours, and shows all text,
tables and figures without JavaScript. Only the templates escape text.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from sweeper.render.page.plot import draw
from sweeper.text import is_number, readable, visible

CHARACTERS = 165  # of the largest size in a printed line
MAX_PT, MIN_PT = 7.5, 4.5  # of a printed table
BREAK = r"(?<=[./])(?=\w)|(?<=\w{3}_)(?=\w\w)"  # where the head of a column may break
MAX_CELL = 24  # characters of a cell that count for the printed width


@dataclass(frozen=True)
class Link:
    """A cell with a link to another place on the page, or to another page or file."""

    text: str
    place: str = ""
    page: str = ""  # relative to this one

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Cell:
    """The text of a cell, and the number in nine digits if the text is rounded.

    Nine digits distinguish all numbers of 32 bits; `sweeper export` writes all digits.
    """

    text: str
    full: str | None = None
    target: str | None = None  # of its link
    is_number: bool = False


@dataclass(frozen=True, kw_only=True)
class TableColumn:
    """The head of a column, in parts at which a line may break."""

    parts: tuple[str, ...]
    is_number: bool


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, with a font size that makes it fit on paper."""

    columns: tuple[TableColumn, ...]
    lines: tuple[tuple[Cell, ...], ...]
    marked: frozenset[int]  # highlighted lines, such as the best
    printed_pt: float


def table(
    header: Sequence[str], lines: Sequence[Sequence[object]], *, marked: Sequence[int] = ()
) -> Table:
    """Return a table with right-aligned columns of numbers."""
    has_numbers = [
        any(is_number(line[i]) for line in lines)
        and all(line[i] is None or is_number(line[i]) for line in lines)
        for i in range(len(header))
    ]
    columns = tuple(
        TableColumn(parts=tuple(re.split(BREAK, name)), is_number=n)
        for name, n in zip(header, has_numbers, strict=True)
    )
    cells = tuple(
        tuple(_cell(value, is_number=n) for value, n in zip(line, has_numbers, strict=True))
        for line in lines
    )
    return Table(
        columns=columns,
        lines=cells,
        marked=frozenset(marked),
        printed_pt=_printed_size(header, cells),
    )


def _cell(value: object, *, is_number: bool) -> Cell:
    if isinstance(value, Link):
        target = f"{value.page}#{value.place}" if value.place else value.page
        return Cell(value.text, target=target)
    text = readable(value)
    is_rounded = isinstance(value, float) and math.isfinite(value) and text != repr(value)
    return Cell(text, full=f"{value:.9g}" if is_rounded else None, is_number=is_number)


def _printed_size(header: Sequence[str], lines: Sequence[Sequence[Cell]]) -> float:
    """Return the font size in points at which a table fits the width of a printed page."""
    characters = 1
    for column, name in enumerate(header):
        longest = min(max((len(line[column].text) for line in lines), default=0), MAX_CELL)
        characters += max(longest, *(len(part) for part in re.split(r"[._/ ]", name))) + 2
    return max(MIN_PT, min(MAX_PT, MAX_PT * CHARACTERS / characters))


def anchor(text: str) -> str:
    """Return the name of a place on the page for a text."""
    return "".join(c if c.isalnum() else "-" for c in text)


def render(template: str, **content: object) -> str:
    """Return the page of a template with this content."""
    return _environment().get_template(template).render(**content)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sweeper.render.page"),
        autoescape=True,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        # No type checker reads templates, so that a wrong name has to be an error.
        undefined=StrictUndefined,
    )
    # Pages contain their style and scripts: MLflow's frame for artifacts loads no other file.
    here = files("sweeper.render.page")
    environment.globals |= {
        "style": here.joinpath("page.css").read_text("utf-8"),
        "script": here.joinpath("page.js").read_text("utf-8"),
        "watch": here.joinpath("watch.js").read_text("utf-8"),
        "draw": draw,
    }
    return environment


def _shown(value: object) -> object:
    """Return text with control characters and changes of direction escaped."""
    # Markup of the templates stays as it is; text of users may hide or reverse what follows.
    is_html = hasattr(value, "__html__")
    return visible(value, keep="\n\t") if isinstance(value, str) and not is_html else value
