"""The figures of evidence: arms with their intervals, curves by epoch, and planes of the loss."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from contourpy import contour_generator

from sweeper.model import CONTROL_ARM, label_of
from sweeper.render.page.curves import Curve, curve_figure
from sweeper.render.page.figures import CONTROL_COLOUR, colours, scores
from sweeper.render.page.plot import Axis, Figure, Series, stacked
from sweeper.results.claims import Observation
from sweeper.results.compare import compare_studies
from sweeper.results.comparison import ClaimResult, Comparison, CurvePoint
from sweeper.results.prose import DISTANCES
from sweeper.results.reproduction.evidence import Evidence, Plane
from sweeper.results.verdicts import name
from sweeper.spec.catalog import PROXY
from sweeper.spec.rules.question import RECORDED
from sweeper.spec.schema import TEST
from sweeper.text import readable

CONTOURS = 8  # lines of equal loss


def compared(evidence: Evidence) -> Comparison:
    """Return the comparison of all arms, or methods, of evidence."""
    return compare_studies(evidence.sweep.studies, sweeps=[evidence.name])


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
    task_of = {arm.name: arm.of.study.task for arm in evidence.arms}
    names, palette = _names(evidence)
    groups: dict[tuple[str, str, str], dict[str, list[CurvePoint]]] = {}
    for point in evidence.curves:
        of = groups.setdefault((task_of[point.study], point.metric, point.stage), {})
        of.setdefault(point.study, []).append(point)
    return [
        curve_figure(
            task,
            quantity,
            stage,
            [
                Curve(label=names[study], colour=palette[study], points=points)
                for study, points in of.items()
            ],
        )
        for (task, quantity, stage), of in groups.items()
        if any(len(points) > 1 for points in of.values())
    ]


def plane_figures(evidence: Evidence) -> list[Figure]:
    """Return a contour figure of the loss around the weights for each study that has a plane.

    Contours are at the same losses in all figures of a task, so that a flatter plane has fewer
    lines around its middle.
    """
    task_of = {arm.name: arm.of.study.task for arm in evidence.arms}
    names, palette = _names(evidence)
    by_task: dict[str, list[Plane]] = {}
    for plane in evidence.planes:
        by_task.setdefault(task_of[plane.study], []).append(plane)
    figures = []
    for task, planes in by_task.items():
        levels = _levels(planes)
        figures += [
            _contours(
                plane, levels, palette[plane.study],
                f"{task}. {names[plane.study]}: validation loss around the best weights of seed "
                f"{plane.seed}",
            )
            for plane in planes
        ]  # fmt: skip
    return figures


def _names(evidence: Evidence) -> tuple[dict[str, str], dict[str, str]]:
    """Return the printed name and the colour of each study, as in the figure of the arms."""
    labels = {arm.name: arm.label for arm in evidence.arms}
    arms = dict.fromkeys(arm.label for arm in evidence.arms if arm.arm != CONTROL_ARM)
    palette = colours(list(arms))
    return (
        {study: name(label) for study, label in labels.items()},
        {study: palette.get(label, CONTROL_COLOUR) for study, label in labels.items()},
    )


def _levels(planes: Sequence[Plane]) -> list[float]:
    """Return the losses of contours: equal ratios from the lowest middle to the highest loss."""
    # The middle of a plane is at the weights themselves.
    middles = [plane.loss[len(plane.a) // 2][len(plane.b) // 2] for plane in planes]
    top = max(loss for plane in planes for row in plane.loss for loss in row)
    # The lowest middle and the highest loss are single points, which have no contour.
    return [float(f"{level:.3g}") for level in np.geomspace(min(middles), top, CONTOURS + 2)[1:-1]]


def _contours(plane: Plane, levels: Sequence[float], colour: str, caption: str) -> Figure:
    # Rows of the loss are places on the y axis, and so belong to `a`.
    lines = contour_generator(x=plane.b, y=plane.a, z=plane.loss)
    drawn = []
    for level in levels:
        for points in lines.lines(level):
            x, y = np.asarray(points).T
            drawn.append(
                Series(
                    name="", colour=colour, x=tuple(x.tolist()), y=tuple(y.tolist()),
                    line="straight", tips=(f"loss {readable(level)}",), labels=(readable(level),),
                )
            )  # fmt: skip
    middle = Series(name="", colour=colour, x=(0.0,), y=(0.0,), symbol="D",
                    tips=("the weights",))  # fmt: skip
    return Figure(
        caption=caption,
        series=(*drawn, middle),
        x=Axis(title="step along a random direction, of the weights' norm"),
        y=Axis(title="step along another"),
        has_legend=False,
    )


def recorded_figures(
    claims: Sequence[ClaimResult], observations: Sequence[Observation]
) -> list[Figure]:
    """Return a figure for each recorded metric that a claim has a trend over, and each task.

    Each arm has a colour, and each seed is a point: the metric, and the quantity of the claim. Of
    arms with several sources the distance before the alignment is drawn in any case.
    """
    claimed = [(claim.trend, claim.quantity) for claim in claims if claim.trend is not None]
    names = [(trend, quantity) for trend, quantity in claimed if RECORDED in trend]
    names += [(trend, TEST) for trend in _distances_of_sources(observations)]
    named = dict.fromkeys(
        label_of(each.method, each.arm) for each in observations if each.arm != CONTROL_ARM
    )
    palette = colours(list(named))  # as in the figure of the arms
    figures = []
    for trend, quantity in dict.fromkeys(names):
        for task in dict.fromkeys(each.task for each in observations):
            of = [
                e for e in observations if e.task == task and {trend, quantity} <= e.values.keys()
            ]
            if len({label_of(each.method, each.arm) for each in of}) > 1:
                figures.append(_scatter(task, trend, quantity, of, palette))
    return figures


def _distances_of_sources(observations: Sequence[Observation]) -> list[str]:
    """Return the metric of the most usual distance at the start, if arms differ in sources."""
    with_source = [each for each in observations if f"{PROXY}=" in (each.arm or "")]
    recorded = {name for each in with_source for name in each.values}
    ends = (f"/{distance}_start" for distance in DISTANCES)
    return [name for end in ends for name in sorted(recorded) if name.endswith(end)][:1]


def _scatter(
    task: str,
    trend: str,
    quantity: str,
    of: Sequence[Observation],
    palette: Mapping[str, str],
) -> Figure:
    drawn = []
    for label in dict.fromkeys(label_of(each.method, each.arm) for each in of):
        mine = [each for each in of if label_of(each.method, each.arm) == label]
        drawn.append(
            Series(
                name=name(label), colour=palette.get(label, CONTROL_COLOUR),
                x=tuple(each.values[trend] for each in mine),
                y=tuple(each.values[quantity] for each in mine),
                tips=tuple(
                    f"seed {e.seed}: {readable(e.values[trend])}, {readable(e.values[quantity])}"
                    for e in mine
                ),
                symbol="o", opacity=0.7,
            )
        )  # fmt: skip
    shown = "test error" if quantity == TEST else quantity
    return Figure(
        caption=f"{task}. {trend} and {shown}, by seed",
        series=tuple(drawn),
        x=Axis(title=trend),
        y=Axis(title=shown),
    )


def svg_of(evidence: Evidence) -> str:
    """Return an SVG file with the figures of the arms."""
    return stacked(arm_figures(compared(evidence)))
