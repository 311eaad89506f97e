"""The layout of figures: series of points on two axes, which a template writes as SVG.

Lengths are in units of the view box. The page scales it to the width of its column.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sweeper.text import readable

WIDTH, WIDE, HEIGHT = 460, 940, 280
TOP, RIGHT, BOTTOM = 14, 16, 44
CHARACTER, LINE = 6.6, 13  # width and height of a character of the axes
LONGEST_LABEL = 24  # characters of a line of a label beside the y axis
ROW = 34  # height of a row if the y axis names rows
LOG_FACTOR = 4  # a larger range of values gets a logarithmic axis
MOST_TICKS = 8
MOST_POINTS = 3000  # of all lines of a figure; more points are thinned

Symbol = Literal["", "circle", "diamond", "square", "bar", "tick"]


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A labelled place on an axis."""

    value: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A range of values, and the ticks that label it."""

    title: str
    low: float
    high: float
    is_log: bool = False
    ticks: tuple[Tick, ...] = ()

    def position(self, value: float) -> float:
        """Return the position of a value on the axis, from 0 (low end) to 1 (high end)."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


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
    x: Axis
    y: Axis
    is_wide: bool = False
    has_legend: bool = True
    has_rows: bool = False  # the y axis names rows
    rule: float | None = None  # x of a dotted line, such as at "no difference"
    columns: tuple["ParallelAxis", ...] = ()
    tips_start: str = ""  # written once for all tips
    has_rows_as_tips: bool = False  # a tip is a trial's number, whose row in the table is shown


@dataclass(frozen=True, kw_only=True)
class ParallelAxis:
    """One axis of parallel coordinates. The values of ticks are heights from 0 to 1."""

    name: str
    ticks: tuple[Tick, ...]


def value_axis(title: str, values: Iterable[float], *, includes_zero: bool = False) -> Axis:
    """Return an axis for values, logarithmic if they differ by more than `LOG_FACTOR`."""
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if low > 0 and high > LOG_FACTOR * low and not includes_zero:
        pad = (high / low) ** 0.05
        low, high = low / pad, high * pad
        return Axis(title=title, low=low, high=high, is_log=True, ticks=_log_ticks(low, high))
    low = min(low, 0.0) if includes_zero else low
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    low, high = low if includes_zero and low == 0 else low - pad, high + pad
    return Axis(title=title, low=low, high=high, ticks=_ticks(low, high))


def count_axis(title: str, counts: Iterable[float]) -> Axis:
    """Return an axis for whole numbers."""
    known = list(counts) or [0, 1]
    low, high = min(known) - 0.5, max(known) + 0.5
    ticks = tuple(t for t in _ticks(low, high) if t.value == round(t.value))
    return Axis(title=title, low=low, high=high, ticks=ticks)


def row_axis(names: Sequence[str]) -> Axis:
    """Return an axis with names of rows, the first on top: row i is at -i."""
    ticks = tuple(Tick(value=-float(i), label=name) for i, name in enumerate(names))
    return Axis(title="", low=0.5 - max(len(names), 1), high=0.5, ticks=ticks)


def _ticks(low: float, high: float) -> tuple[Tick, ...]:
    """Return ticks at steps of 1, 2 or 5 times a power of ten."""
    least = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(least))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= least * (1 - 1e-9))
    count = range(math.ceil(low / step), math.floor(high / step) + 1)
    return tuple(Tick(value=k * step, label=readable(float(f"{k * step:.10g}"))) for k in count)


def _log_ticks(low: float, high: float) -> tuple[Tick, ...]:
    """Return ticks at 1, 2 and 5 times powers of ten, or only at powers if these are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [m * 10.0**e for e in powers for m in (1, 2, 5)]
    marks = [m for m in marks if low <= m <= high]
    if len(marks) > MOST_TICKS:
        marks = [10.0**e for e in powers if low <= 10.0**e <= high]
        marks = marks[:: math.ceil(len(marks) / MOST_TICKS)]
    return tuple(Tick(value=m, label=readable(float(f"{m:.10g}"))) for m in marks)


@dataclass(frozen=True, kw_only=True)
class Label:
    """Text of an axis or beside a point, in lines."""

    x: float
    y: float
    lines: tuple[str, ...]
    anchor: str = "middle"


@dataclass(frozen=True, kw_only=True)
class DrawnSeries:
    """A series as paths of SVG, with the tips of its points for the script."""

    series: Series
    line: str
    marks: str
    interval: str
    at: str  # points as "x,y x,y"; empty for a straight line, whose path has them
    labels: tuple[Label, ...]


@dataclass(frozen=True, kw_only=True)
class LegendEntry:
    """A name in the legend, with the marks of its series."""

    name: str
    series: Series
    line: str
    marks: str


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure with every coordinate computed."""

    figure: Figure
    width: float
    height: float
    grid: str
    frame: str
    rule: str
    labels: tuple[Label, ...]
    title_x: Label
    title_y: Label
    series: tuple[DrawnSeries, ...]
    legend: tuple[LegendEntry, ...]
    columns: str  # x of each axis of parallel coordinates, then their top and bottom


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """The rectangle between the axes."""

    figure: Figure
    left: float
    right: float
    top: float
    bottom: float

    def x(self, value: float) -> float:
        return self.left + self.figure.x.position(value) * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - self.figure.y.position(value) * (self.bottom - self.top)


def draw(figure: Figure) -> Drawing:
    """Return a figure with every coordinate computed."""
    width = WIDE if figure.is_wide else WIDTH
    if figure.columns:
        return _draw_parallel(figure, width)
    # The labels of the y axis decide the left margin and, for rows, the height.
    beside = [wrap(tick.label, LONGEST_LABEL) for tick in figure.y.ticks]
    widest = max((width_of(line) for lines in beside for line in lines), default=0.0)
    height = max(HEIGHT, ROW * len(beside) + TOP + BOTTOM) if figure.has_rows else HEIGHT
    frame = _Frame(
        figure=figure,
        left=widest + (26 if figure.y.title else 10),
        right=width - RIGHT,
        top=TOP,
        bottom=height - BOTTOM,
    )
    grid = [f"M{_n(frame.left)} {_n(frame.y(t.value))}H{_n(frame.right)}" for t in figure.y.ticks]
    grid += [f"M{_n(frame.x(t.value))} {_n(frame.top)}V{_n(frame.bottom)}" for t in figure.x.ticks]
    labels = [
        Label(x=frame.left - 6, y=_middle(frame.y(t.value), lines), lines=lines, anchor="end")
        for t, lines in zip(figure.y.ticks, beside, strict=True)
    ]
    labels += [
        Label(x=frame.x(t.value), y=frame.bottom + LINE + 1, lines=(t.label,))
        for t in _apart(figure.x.ticks, frame)
    ]
    rule = "" if figure.rule is None else frame.x(figure.rule)
    return _drawing(
        frame,
        width,
        height,
        grid="".join(grid),
        labels=labels,
        rule=f"M{_n(rule)} {_n(frame.top)}V{_n(frame.bottom)}" if rule else "",
    )


def _draw_parallel(figure: Figure, width: float) -> Drawing:
    """Return parallel coordinates, with an axis for each column and a line for each trial."""
    pitch = (width - 2 * RIGHT) / len(figure.columns)
    most = max(4, int(pitch / CHARACTER) - 1)
    names = [wrap(column.name, most) for column in figure.columns]
    below = (max(map(len, names)) + 1) * LINE + 12
    frame = _Frame(
        figure=figure,
        left=RIGHT + pitch / 2,
        right=width - RIGHT - pitch / 2,
        top=28,
        bottom=HEIGHT - below,
    )
    # Ticks at the ends of an axis are above and below it, where they do not cover lines.
    xs = [frame.x(i) for i in range(len(figure.columns))]
    labels = []
    for x, column, lines in zip(xs, figure.columns, names, strict=True):
        labels.append(Label(x=x, y=frame.bottom + 2 * LINE + 8, lines=lines))
        for tick in column.ticks:
            text = (_cut(tick.label, most),)
            if tick.value in (0, 1):
                y = frame.top - 8 if tick.value else frame.bottom + LINE + 2
                labels.append(Label(x=x, y=y, lines=text))
            else:
                labels.append(Label(x=x + 6, y=frame.y(tick.value) + 4, lines=text, anchor="start"))
    grid = "".join(f"M{_n(x)} {_n(frame.top)}V{_n(frame.bottom)}" for x in xs)
    columns = " ".join(map(_n, [*xs, frame.top, frame.bottom]))
    return _drawing(frame, width, HEIGHT, grid=grid, labels=labels, columns=columns)


def _drawing(
    frame: _Frame,
    width: float,
    height: float,
    *,
    grid: str,
    labels: Sequence[Label],
    rule: str = "",
    columns: str = "",
) -> Drawing:
    figure = frame.figure
    stride = math.ceil(sum(len(s.x) for s in figure.series if s.line) / MOST_POINTS) or 1
    drawn = tuple(_drawn(series, frame, stride) for series in figure.series)
    edges = f"M{_n(frame.left)} {_n(frame.top)}V{_n(frame.bottom)}H{_n(frame.right)}"
    middle = (frame.top + frame.bottom) / 2
    return Drawing(
        figure=figure,
        width=width,
        height=height,
        grid=grid,
        frame="" if columns else edges,
        rule=rule,
        labels=tuple(labels),
        title_x=Label(x=(frame.left + frame.right) / 2, y=height - 8, lines=_lines(figure.x.title)),
        title_y=Label(x=12, y=middle, lines=_lines(figure.y.title)),
        series=drawn,
        legend=_legend(figure),
        columns=columns,
    )


def _lines(text: str) -> tuple[str, ...]:
    return (text,) if text else ()


def _legend(figure: Figure) -> tuple[LegendEntry, ...]:
    """Return an entry for each name, in the order of the series."""
    found: dict[str, LegendEntry] = {}
    for series in figure.series if figure.has_legend else ():
        if series.name and series.name not in found:
            symbol: Symbol = "square" if series.symbol == "bar" else series.symbol
            found[series.name] = LegendEntry(
                name=series.name,
                series=series,
                line="M0 6H18" if series.line else "",
                marks=_mark(symbol, 9, 6, 4) if symbol else "",
            )
    return tuple(found.values())


def _drawn(series: Series, frame: _Frame, stride: int) -> DrawnSeries:
    kept = _thinned(series, stride) if series.line else range(len(series.x))
    points = [
        (frame.x(series.x[i]), None if (y := series.y[i]) is None else frame.y(y)) for i in kept
    ]
    # Marks, tips and labels exist for points only; a gap has none.
    there = [(x, y) for x, y in points if y is not None]
    tips = series.tips if len(series.tips) <= 1 else tuple(
        series.tips[i] for i in kept if series.y[i] is not None
    )  # fmt: skip
    start = frame.x(max(0.0, frame.figure.x.low)) if series.symbol == "bar" else 0.0
    marks = [_mark(series.symbol, x, y, series.size, start=start) for x, y in there]
    labels = [
        Label(x=x + 5, y=y + 4, lines=(text,), anchor="start")
        for (x, y), text in zip(there, series.labels, strict=False)
    ]
    return DrawnSeries(
        series=Series(**{**vars(series), "tips": tips}),
        line=_line(points, series.line) if series.line else "",
        marks="".join(marks),
        interval=_interval(series, frame),
        at=""
        if series.line == "straight" or series.symbol == "circle"
        else " ".join(f"{_n(x)},{_n(y)}" for x, y in there),
        labels=tuple(labels),
    )


def _thinned(series: Series, stride: int) -> list[int]:
    """Return the indices of drawn points: every `stride`-th, the last and the lowest."""
    if stride == 1:
        return list(range(len(series.x)))
    known = [i for i, y in enumerate(series.y) if y is not None]
    lowest = min(known, key=lambda i: series.y[i] or 0.0, default=0)
    return sorted({*range(0, len(series.x), stride), len(series.x) - 1, lowest})


def _line(points: Sequence[tuple[float, float | None]], kind: str) -> str:
    """Return the path of a line, with a new start after each gap.

    Pairs of numbers after a start `M` are lines to these points.
    """
    parts: list[str] = []
    is_open = False
    for x, y in points:
        if y is None:
            is_open = False
        elif not is_open:
            parts.append(f"M{_n(x)} {_n(y)}")
            is_open = True
        else:
            parts.append(f"H{_n(x)}V{_n(y)}" if kind == "steps" else f" {_n(x)} {_n(y)}")
    return "".join(parts)


def _mark(symbol: Symbol, x: float, y: float, size: float, *, start: float = 0.0) -> str:
    """Return the path of one mark around a point; a bar begins at `start`."""
    s = size
    match symbol:
        case "circle":
            return f"M{_n(x)} {_n(y)}h0"  # a dot of a round pen: the shortest form
        case "diamond":
            d = 1.3 * s
            return f"M{_n(x)} {_n(y - d)}l{_n(d)} {_n(d)}l{_n(-d)} {_n(d)}l{_n(-d)} {_n(-d)}Z"
        case "square":
            return f"M{_n(x - s)} {_n(y - s)}h{_n(2 * s)}v{_n(2 * s)}h{_n(-2 * s)}Z"
        case "tick":
            return f"M{_n(x - 1.5)} {_n(y - s)}h3v{_n(2 * s)}h-3Z"
        case "bar":
            return f"M{_n(start)} {_n(y - s)}H{_n(x)}v{_n(2 * s)}H{_n(start)}Z"
        case _:
            return ""


def _interval(series: Series, frame: _Frame) -> str:
    """Return the path of an interval of x, with a cap at each end."""
    if series.interval is None or series.y[0] is None:
        return ""
    low, high = (frame.x(value) for value in series.interval)
    y = frame.y(series.y[0])
    caps = "".join(f"M{_n(x)} {_n(y - 5)}v10" for x in (low, high))
    return f"M{_n(low)} {_n(y)}H{_n(high)}{caps}"


def _apart(ticks: Sequence[Tick], frame: _Frame) -> list[Tick]:
    """Return the ticks of the x axis whose labels do not overlap."""
    kept: list[Tick] = []
    end = -math.inf
    for tick in ticks:
        half = len(tick.label) * CHARACTER / 2
        if frame.x(tick.value) - half > end + 4:
            kept.append(tick)
            end = frame.x(tick.value) + half
    return kept


def wrap(text: str, most: int) -> tuple[str, ...]:
    """Return text in lines of up to `most` characters, broken after dots, dashes and spaces."""
    lines = [""]
    for part in re.findall(r"[^._ /-]+[._ /-]*|[._ /-]+", text):
        if lines[-1] and len((lines[-1] + part).rstrip()) > most:
            lines.append("")
        lines[-1] += part
    return tuple(_cut(line.strip(), most) for line in lines)


def width_of(text: str) -> float:
    """Return the width of a text of the axes, in which capitals and `m` are wide."""
    return CHARACTER * (len(text) + sum(c.isupper() or c in "mw" for c in text) / 2)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _middle(y: float, lines: Sequence[str]) -> float:
    """Return the base line of the first of several lines that are centred vertically at y."""
    return y + 4 - LINE * (len(lines) - 1) / 2


def _n(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
