"""Figures of a comparison, in plotly. A method has the same colour in all of them."""

from collections.abc import Sequence

import plotly.graph_objects as go

from sweeper.analysis.comparison.comparison import (
    CONTROL,
    Comparison,
    Difference,
    Entry,
    TaskComparison,
)
from sweeper.analysis.comparison.verdicts import name
from sweeper.analysis.prose import metric, number
from sweeper.analysis.report.figures import plain, value_axis

METHOD_COLOURS = ("#3b82c4", "#e08a1e", "#2f9e6e", "#c0549a", "#8a63d2", "#4aa6b5", "#d9534f",
                  "#9a8a3c", "#7a8794")  # fmt: skip
CONTROL_COLOUR = "#8b95a1"
AGAINST = {"trials": "candidates that ended", "device_seconds": "device-seconds"}


def colours(labels: Sequence[str]) -> dict[str, str]:
    """Returns each method's colour."""
    chosen = {label: METHOD_COLOURS[i % len(METHOD_COLOURS)] for i, label in enumerate(labels)}
    return {**chosen, CONTROL: CONTROL_COLOUR}


def scores(task: TaskComparison, palette: dict[str, str]) -> go.Figure:
    """Shows every test value of every method and control, with mean and interval."""
    figure = go.Figure()
    rows = [(e, e.label, name(e.label)) for e in task.entries]
    rows += [(e, CONTROL, f"{name(e.label)}: control") for e in task.controls]
    rows = [row for row in rows if row[0].values]
    for entry, label, shown in reversed(rows):
        values = list(entry.values.values())
        seeds = [f"seed {seed}: {value:.6g}" for seed, value in entry.values.items()]
        figure.add_scatter(
            x=values, y=[plain(shown)] * len(values), mode="markers", text=seeds,
            marker={"color": palette[label], "size": 7, "opacity": 0.45},
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=[entry.mean], y=[plain(shown)], mode="markers", text=[_mean_text(entry)],
            error_x=_error(entry.mean, entry.ci, palette[label]),
            marker={"color": palette[label], "size": 13, "symbol": "line-ns",
                    "line": {"width": 3, "color": palette[label]}},
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    everything = [value for entry, *_ in rows for value in entry.values.values()]
    figure.update_layout(
        xaxis=value_axis(f"test {metric(task.metric)}", everything),
        yaxis={"automargin": True},
        showlegend=False,
    )
    return figure


def gaps(task: TaskComparison) -> go.Figure | None:
    """Shows the paired differences with their intervals about zero; None without one."""
    found = [d for d in (*task.differences, *task.from_control) if d.difference is not None]
    if not any(d.ci for d in found):
        return None
    figure = go.Figure()
    for each in reversed(found):
        colour = CONTROL_COLOUR if each.verdict.value == "cannot distinguish" else "#3b82c4"
        figure.add_scatter(
            x=[each.difference], y=[plain(f"{name(each.first)} − {name(each.second)}")],
            mode="markers", marker={"color": colour, "size": 10, "symbol": "diamond"},
            error_x=_error(each.difference, each.ci, colour), text=[gap_text(each)],
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=0, line={"width": 1.5, "dash": "dot", "color": CONTROL_COLOUR})
    figure.update_layout(
        xaxis={"title": {"text": f"difference in test {metric(task.metric)}"}, "nticks": 5},
        yaxis={"automargin": True},
        showlegend=False,
    )
    return figure


def any_time(task: TaskComparison, what: str, palette: dict[str, str]) -> go.Figure | None:
    """Shows how each method's best validation value came down, against `trials` or
    `device_seconds`; None where no method has two points."""
    if all(len(entry.curve) < 2 for entry in task.entries):
        return None
    figure = go.Figure()
    for entry in task.entries:
        figure.add_scatter(
            x=[getattr(point, what) for point in entry.curve],
            y=[point.value for point in entry.curve],
            mode="lines+markers",
            name=plain(name(entry.label)),
            line={"shape": "hv", "width": 2, "color": palette[entry.label]},
            marker={"size": 4},
            hovertemplate=f"{plain(name(entry.label))}: %{{y:.4g}} at %{{x:.4g}}<extra></extra>",
        )
    values = [point.value for entry in task.entries for point in entry.curve]
    shown = metric(task.metric)
    figure.update_layout(
        xaxis={"title": {"text": AGAINST[what]}, "rangemode": "tozero"},
        yaxis=value_axis(f"best validation {shown}", values),
        showlegend=True,
    )
    return figure


def ratios(comparison: Comparison) -> go.Figure | None:
    """Shows, task by task, one method's error over another's, on a logarithmic axis about 1."""
    if len(comparison.tasks) < 2 or not comparison.effects:
        return None
    figure = go.Figure()
    for index, effect in enumerate(comparison.effects):
        shown = f"{name(effect.first)} / {name(effect.second)}"
        figure.add_scatter(
            x=list(effect.ratios.values()), y=[plain(task) for task in effect.ratios],
            mode="markers", name=plain(shown),
            marker={"size": 10, "color": METHOD_COLOURS[index % len(METHOD_COLOURS)]},
            hovertemplate=f"{plain(shown)} on %{{y}}: %{{x:.4g}}<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=1, line={"width": 1.5, "dash": "dot", "color": CONTROL_COLOUR})
    found = [ratio for effect in comparison.effects for ratio in effect.ratios.values()]
    axis = value_axis("ratio of test errors", found)
    figure.update_layout(
        xaxis=axis, yaxis={"automargin": True, "autorange": "reversed"}, showlegend=True
    )
    return figure


def gap_text(each: Difference) -> str:
    """Returns what a point says of a difference."""
    return plain(
        f"{name(each.first)} - {name(each.second)}: {number(each.difference)}, {each.pairs} "
        f"pairs, p = {number(each.p_holm)}: {each.verdict.value}"
    )


def _mean_text(entry: Entry) -> str:
    return plain(f"{name(entry.label)}: mean {number(entry.mean)} of {len(entry.values)}")


def _error(
    middle: float | None, ci: tuple[float, float] | None, colour: str
) -> dict[str, object] | None:
    if ci is None or middle is None:
        return None
    return {
        "type": "data", "symmetric": False, "array": [ci[1] - middle],
        "arrayminus": [middle - ci[0]], "thickness": 2, "width": 5, "color": colour,
    }  # fmt: skip
