"""The figures of evidence: the arms with their intervals, and their curves by epoch."""

from collections.abc import Mapping
from dataclasses import replace

from sweeper.analysis.comparison.compare import compare_studies
from sweeper.analysis.comparison.comparison import Comparison
from sweeper.analysis.comparison.verdicts import name
from sweeper.analysis.prose import DISTANCES, metric
from sweeper.analysis.report.figures import CONTROL_COLOUR, colours, scores
from sweeper.analysis.report.page import render
from sweeper.analysis.report.svg import (
    Figure,
    Series,
    count_axis,
    draw,
    value_axis,
)
from sweeper.analysis.reproduction.evidence import CurvePoint, Evidence
from sweeper.analysis.reproduction.studies import studies_of
from sweeper.model import CONTROL_ARM
from sweeper.text import readable

__all__ = ["arm_figures", "compared", "curve_figures", "svg_of"]

HEADING = 28  # height of a caption in an SVG file
THIN, THICK = 1, 2


def compared(evidence: Evidence) -> Comparison:
    """Return the comparison of all arms, or methods, of evidence."""
    return compare_studies(studies_of(evidence), sweeps=[evidence.name])


def arm_figures(comparison: Comparison) -> list[Figure]:
    """Return the figure of each task: a row for each arm, with its seeds, mean and interval."""
    palette = colours(comparison.labels)
    figures = [
        (task, scores(task, palette))
        for task in comparison.tasks
        if any(entry.values for entry in task.entries)
    ]
    return [replace(figure, caption=f"{task.task}. {figure.caption}") for task, figure in figures]


def curve_figures(evidence: Evidence) -> list[Figure]:
    """Return a figure for each task, stage and metric that has curves of two epochs or more."""
    records = {each.name: each for each in evidence.studies}
    labels = {n: " ".join(filter(None, (s.method, s.arm))) for n, s in records.items()}
    arms = dict.fromkeys(labels[n] for n, s in records.items() if s.arm != CONTROL_ARM)
    palette = colours(list(arms))  # as in the figure of the arms
    groups: dict[tuple[str, str, str], dict[str, list[CurvePoint]]] = {}
    for point in evidence.curves:
        task = records[point.study].task
        of = groups.setdefault((task, point.metric, point.stage), {})
        of.setdefault(point.study, []).append(point)
    return [
        _curves(task, quantity, stage, {labels[study]: of[study] for study in of}, palette)
        for (task, quantity, stage), of in groups.items()
        if any(len(points) > 1 for points in of.values())
    ]


def _curves(
    task: str,
    quantity: str,
    stage: str,
    of: Mapping[str, list[CurvePoint]],
    palette: Mapping[str, str],
) -> Figure:
    drawn: list[Series] = []
    for arm, points in of.items():
        colour, label = palette.get(arm, CONTROL_COLOUR), name(arm)
        epochs = tuple(float(point.epoch) for point in points)
        # Thin lines are the ends of the interval, where there are seeds enough for one.
        for end in ("low", "high"):
            values = tuple(getattr(point, end) for point in points)
            if any(value is not None for value in values):
                drawn.append(
                    Series(name=label, colour=colour, x=epochs, y=values, line="straight",
                           width=THIN, opacity=0.35)
                )  # fmt: skip
        means = tuple(point.mean for point in points)
        drawn.append(
            Series(
                name=label, colour=colour, x=epochs, y=means, title=label, line="straight",
                width=THICK, symbol="" if len(points) > 1 else "circle",
                tips=tuple(
                    f"epoch {p.epoch}: {readable(p.mean)}, {p.seeds} seeds" for p in points
                ),
            )
        )  # fmt: skip
    points = [point for each in of.values() for point in each]
    ends = [v for p in points for v in (p.mean, p.low, p.high) if v is not None]
    split, _, bare = quantity.rpartition("/")
    shown = DISTANCES.get(bare, metric(quantity))
    return Figure(
        caption=f"{task}. {shown} by epoch of {stage}: means over seeds, and 95 % intervals",
        series=tuple(drawn),
        x=count_axis(f"epoch of {stage}", [point.epoch for point in points]),
        y=value_axis(f"validation {shown}" if split == "val" else shown, ends),
    )


def svg_of(evidence: Evidence) -> str:
    """Return an SVG file with the figures of the arms, one below the other."""
    placed, top, width = [], HEADING, 0.0
    for figure in arm_figures(compared(evidence)):
        bare = tuple(replace(series, tips=(), title="") for series in figure.series)
        drawing = draw(replace(figure, series=bare))
        placed.append({"drawing": drawing, "top": top})
        top += round(drawing.height) + HEADING
        width = max(width, drawing.width)
    return render("figure.svg.j2", placed=placed, width=round(width), height=top - HEADING)
