"""Figures: series of points on two axes, which matplotlib draws as SVG.

Lengths are in units of the view box. The page scales it to the width of its column.
"""

import io
import math
import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from sweeper.text import readable, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Sheet

WIDTH, WIDE, HEIGHT = 460, 940, 280
ROW, LINE = 40, 14  # of a row that the y axis names, and of a line of its name
MARGIN = 58  # above and below all rows
INCH = 72
FONT = {"size": 11, "family": "system-ui, 'DejaVu Sans', sans-serif"}
CHARACTER = 6.6  # mean width of a character
MAX_LABEL = 24  # characters of a line of a label beside the y axis
MAX_CAPTION = 64  # characters of a line of a caption in a file
LOG_FACTOR = 4  # a larger range of values gets a logarithmic axis
MAX_POINTS = 3000  # of all lines of a figure; more points are thinned
COLOURS = {"--ink": "#1c2430", "--soft": "#5b6673", "--rule": "#dde2e8"}  # of page.css
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": COLOURS["--soft"],
    "axes.grid": True,
    "axes.labelcolor": COLOURS["--ink"],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.titlesize": "medium",
    "font.family": "DejaVu Sans",
    "font.size": FONT["size"],
    "grid.color": COLOURS["--rule"],
    "lines.solid_capstyle": "butt",
    # The page's script finds tips at the corners of a line, none of which may be merged.
    "path.simplify": False,
    "svg.fonttype": "none",
    # By default matplotlib salts ids at random, and equal figures would be unequal files.
    "svg.hashsalt": "sweeper",
    "text.color": COLOURS["--ink"],
    # A dollar sign in a name begins no formula.
    "text.parse_math": False,
    **{f"{axis}tick.{key}": value for axis in "xy" for key, value in (
        ("color", COLOURS["--ink"]), ("major.size", 0), ("minor.size", 0))},
}  # fmt: skip

Symbol = Literal["", "o", "D", "s", "|"]  # markers of matplotlib


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The title of an axis, and what it counts or names."""

    title: str = ""
    kind: Literal["values", "counts", "amounts", "shares"] = "values"  # the last two from 0
    names: tuple[str, ...] = ()  # of the places 0, 1, ...; those of the y axis go down


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one colour, with or without a line."""

    name: str  # in the legend; the script hides all series of a name together
    colour: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]  # None leaves a gap
    title: str = ""  # first line of the tip of each point
    tips: tuple[str, ...] = ()  # the lines of each tip; a single one is for all points
    line: Literal["", "straight", "steps"] = ""
    width: float = 1.5
    symbol: Symbol = ""
    size: float = 4
    opacity: float = 1
    interval: tuple[float, float] | None = None  # of x, about a single point
    labels: tuple[str, ...] = ()  # text beside each point


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Series on two axes. `columns` makes it one of parallel coordinates."""

    caption: str
    series: tuple[Series, ...]
    x: Axis = Axis()
    y: Axis = Axis()
    is_wide: bool = False
    has_legend: bool = True
    rule: float | None = None  # x of a dotted line, such as at "no difference"
    columns: Mapping[str, Sequence[tuple[float, str]]] = field(default_factory=dict)  # ticks, 0..1
    tips_start: str = ""  # written once for all tips
    has_rows_as_tips: bool = False  # a tip is a trial's number, whose row in the table is shown

    @property
    def height(self) -> int:
        """The height of the view box."""
        lines = max((wrap(name, MAX_LABEL).count("\n") + 1 for name in self.y.names), default=0)
        return max(HEIGHT, max(ROW, LINE * lines + 8) * len(self.y.names) + MARGIN)

    @property
    def legend(self) -> list[Series]:
        """The first series of each name."""
        # Later entries replace earlier ones, so that the first series of a name comes last.
        first = {series.name: series for series in reversed(self.series) if series.name}
        return [s for s in self.series if s is first.get(s.name)] if self.has_legend else []


def draw(figure: Figure) -> str:
    """Return a figure as an SVG element of a page: its colours are those of the page's style.

    All text in it is escaped.
    """
    width = WIDE if figure.is_wide else WIDTH
    with _sheet(width, figure.height) as sheet:
        sheet.patch.set_visible(False)
        shown = _draw(sheet.subplots(), figure)
        text = _as_svg(sheet)
    # As variables of the page, colours follow its light or dark setting.
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var({name})")
    text = text.replace("; fill: var(--ink)", "")  # page.css has it, and that of the grid
    text = re.sub(r'style="stroke: var\(--rule\)[^"]*"', 'class="grid"', text)
    for number, each in enumerate(shown):
        # The script counts tips, so that most need no number of their own.
        tips = [tip.removeprefix(f"{place}: ") for place, tip in enumerate(each.tips, start=1)]
        tips = tips if figure.tips_start else list(each.tips)
        # The script reads a line for each tip, with tabs instead of line breaks.
        lines = "\n".join("\t".join(map(visible, tip.split("\n"))) for tip in tips)
        own = _data(name=each.name, title=each.title, tips=lines)
        # matplotlib writes a gid as the id of a group. The script reads attributes in its place.
        text = text.replace(f'id="series{number}"', own)
        text = text.replace(f'id="part{number}"', _data(name=each.name))
    kind = {"parallel": "yes" * bool(figure.columns), "rows": "yes" * figure.has_rows_as_tips}
    return text.replace("<svg ", f"<svg {_data(tips_start=figure.tips_start, **kind)} ", 1)


def stacked(figures: Sequence[Figure]) -> str:
    """Return an SVG file with figures one below the other, without tips."""
    # matplotlib needs one part, also where evidence has no figure.
    heights = [figure.height for figure in figures] or [HEIGHT]
    with _sheet(WIDTH, sum(heights)) as sheet:
        parts = sheet.subfigures(len(heights), squeeze=False, height_ratios=heights)
        for part, figure in zip(parts.flat, figures, strict=bool(figures)):
            lines = textwrap.wrap(visible(figure.caption), MAX_CAPTION)
            part.suptitle("\n".join(lines), x=0.02, ha="left")
            axes = part.subplots()
            _draw(axes, figure)
            if figure.legend:
                axes.legend(frameon=False)
        # Each figure counts its series from 0, so that ids would repeat in a file of several.
        return re.sub(r' id="(series|part)\d+"', "", _as_svg(sheet))


@contextmanager
def _sheet(width: float, height: float) -> "Iterator[Sheet]":
    """Open an empty sheet in our style, and silence warnings of characters without a glyph."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Sheet

    with rc_context(STYLE), warnings.catch_warnings(action="ignore"):
        yield Sheet(figsize=(width / INCH, height / INCH))


def _draw(axes: "Axes", figure: Figure) -> list[Series]:
    """Draw a figure on axes, and return its series with the points that are shown."""
    axes.patch.set_visible(False)
    # Each mark without a line is a value of its own, so that lines alone are thinned.
    stride = math.ceil(sum(len(s.x) for s in figure.series if s.line) / MAX_POINTS) or 1
    shown = [_thinned(series, stride) if series.line else series for series in figure.series]
    # Two series may be equal, so that identity decides.
    first = {id(series) for series in figure.legend}
    for number, (whole, series) in enumerate(zip(figure.series, shown, strict=True)):
        # Marks at the end of an axis are not cut in half.
        style: dict[str, Any] = {"color": series.colour, "alpha": series.opacity, "clip_on": False}
        axes.plot(
            series.x,
            [math.nan if y is None else y for y in series.y],
            drawstyle="steps-post" if series.line == "steps" else "default",
            linestyle="-" if series.line else "",
            linewidth=series.width,
            marker=series.symbol,
            markersize=2 * series.size,
            # The mark `|` has nothing but an edge, and an edge would make other marks larger.
            markeredgewidth=3 if series.symbol == "|" else 0,
            # matplotlib leaves a label that begins with `_` out of the legend.
            label=visible(series.name) if id(whole) in first else "_",
            gid=f"series{number}",
            **style,
        )
        if series.interval is not None:
            axes.plot(
                series.interval, [series.y[0] or 0] * 2, linewidth=2, marker="|", markersize=10,
                markeredgewidth=2, gid=f"part{number}", **style,
            )  # fmt: skip
        for x, y, text in zip(series.x, series.y, series.labels, strict=False):
            axes.annotate(
                visible(text), (x, y or 0), (5, 0), textcoords="offset points", va="center",
                gid=f"part{number}",
            )  # fmt: skip
    if figure.rule is not None:
        axes.axvline(figure.rule, color=COLOURS["--soft"], linestyle=":")
    if figure.columns:
        _draw_columns(axes, figure)
    else:
        _draw_axis(axes, "x", figure.x)
        _draw_axis(axes, "y", figure.y)
    return shown


def _draw_axis(axes: "Axes", letter: str, axis: Axis) -> None:
    """Set the title, the scale, the range and the ticks of an axis whose series are drawn."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    drawn = axes.xaxis if letter == "x" else axes.yaxis
    drawn.set_label_text(visible(axis.title))
    low, high = drawn.get_data_interval()
    if axis.names:
        names = [wrap(name, MAX_LABEL) for name in axis.names]
        drawn.set_ticks(range(len(names)), names)
        ends = (-0.5, len(names) - 0.5)
        axes.set(**{f"{letter}lim": ends if letter == "x" else ends[::-1]})
        return
    if axis.kind == "values" and 0 < LOG_FACTOR * low < high:
        axes.set(**{f"{letter}scale": "log"})
        # Over few decades the powers of ten alone would be one tick or two.
        has_few = high < 300 * low
        drawn.set_major_locator(LogLocator(subs=(1, 2, 5) if has_few else (1,), numticks=8))
        drawn.set_minor_locator(NullLocator())
    else:
        is_count = axis.kind == "counts"
        drawn.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=is_count))
    # Places of ticks have rounding errors, such as 0.30000000000000004.
    drawn.set_major_formatter(lambda value, _: readable(float(f"{value:.10g}")))
    # Without data the interval is [inf, -inf], which is no range.
    ranges = {"counts": (low - 0.5, high + 0.5), "amounts": (0, None), "shares": (0, 1)}
    if axis.kind in ranges and low <= high:
        axes.set(**{f"{letter}lim": ranges[axis.kind]})


def _draw_columns(axes: "Axes", figure: Figure) -> None:
    """Draw the axes of parallel coordinates, each with its own ticks and its name below."""
    pitch = (WIDE if figure.is_wide else WIDTH) / len(figure.columns)
    most = max(4, int(pitch / CHARACTER) - 1)
    for place, ticks in enumerate(figure.columns.values()):
        for height, label in ticks:
            # Ticks at the ends of an axis are above and below it, where they do not cover lines.
            end = {0.0: "top", 1.0: "bottom"}.get(height, "center")
            away = (6, 0) if end == "center" else (0, 8 * height - 4)
            axes.annotate(
                wrap(label, most), (place, height), away, textcoords="offset points", va=end,
                ha="left" if end == "center" else "center",
            )  # fmt: skip
    names = [wrap(name, most) for name in figure.columns]
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(0, 1), xticks=range(len(names)))
    axes.set_xticklabels(names)
    axes.tick_params("x", pad=20)
    axes.yaxis.set_visible(False)
    axes.spines[:].set_visible(False)


def _thinned(series: Series, stride: int) -> Series:
    """Return a series with every `stride`-th point, the last and the lowest."""
    known = [i for i, y in enumerate(series.y) if y is not None]
    lowest = sorted(known, key=lambda i: series.y[i] or 0.0)[:1]
    order = sorted({*range(len(series.x))[::stride], *range(len(series.x))[-1:], *lowest})
    # A point without a value has no mark, and so no tip.
    tips = series.tips if len(series.tips) <= 1 else tuple(
        series.tips[i] for i in order if series.y[i] is not None
    )  # fmt: skip
    x, y = (tuple(values[i] for i in order) for values in (series.x, series.y))
    return Series(**{**vars(series), "x": x, "y": y, "tips": tips})


def _as_svg(sheet: "Sheet") -> str:
    """Return a sheet as SVG without what a page does not need."""
    written = io.StringIO()
    # Without a date, equal figures are equal files.
    sheet.savefig(written, format="svg", metadata={"Date": None})
    # Within a page, an XML declaration and a document type are not allowed.
    _, start, text = written.getvalue().partition("<svg ")
    font = " ".join(f'font-{name}="{value}"' for name, value in FONT.items())
    font += ' fill="none" stroke-width="1.5"'  # of most elements, which inherit them
    unused = r"<metadata>.*?</metadata>|<defs>\s*<(style|clipPath).*?</defs>"
    text = re.sub(unused, "", f"{start}{font} {text}", flags=re.DOTALL)
    # Text of users is between tags, and has no `<` or `>` there.
    text = re.sub(r"\s*(<[^<>]+>)\s*", lambda tag: _short(tag[1]), text).replace("<g/>", "")
    # All marks of a group have one style, and a single element needs no group.
    text = re.sub(
        r'<g>(?:<use[^>]* style="([^"]*)"/>)+</g>',
        lambda marks: f'<g style="{marks[1]}">' + marks[0][3:].replace(f' style="{marks[1]}"', ""),
        text,
    )
    # The first pass may leave a group that has nothing but an unpacked one.
    for _ in range(2):
        text = re.sub(r"<g>((?:<path[^>]*/>|<text[^>]*>[^<]*</text>)+)</g>", r"\1", text)
    return text


def _short(tag: str) -> str:
    """Return a tag with short numbers, and without what a page does not use."""
    for unused in (
        r' (xmlns:xlink|clip-path)=".*?"',
        r' id="(?!series|part|m\w{10}").*?"',  # but for series and the shapes of marks
        r' transform="rotate\(-0 .*?"',
        r"font(-size|-family)?: .*?; ",
        r"xlink:|\n",
        r'(?<="m\w{5})\w{5}(?=")|(?<="#m\w{5})\w{5}(?=")',  # the end of a mark's name
        r"(?<=\.\d)\d+",  # decimals after the first
        r"fill: none; |; stroke-(width: 1.5|line\w+: \w+)(?=[;\"])",
        r"\.0(?=[ L\"])",
        r"(?<=\d) (?=[MLz\"])|(?<=[ML]) ",
    ):
        tag = re.sub(unused, "", tag)
    return re.sub(r"(?<=\d)L", " ", tag)


def wrap(text: str, most: int) -> str:
    """Return text in lines of up to `most` characters, broken after dots, dashes and spaces."""
    lines = [""]
    for part in re.findall(r"[^._ /-]+[._ /-]*|[._ /-]+", visible(text)):
        if lines[-1] and len((lines[-1] + part).rstrip()) > most:
            lines.append("")
        lines[-1] += part
    stripped = (line.strip() for line in lines)
    return "\n".join(line if len(line) <= most else line[: most - 1] + "…" for line in stripped)


def _data(**values: str) -> str:
    """Return data attributes of those values that are not empty."""
    shown = {name.replace("_", "-"): visible(text, keep="\n\t") for name, text in values.items()}
    return " ".join(f'data-{name}="{escape(text)}"' for name, text in shown.items() if text)
