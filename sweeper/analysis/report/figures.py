"""Figures of one study, in plotly. Colours say how a trial ended; the page adds its own theme."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from sweeper.analysis.importance import axes, position, sampled_trials
from sweeper.analysis.prose import metric, number
from sweeper.analysis.report.curves import Curve, best_so_far
from sweeper.analysis.table import StudyTable
from sweeper.config.distributions import Choice, Distribution, Float
from sweeper.model import Trial, TrialKind, TrialState

COLOURS = {
    TrialState.COMPLETE: "#3b82c4",
    TrialState.PRUNED: "#9aa3ad",
    TrialState.FAILED: "#d9534f",
    TrialState.RUNNING: "#8a63d2",
    TrialState.INTERRUPTED: "#c08a2e",
    TrialState.WAITING: "#9aa3ad",
}
KIND_COLOURS = {
    TrialKind.PRESET: "#2f9e6e",
    TrialKind.CONTROL: "#e08a1e",
    TrialKind.REPLICATE: "#4aa6b5",
    TrialKind.RERUN: "#c0549a",
}
SYMBOLS = {TrialKind.PRESET: "diamond", TrialKind.CONTROL: "square", TrialKind.SAMPLED: "circle"}
WORST_TO_BEST = ["rgb(170,178,187)", "rgb(42,125,205)"]  # seen on white and on black
STAGE_COLOURS = ("#3b82c4", "#e08a1e", "#2f9e6e", "#c0549a", "#8a63d2")
MOST_LINES = 200  # in one figure


def history(table: StudyTable) -> go.Figure:
    """Shows each trial's best validation value by number, and the best so far."""
    figure = go.Figure()
    numbers, lowest = best_so_far(table.searched)
    figure.add_scatter(
        x=numbers,
        y=lowest,
        mode="lines",
        name="lowest so far",
        line={"shape": "hv", "width": 1.5, "color": COLOURS[TrialState.COMPLETE]},
        hoverinfo="skip",
    )
    groups: dict[str, list[Trial]] = {}
    for trial in table.searched:
        if trial.value is not None:
            groups.setdefault(_label(trial), []).append(trial)
    for label, trials in groups.items():
        figure.add_scatter(
            x=[t.number for t in trials],
            y=[t.value for t in trials],
            mode="markers",
            name=label,
            marker={"color": _colour(trials[0]), "size": 9, "symbol": SYMBOLS[trials[0].kind]},
            text=[hover(t) for t in trials],
            hovertemplate="%{text}<extra></extra>",
        )
    values = [t.value for trials in groups.values() for t in trials if t.value is not None]
    figure.update_layout(
        xaxis={"title": {"text": "trial"}, "dtick": 1 if len(table.searched) <= 20 else None},
        yaxis=value_axis(_validation(table), values),
    )
    return figure


def learning(table: StudyTable, curves: list[Curve]) -> go.Figure:
    """Shows each trial's validation value by epoch, coloured by how it ended."""
    figure = go.Figure()
    shown: set[str] = set()
    best = table.best
    for curve in sorted(curves, key=lambda c: c.trial.state is not TrialState.PRUNED):
        label = _label(curve.trial)
        is_best = best is not None and curve.trial.number == best.number
        name = f"trial {curve.trial.number}{', best' * is_best}"
        figure.add_scatter(
            x=curve.epochs,
            y=curve.values,
            mode="lines" if len(curve.epochs) > 1 else "markers",
            name=label,
            legendgroup=label,
            showlegend=label not in shown,
            line={"color": _colour(curve.trial), "width": 3 if is_best else 1.5},
            opacity=1 if is_best or curve.trial.kind is not TrialKind.SAMPLED else 0.75,
            text=[f"{name}: {stage}" for stage in curve.stages],
            hovertemplate="%{text}, epoch %{x}: %{y:.4g}<extra></extra>",
        )
        shown.add(label)
    figure.update_layout(
        xaxis={
            "title": {"text": "epoch"},
            "dtick": 1 if max((len(c.epochs) for c in curves), default=0) <= 20 else None,
        },
        yaxis=value_axis(
            _validation(table), [v for curve in curves for v in curve.values if v is not None]
        ),
    )
    return figure


def parallel(table: StudyTable, parameters: Mapping[str, Any]) -> go.Figure | None:
    """Shows each complete sampled trial as a line through its parameters to its value; None below
    two trials.

    The bluer a line, the better its trial; the study's best is thick. Shows the `MOST_LINES`
    lowest.
    """
    trials = sorted(sampled_trials(table), key=lambda t: t.value or 0.0)[:MOST_LINES]
    along = axes(trials, parameters)
    if len(trials) < 2 or not along:
        return None
    values = [trial.value or 0.0 for trial in trials]
    reached = _validation(table)
    along[reached] = Float(low=min(values), high=max(values))
    columns = list(along)
    figure = go.Figure()
    for rank, trial in reversed(list(enumerate(trials))):
        merit = 1 - rank / (len(trials) - 1)
        is_best = table.best is not None and trial.number == table.best.number
        chosen = {name: trial.params[name] for name in trial.sampled} | {reached: trial.value}
        figure.add_scatter(
            x=list(range(len(columns))),
            y=[position(chosen[n], along[n]) if n in chosen else None for n in columns],
            mode="lines+markers",
            line={
                "color": sample_colorscale(WORST_TO_BEST, merit)[0],
                "width": 3 if is_best else 1.5,
            },
            marker={"size": 6 if is_best else 4},
            name=f"trial {trial.number}",
            text=[hover(trial)] * len(columns),
            hovertemplate="%{text}<extra></extra>",
        )
    for column, name in enumerate(columns):
        for height, text in _ticks(along[name]):
            is_end = height in (0, 1)
            figure.add_annotation(
                x=column, y=height, text=plain(text), showarrow=False, font={"size": 11},
                xanchor="center" if is_end else "left", xshift=0 if is_end else 8,
                yshift=(14 if height else -14) if is_end else 0,
            )  # fmt: skip
    last = len(columns) - 1
    figure.update_layout(
        xaxis={
            "tickvals": list(range(len(columns))),
            "ticktext": [re.sub(r"[. ]", r"\g<0><br>", plain(name), count=1) for name in columns],
            "range": [-0.2 * max(last, 1), last + 0.2 * max(last, 1)],
            "zeroline": False,
        },
        yaxis={"visible": False, "range": [-0.25, 1.25]},
        showlegend=False,
    )
    return figure


def bars(shares: Mapping[str, float]) -> go.Figure:
    """Shows the importance of each parameter, the largest on top, a colour a stage; the legend
    says what all parameters of a stage come to."""
    names = sorted(shares, key=lambda name: shares[name])
    figure = go.Figure()
    for index, (stage, sum_) in enumerate(by_stage(shares).items()):
        mine = [name for name in names if stage_of(name) == stage]
        figure.add_bar(
            x=[shares[name] for name in mine],
            y=[plain(name) for name in mine],
            orientation="h",
            name=plain(f"{stage}: {sum_:.2f}"),
            marker={"color": STAGE_COLOURS[index % len(STAGE_COLOURS)]},
            text=[f"{shares[name]:.2f}" for name in mine],
            textposition="outside",
            cliponaxis=False,
            hoverinfo="skip",
        )
    figure.update_layout(
        xaxis={"title": {"text": "share of the variance"}, "range": [0, 1.1]},
        yaxis={"automargin": True, "categoryorder": "array",
               "categoryarray": [plain(name) for name in names]},
        barmode="stack",
        showlegend=True,
    )  # fmt: skip
    return figure


def by_stage(shares: Mapping[str, float]) -> dict[str, float]:
    """Returns what the parameters of each stage come to together, the most important first."""
    sums: dict[str, float] = {}
    for name, share in shares.items():
        sums[stage_of(name)] = sums.get(stage_of(name), 0.0) + share
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def stage_of(parameter: str) -> str:
    """Returns the stage that a parameter belongs to; its own name where it is of none."""
    return parameter.partition(".")[0]


def as_plain(figure: go.Figure) -> dict[str, Any]:
    """Returns a figure's data and layout as plain JSON, without plotly's own theme."""
    figure.update_layout(template="none")
    content: dict[str, Any] = figure.to_plotly_json()
    return {"data": list(content["data"]), "layout": {**content["layout"], "template": None}}


def hover(trial: Trial) -> str:
    """Returns what a point says of its trial, one line a sampled parameter."""
    chosen = [f"{name} = {number(trial.params.get(name))}" for name in trial.sampled]
    head = f"trial {trial.number} ({_label(trial)}): {number(trial.value)}"
    return "<br>".join(plain(line) for line in [head, *chosen])


def plain(text: str) -> str:
    """Escapes what plotly would read as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _label(trial: Trial) -> str:
    is_led = trial.kind is not TrialKind.SAMPLED and trial.state is TrialState.COMPLETE
    return trial.kind.value if is_led else trial.state.value


def _colour(trial: Trial) -> str:
    is_led = trial.kind is not TrialKind.SAMPLED and trial.state is TrialState.COMPLETE
    return KIND_COLOURS[trial.kind] if is_led else COLOURS[trial.state]


def value_axis(title: str, values: Iterable[float]) -> dict[str, Any]:
    """Returns an axis for values: logarithmic where they differ by a factor of four."""
    values = list(values)
    is_log = bool(values) and min(values) > 0 and max(values) > 4 * min(values)
    scale: dict[str, Any] = {}
    if is_log:
        marks = [m * 10**e for e in range(-12, 12) for m in (1, 2, 5)]
        near = [m for m in marks if min(values) / 2 <= m <= max(values) * 2]
        scale = {"type": "log", "tickvals": near, "ticktext": [number(float(m)) for m in near]}
    return {"title": {"text": title}, **scale}


def _validation(table: StudyTable) -> str:
    return f"validation {metric(table.study.objective)}"


def _ticks(along: Distribution) -> list[tuple[float, str]]:
    marks = along.values if isinstance(along, Choice) else (along.low, along.high)
    return [(position(mark, along), number(mark)) for mark in dict.fromkeys(marks)]
