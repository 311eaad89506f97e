"""The self-contained HTML page: its templates, its tables, and the escape of untrusted text.

The page follows the reader's light or dark setting, prints in light colours, and shows all text,
tables and figures without JavaScript. Only the templates escape text.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from sweeper.analysis.report.svg import Drawing, draw
from sweeper.text import readable, visible

CHARACTERS = 165  # of the largest size in a printed line
LARGEST_PT, SMALLEST_PT = 7.5, 4.5  # of a printed table
LONGEST = 24  # characters of a cell that count for the printed width
BEGINNING = re.compile(r"[^=:]+(?: = |: )")  # of a line of a tip
FIRST_CODE, MOST_WORDS = 0xA000, 1024  # printable characters that stand for words (Yi syllables)


@dataclass(frozen=True)
class Link:
    """A cell with a link to another place on the page."""

    text: str
    place: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Cell:
    """The text of a cell, and the full number if the text is rounded."""

    text: str
    full: str | None = None
    place: str | None = None  # target of its link


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

    @property
    def numbers(self) -> str:
        """The classes that align its columns of numbers: "n1 n3" for the first and the third."""
        return " ".join(f"n{i}" for i, each in enumerate(self.columns, 1) if each.is_number)


def table(
    header: Sequence[str], lines: Sequence[Sequence[object]], *, marked: Sequence[int] = ()
) -> Table:
    """Return a table with right-aligned columns of numbers."""
    is_number = [
        any(_is_number(line[i]) for line in lines)
        and all(line[i] is None or _is_number(line[i]) for line in lines)
        for i in range(len(header))
    ]
    columns = tuple(
        TableColumn(parts=tuple(re.split(r"(?<=[._/])(?=\w)", name)), is_number=n)
        for name, n in zip(header, is_number, strict=True)
    )
    cells = tuple(tuple(map(_cell, line)) for line in lines)
    return Table(
        columns=columns,
        lines=cells,
        marked=frozenset(marked),
        printed_pt=_printed_size(header, cells),
    )


def _cell(value: object) -> Cell:
    if isinstance(value, Link):
        return Cell(value.text, place=value.place)
    text = readable(value)
    is_rounded = isinstance(value, float) and math.isfinite(value) and text != repr(value)
    return Cell(text, full=repr(value) if is_rounded else None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _printed_size(header: Sequence[str], lines: Sequence[Sequence[Cell]]) -> float:
    """Return the font size in points at which a table fits the width of a printed page."""
    characters = 1
    for column, name in enumerate(header):
        longest = min(max((len(line[column].text) for line in lines), default=0), LONGEST)
        characters += max(longest, *(len(part) for part in re.split(r"[._/ ]", name))) + 2
    return max(SMALLEST_PT, min(LARGEST_PT, LARGEST_PT * CHARACTERS / characters))


def anchor(text: str) -> str:
    """Return the name of a place on the page for a text."""
    return "".join(c if c.isalnum() else "-" for c in text)


def render(template: str, **content: object) -> str:
    """Return the page of a template with this content."""
    return _environment().get_template(template).render(**content)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sweeper.analysis.report"),
        autoescape=True,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    here = files("sweeper.analysis.report")
    environment.globals |= {
        "style": here.joinpath("page.css").read_text("utf-8"),
        "script": here.joinpath("page.js").read_text("utf-8"),
        "draw": draw,
        "pack": pack,
    }
    return environment


def _shown(value: object) -> object:
    """Return text with control characters and changes of direction escaped."""
    is_html = hasattr(value, "__html__")
    return visible(value, keep="\n\t") if isinstance(value, str) and not is_html else value


@dataclass(frozen=True, kw_only=True)
class Tips:
    """The tips of a figure in short form, which the script of the page expands.

    A beginning of lines that recurs, such as "refine.lr = " or "epoch 3: ", is a word. A
    character of a rare script stands for it, since tips are the largest part of a large page.
    """

    words: str  # separated by tabs
    series: tuple[str, ...]  # for each series: a line for each tip, with tabs for line breaks


def pack(drawing: Drawing) -> Tips:
    """Return the tips of a figure for the script."""
    tips = [
        [list(map(visible, tip.split("\n"))) for tip in each.series.tips] for each in drawing.series
    ]
    lines = [line for series in tips for tip in series for line in tip]
    counts = Counter(beginning for line in lines if (beginning := _beginning(line)))
    words = [word for word, count in counts.items() if count > 2][:MOST_WORDS]
    # A figure whose own text has such characters is written in full.
    if any(FIRST_CODE <= ord(character) < FIRST_CODE + MOST_WORDS for character in "".join(lines)):
        words = []
    codes = {word: chr(FIRST_CODE + i) for i, word in enumerate(words)}

    def packed(line: str) -> str:
        code = codes.get(_beginning(line))
        return line if code is None else code + line.removeprefix(_beginning(line))

    return Tips(
        words="\t".join(words),
        series=tuple("\n".join("\t".join(map(packed, tip)) for tip in each) for each in tips),
    )


def _beginning(line: str) -> str:
    """Return a line up to its value: "epoch 3: " or "refine.lr = "; "" if it has none."""
    found = BEGINNING.match(line)
    return found.group() if found else ""
