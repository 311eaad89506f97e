"""One HTML page that needs nothing else: style, script, plotly.js and figures are inside.

It follows the reader's light or dark setting, prints in light, and is text and tables without
JavaScript. Whatever comes in as text is escaped here, and nowhere else.
"""

import html
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from sweeper.analysis.prose import number
from sweeper.analysis.report.figures import as_plain
from sweeper.text import visible

CHARACTERS = 165  # of the largest size beside each other on a page
LARGEST_PT, SMALLEST_PT = 7.5, 4.5  # of a printed table


class Markup(str):
    """HTML that is already safe to show."""

    __slots__ = ()


def element(tag: str, *content: Any, **attributes: Any) -> Markup:
    """Returns `<tag>` around its content; text is escaped, Markup is not. `class_` is `class`."""
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_escaped(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{named}>{''.join(map(_safe, content))}</{tag}>")


def _safe(content: Any) -> str:
    return content if isinstance(content, Markup) else _escaped(content)


def _escaped(content: Any) -> str:
    """Return text for HTML; control characters and changes of direction are shown, not obeyed."""
    return html.escape(visible(str(content), keep="\n\t"))


def _shown(value: Any) -> Any:
    """Return a figure's plain data with the same done to its texts."""
    if isinstance(value, str):
        return visible(value, keep="\n\t")
    if isinstance(value, dict):
        return {name: _shown(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(each) for each in value]
    return value


def join(parts: Sequence[Markup]) -> Markup:
    """Joins pieces of markup."""
    return Markup("\n".join(parts))


def anchor(text: str) -> str:
    """Returns a name for a place on the page."""
    return "".join(c if c.isalnum() else "-" for c in text)


def table(
    header: Sequence[str], lines: Sequence[Sequence[Any]], *, marked: Sequence[int] = ()
) -> Markup:
    """Returns a table that scrolls on its own where it is too wide; numbers are set right.

    On paper, where nothing scrolls, its letters are as small as its width asks for.

    Args:
        marked: Indices of lines to be set off, as the best.
    """
    is_number = [
        any(_is_number(line[i]) for line in lines)
        and all(line[i] is None or _is_number(line[i]) for line in lines)
        for i in range(len(header))
    ]
    sides = ["number" if n else None for n in is_number]
    head = join([element("th", _folded(h), class_=c) for h, c in zip(header, sides, strict=True)])
    body = [
        element(
            "tr",
            join(
                [
                    element("td", _cell(v), class_=c, title=_in_full(v))
                    for v, c in zip(line, sides, strict=True)
                ]
            ),
            class_="marked" if index in marked else None,
        )
        for index, line in enumerate(lines)
    ]
    inner = join([element("thead", element("tr", head)), element("tbody", join(body))])
    size = f"--printed: {_printed_size(header, lines):.2g}pt"
    return element("div", element("table", inner, style=size), class_="scroll", tabindex=0)


def _folded(name: str) -> Markup:
    """Returns a column's name that may break behind its dots and underscores."""
    return Markup(re.sub(r"[._/](?=\w)", r"\g<0><wbr>", _escaped(name)))


def _printed_size(header: Sequence[str], lines: Sequence[Sequence[Any]]) -> float:
    """Returns the size in points at which a table is as wide as a page, or less."""
    characters = 1
    for column, name in enumerate(header):
        shown = [str(_cell(line[column])) for line in lines]
        longest = min(max((len(re.sub("<[^>]*>", "", text)) for text in shown), default=0), 24)
        characters += max(longest, *(len(part) for part in re.split(r"[._/ ]", name))) + 2
    return max(SMALLEST_PT, min(LARGEST_PT, LARGEST_PT * CHARACTERS / characters))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _in_full(value: Any) -> str | None:
    """Returns what a cell says where a reader points at it: the number that it rounds."""
    is_rounded = isinstance(value, float) and math.isfinite(value)
    return repr(value) if is_rounded and number(value) != repr(value) else None


def _cell(value: Any) -> Any:
    return value if isinstance(value, Markup) else number(value)


@dataclass
class Figures:
    """Collects the figures of a page, which the script draws into their places."""

    drawn: list[dict[str, Any]]

    def place(self, figure: go.Figure, caption: str, *, is_wide: bool = False) -> Markup:
        """Returns the place of a figure, with its caption; a wide one has a row to itself."""
        self.drawn.append(_shown(as_plain(figure)))
        name = f"figure-{len(self.drawn) - 1}"
        plot = element("div", class_="plot", id=name, role="img", aria_label=caption)
        kind = "wide" if is_wide else None
        return element("figure", element("figcaption", caption), plot, class_=kind)


def document(title: str, body: Markup, figures: Figures) -> str:
    """Returns the whole page."""
    head = join(
        [
            Markup('<meta charset="utf-8">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup('<meta name="color-scheme" content="light dark">'),
            element("title", title),
            element("style", Markup(STYLE)),
        ]
    )
    data = json.dumps(figures.drawn, allow_nan=False).replace("<", "\\u003c")
    scripts = [
        element("script", Markup(data), type="application/json", id="figures"),
        element("script", Markup(get_plotlyjs())),
        element("script", Markup(SCRIPT)),
    ]
    everything = element("body", element("main", body), join(scripts if figures.drawn else []))
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n{everything}</html>\n'


STYLE = """
:root {
  --paper: #ffffff; --ink: #1c2430; --soft: #5b6673; --rule: #dde2e8; --tint: #f4f6f9;
  --accent: #2568a8; --good: #e8f2ec;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181e; --ink: #e4e8ee; --soft: #9aa5b2; --rule: #2d3540; --tint: #1b2129;
    --accent: #7db4e8; --good: #1b2f27;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans",
    sans-serif;
}
main { max-width: 84rem; margin: 0 auto; padding: 2.5rem clamp(1rem, 4vw, 3rem) 5rem; }
h1, h2, h3 { line-height: 1.2; text-wrap: balance; overflow-wrap: anywhere; }
h1 { font-size: clamp(1.6rem, 4vw, 2.2rem); margin: 0 0 .25rem; letter-spacing: -.015em; }
h2 {
  font-size: 1.3rem; margin: 3.25rem 0 .75rem; padding-top: 1rem;
  border-top: 1px solid var(--rule);
}
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
p { max-width: 46rem; margin: .5rem 0; overflow-wrap: anywhere; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
.question { font-size: 1.15rem; margin-top: 1.25rem; }
.answer {
  max-width: 52rem; padding: .8rem 1rem; margin: 1rem 0; background: var(--tint);
  border-left: 3px solid var(--accent); border-radius: 0 4px 4px 0;
}
ul { max-width: 52rem; margin: .5rem 0; padding-left: 1.2rem; }
li { margin: .25rem 0; overflow-wrap: anywhere; }
a { color: var(--accent); }
nav a { margin-right: 1rem; white-space: nowrap; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table {
  border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums;
  width: max-content;
}
th, td { padding: .4rem 1rem .4rem .35rem; text-align: left; vertical-align: top; }
th {
  font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--ink); white-space: nowrap;
}
td { max-width: 34rem; overflow-wrap: anywhere; }
td { border-bottom: 1px solid var(--rule); }
th.number, td.number { text-align: right; white-space: nowrap; }
tr.marked td { background: var(--good); font-weight: 600; }
.plots {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr));
  gap: 1rem 2rem;
}
figure { margin: .5rem 0; min-width: 0; }
figure.wide { grid-column: 1 / -1; }
.plot { height: 340px; }
details { margin: .75rem 0; }
summary { cursor: pointer; color: var(--accent); }
pre {
  background: var(--tint); padding: 1rem; border-radius: 4px; overflow-x: auto;
  font: .82rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@page { size: landscape; margin: 14mm; }
@media print {
  :root {
    --paper: #fff; --ink: #000; --soft: #444; --rule: #ccc; --tint: #f6f6f6; --accent: #000;
    --good: #eee;
  }
  body { font-size: 9.5pt; line-height: 1.4; }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  h2 { margin: 1.25rem 0 .5rem; padding-top: .6rem; }
  p, ul, .answer { max-width: 60rem; }
  h2, h3, summary, p:has(+ .plots), p:has(+ p + .plots) { break-after: avoid; }
  figure, tr, .answer, li { break-inside: avoid; }
  .plots { grid-template-columns: repeat(auto-fit, 460px); gap: .25rem 16px; }
  figure { margin: .25rem 0; }
  figcaption { font-size: 8pt; }
  .plot { width: 460px; height: 205px; }
  figure.wide .plot { width: 936px; }
  .scroll { overflow: visible; }
  table { width: auto; font-size: var(--printed, 7.5pt); }
  th, td { padding: .35em .8em .35em .2em; overflow-wrap: break-word; }
  th, th.number { white-space: normal; }
  a { color: inherit; text-decoration: none; }
  pre { white-space: pre-wrap; }
}
"""

SCRIPT = """
const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const palettes = {
  light: {ink: "#1c2430", soft: "#5b6673", rule: "#dde2e8", paper: "#ffffff"},
  dark: {ink: "#e4e8ee", soft: "#9aa5b2", rule: "#2d3540", paper: "#14181e"},
};
function themed(layout, palette, isPrinted) {
  const axis = {gridcolor: palette.rule, linecolor: palette.soft, tickcolor: palette.soft,
    zerolinecolor: palette.rule, automargin: true};
  return {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {family: getComputedStyle(document.body).fontFamily, size: isPrinted ? 10 : 12,
      color: palette.ink},
    margin: {l: 55, r: 15, t: 25, b: isPrinted ? 40 : 50},
    legend: {orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: {color: palette.ink}},
    hoverlabel: {bgcolor: palette.paper, bordercolor: palette.soft, font: {color: palette.ink}},
    xaxis: {...axis, ...layout.xaxis}, yaxis: {...axis, ...layout.yaxis},
  };
}
const drawn = new Set();
// A page is laid out for paper after this event, so that a printed figure has a size of its own.
function draw(i, isDark, isPrinted = false) {
  drawn.add(i);
  const place = document.getElementById("figure-" + i);
  const isWide = place.parentElement.classList.contains("wide");
  const size = isPrinted ? {width: isWide ? 936 : 460, height: 205, autosize: false}
    : {width: undefined, height: undefined, autosize: true};
  const layout = themed(figures[i].layout, isDark ? palettes.dark : palettes.light, isPrinted);
  Plotly.react(place, figures[i].data, {...layout, ...size},
    {responsive: !isPrinted, displayModeBar: false});
}
const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
  const i = Number(entry.target.id.slice("figure-".length));
  if (entry.isIntersecting && !drawn.has(i)) draw(i, dark.matches);
}), {rootMargin: "600px"});
document.querySelectorAll(".plot").forEach((place) => seen.observe(place));
function again(isDark) { drawn.forEach((i) => draw(i, isDark)); }
dark.addEventListener("change", (event) => again(event.matches));
window.addEventListener("beforeprint", () => figures.forEach((_, i) => draw(i, false, true)));
window.addEventListener("afterprint", () => again(dark.matches));
"""
