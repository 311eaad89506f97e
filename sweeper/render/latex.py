"""The table for a paper: methods on tasks, and the claims of questions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum

from sweeper.model import BY_HAND
from sweeper.results.comparison import (
    ALPHA,
    Answer,
    ClaimResult,
    Comparison,
    Entry,
    Published,
    TaskComparison,
    Verdict,
)
from sweeper.results.floors import title
from sweeper.results.prose import data_of, listed, metric
from sweeper.results.statistics import MIN_VALUES
from sweeper.results.verdicts import name
from sweeper.text import readable, visible

# A row that begins with `[` would give an argument to the line break before it.
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "_": r"\_", "±": r"$\pm$", "%": r"\%", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}",
}  # fmt: skip
BOLD = (
    "significantly lower than every other method on the task (sign-flip test over paired seeds, "
    f"Holm's correction, {ALPHA})"
)
NO_NUMBER = "--"


class Row(StrEnum):
    """The optional rows of a table below each task."""

    control = "control"  # vanilla fine-tuning without tuning
    baselines = "baselines"  # predictors that learn nothing
    published = "published"


def comparison_table(comparison: Comparison, rows: Collection[Row] = ()) -> str:
    """Return a comparison as a `table` for booktabs, with tasks as rows and methods as columns.

    A cell has the mean over seeds and its interval or, of too few seeds for one, their standard
    deviation. A value is bold only if the test supports it.

    Args:
        comparison: The comparison.
        rows: The additional rows below each task.
    """
    published = _published_columns(comparison) if Row.published in rows else ()
    columns = [*comparison.labels, *published]
    titles = _titles(comparison)
    body: list[str] = []
    for task in comparison.tasks:
        body += [r"\midrule", *_task_rows(task, titles[task.task], columns, comparison, rows)]
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_caption(comparison, titles, rows)}}}",
        rf"\label{{tab:{'-'.join(comparison.sweeps)}}}",
        rf"\begin{{tabular}}{{l{'c' * len(columns)}}}",
        r"\toprule",
        _line(["Task", *(_escaped(name(label)) for label in columns)]),
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        *(line for answered in comparison.answers for line in _claims_table(answered)),
    ]
    return "\n".join(lines) + "\n"


def _claims_table(answered: Answer) -> list[str]:
    """Return the lines of a table of claims, the primary one first."""
    caption = (
        f"{answered.question.title} Differences with 95 % intervals that invert sign-flip tests"
        " over n seeds of one task, or over n tasks. The first claim is primary and not corrected;"
        " the p-values of the others have Holm's correction."
    )
    caption = _escaped(caption).replace(r" \%", r"\,\%")
    return [
        "",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{answered.sweep}-claims}}",
        r"\begin{tabular}{p{0.4\linewidth}cccl}",
        r"\toprule",
        _line(["Claim", "Difference", "$p$", "$n$", "Verdict"]),
        r"\midrule",
        *(_line(_claim_cells(each)) for each in answered.claims),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def _claim_cells(each: ClaimResult) -> list[str]:
    scale = 100 if each.is_relative else 1
    numbers = [
        _number(scale * value) for value in (each.difference, *(each.ci or ())) if value is not None
    ]
    difference = NO_NUMBER if not numbers else f"${numbers[0]}$"
    if len(numbers) > 1:
        difference += f"~$[{numbers[1]}, {numbers[2]}]$"
    if numbers and each.is_relative:
        difference += r"\,\%"
    p = NO_NUMBER if each.p_decisive is None else f"${_number(each.p_decisive)}$"
    return [_escaped(each.says), difference, p, f"${each.n}$", each.verdict.value]


def _task_rows(
    task: TaskComparison,
    named: str,
    columns: Sequence[str],
    comparison: Comparison,
    rows: Collection[Row],
) -> list[str]:
    # A number of seeds that all cells have stands in the caption alone.
    shows_n = len(_counts(comparison, rows)) > 1
    head = _escaped(f"{named} ({metric(task.metric)})")
    blank = [""] * (len(columns) - len(comparison.labels))  # for published methods
    ours = (_cell(task, task.entries, c, shows_n=shows_n) for c in comparison.labels)
    found = [_line([head, *ours, *blank])]
    for further in dict.fromkeys(each for entry in task.entries for each in entry.cells):
        entries = (_entry(task.entries, label) for label in comparison.labels)
        cells = (_further(entry.cells.get(further) if entry else None) for entry in entries)
        found.append(_line([rf"\quad {_escaped(further.replace('_', ' '))}", *cells, *blank]))
    if Row.control in rows and any(entry.values for entry in task.controls):
        # The control of an arm has the label of its method, and stands below the arm.
        below = [
            replace(control, label=entry.label)
            for entry, control in zip(task.entries, task.controls, strict=True)
        ]
        cells = (_cell(task, below, label, shows_n=shows_n) for label in comparison.labels)
        found.append(_line([r"\quad control", *cells, *blank]))
    if task.floor is not None:
        floor = f"${_number(task.floor.value)}$ ({_escaped(title(task.floor.predictor))})"
        spanned = rf"\multicolumn{{{len(columns)}}}{{c}}{{{floor}}}"
        label = "floor" if task.floor.predictor == BY_HAND else "without a network"
        found.append(_line([rf"\quad {label}", spanned]))
    if Row.baselines in rows:
        for predictor, value in sorted(task.facts.baselines.items()):
            spanned = rf"\multicolumn{{{len(columns)}}}{{c}}{{${_number(value)}$}}"
            found.append(_line([rf"\quad {_escaped(predictor)} predictor", spanned]))
    if Row.published in rows:
        found += [
            _line([rf"\quad {_escaped(source)}", *(cells.get(c, "") for c in columns)])
            for source, cells in _published_rows(task)
        ]
    return found


def _cell(task: TaskComparison, entries: Sequence[Entry], label: str, *, shows_n: bool) -> str:
    """Return the mean of an entry and its interval, or that there is none."""
    entry = _entry(entries, label)
    if entry is None or entry.mean is None:
        return NO_NUMBER
    mean = _number(entry.mean)
    if entry.ci is None and entry.sd is not None:
        mean += rf" \pm {_number(entry.sd)}"
    is_winner = entry in task.entries and _is_winner(task, entry)
    parts = [rf"$\mathbf{{{mean}}}$" if is_winner else f"${mean}$"]
    if entry.ci is not None:
        parts.append(f"$[{_number(entry.ci[0])}, {_number(entry.ci[1])}]$")
    if shows_n:
        parts.append(f"($n = {len(entry.values)}$)")
    return "~".join(parts)


def _further(value: object) -> str:
    if isinstance(value, int | float):
        return f"${_number(value)}$"
    return NO_NUMBER if value is None else _escaped(str(value))


def _published_rows(task: TaskComparison) -> list[tuple[str, Mapping[str, str]]]:
    """Return the published rows of a task: the head of each, and its cells by method."""
    found: dict[str, dict[str, str]] = {}
    for each in task.published:
        cells = found.setdefault(_source(each, task), {})
        cells[each.method] = ", ".join(
            filter(None, (cells.get(each.method), f"${_number(each.value)}$"))
        )
    return list(found.items())


def _source(each: Published, task: TaskComparison) -> str:
    unit = "" if task.metric.endswith(f"/{each.metric}") else f", {metric(each.metric)}"
    return f"published, {each.protocol}{unit} ({each.citation})"


def _published_columns(comparison: Comparison) -> list[str]:
    """Return the methods that have published numbers only."""
    methods = dict.fromkeys(each.method for task in comparison.tasks for each in task.published)
    return [each for each in methods if each not in comparison.labels]


def _caption(comparison: Comparison, titles: Mapping[str, str], rows: Collection[Row]) -> str:
    """Return the caption: seeds, intervals, the test and the protocol of each task."""
    entries = [entry for task in comparison.tasks for entry in task.entries]
    counts = _counts(comparison, rows)
    said = ["Test errors, lower is better: means over seeds"]
    shown = list(entries)
    if Row.control in rows:
        shown += [control for task in comparison.tasks for control in task.controls]
    if any(entry.ci is not None for entry in shown):
        said[0] += ", with 95 % intervals in brackets"
    if any(entry.ci is None and entry.sd is not None for entry in shown):
        said[0] += f", ± standard deviations of fewer than {MIN_VALUES} seeds"
    if len(counts) == 1:
        said[0] += f"; n = {counts[0]} seed{'s' * (counts[0] != 1)}"
    is_bold = any(_is_winner(task, e) for task in comparison.tasks for e in task.entries)
    if len(comparison.labels) > 1:
        said.append(f"In bold: {BOLD}" if is_bold else f"Nothing is in bold: no method is {BOLD}")
    protocols: dict[str, list[str]] = {}
    for task in comparison.tasks:
        protocols.setdefault(_protocol(task), []).append(titles[task.task])
    if len(protocols) == 1:
        said.append(f"Protocol: {next(iter(protocols))}")
    else:
        parts = (f"{listed(tasks)}: {protocol}" for protocol, tasks in protocols.items())
        said.append(f"Protocols: {'; '.join(parts)}")
    said += [
        f"On {titles[task.task]} nothing is ranked: {'; '.join(task.incomparable)}"
        for task in comparison.tasks
        if task.incomparable
    ]
    if Row.control in rows and any(e.values for task in comparison.tasks for e in task.controls):
        said.append("The control is vanilla fine-tuning with the preset's settings, not tuned")
    if Row.published in rows:
        said.append(
            "Published numbers have other backbones, data, sizes or protocols behind them, and "
            "rank with ours nowhere"
        )
    return _escaped(". ".join(said) + ".").replace(r" \%", r"\,\%")


def _protocol(task: TaskComparison) -> str:
    """Return the protocol, the data source and the sizes of a task's splits as text."""
    facts = task.facts
    sizes = f"{facts.sizes} samples" if facts.sizes else ""
    return ", ".join(filter(None, (facts.protocol or "unknown", data_of(facts), sizes)))


def _counts(comparison: Comparison, rows: Collection[Row]) -> list[int]:
    """Return the different numbers of seeds of the cells, in ascending order."""
    entries = [entry for task in comparison.tasks for entry in task.entries]
    if Row.control in rows:
        entries += [entry for task in comparison.tasks for entry in task.controls]
    return sorted({len(entry.values) for entry in entries if entry.mean is not None})


def _titles(comparison: Comparison) -> dict[str, str]:
    """Return the printed names of the tasks, with the task's name added to duplicates."""
    titles = {t.task: visible(t.facts.title or t.task) for t in comparison.tasks}
    shown = list(titles.values())
    return {
        task: f"{title} ({task})" if shown.count(title) > 1 else title
        for task, title in titles.items()
    }


def _entry(entries: Sequence[Entry], label: str) -> Entry | None:
    return next((entry for entry in entries if entry.label == label), None)


def _line(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _is_winner(task: TaskComparison, entry: Entry) -> bool:
    others = {e.label for e in task.entries} - {entry.label}
    beaten = {d.second for d in task.differences if (d.first, d.verdict) == (entry.label, _LOWER)}
    beaten |= {d.first for d in task.differences if (d.second, d.verdict) == (entry.label, _HIGHER)}
    # A single method has beaten nobody, and is not bold.
    return bool(others) and others <= beaten


_LOWER, _HIGHER = Verdict.LOWER, Verdict.HIGHER


def _number(value: float) -> str:
    digits, _, exponent = readable(value).partition("e")
    return rf"{digits} \cdot 10^{{{exponent}}}" if exponent else digits


def _escaped(text: str) -> str:
    return "".join(SPECIAL.get(character, character) for character in visible(text))
