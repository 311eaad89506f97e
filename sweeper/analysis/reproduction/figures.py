"""The figures of evidence: the arms with their intervals, and their curves by epoch."""

from dataclasses import replace

from sweeper.analysis.comparison.compare import compare_studies
from sweeper.analysis.comparison.comparison import Comparison
from sweeper.analysis.comparison.verdicts import name
from sweeper.analysis.report.curves import Curve, curve_figure
from sweeper.analysis.report.figures import CONTROL_COLOUR, colours, scores
from sweeper.analysis.report.page import render
from sweeper.analysis.report.svg import Figure, draw
from sweeper.analysis.reproduction.evidence import CurvePoint, Evidence
from sweeper.analysis.reproduction.studies import studies_of
from sweeper.model import CONTROL_ARM

__all__ = ["arm_figures", "compared", "curve_figures", "svg_of"]

HEADING = 28  # height of a caption in an SVG file


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
        curve_figure(
            task,
            quantity,
            stage,
            [
                Curve(
                    label=name(labels[study]),
                    colour=palette.get(labels[study], CONTROL_COLOUR),
                    points=points,
                )
                for study, points in of.items()
            ],
        )
        for (task, quantity, stage), of in groups.items()
        if any(len(points) > 1 for points in of.values())
    ]


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
