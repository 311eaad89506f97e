"""Figures of means with intervals along an axis: curves by epoch, and the response to a factor."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sweeper.render.page.plot import COLOURS, Axis, Figure, Series
from sweeper.results.comparison import (
    CurvePoint,
    Entry,
    TaskComparison,
    Trend,
)
from sweeper.results.ladder.curves import FLOOR, LadderResult
from sweeper.results.ladder.fits import Forecast
from sweeper.results.prose import DISTANCES, metric
from sweeper.results.verdicts import name, named_entries
from sweeper.text import counted, readable

THIN, THICK = 1, 2
FLOOR_COLOUR = COLOURS["--soft"]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The curve of one method or arm."""

    label: str  # in the legend
    colour: str
    points: Sequence[CurvePoint]


def epoch_figures(task: TaskComparison, palette: Mapping[str, str]) -> list[Figure]:
    """Return the figures of validation by epoch on a task: one for each stage that reports it.

    There are none without replicates: the section of each study has the curves of its trials.
    """
    if not any(entry.is_replicated for entry in task.entries):
        return []
    by_stage: dict[str, list[Curve]] = {}
    for entry, label, shown in named_entries(task):
        for stage, points in _points(entry, task).items():
            curve = Curve(label=shown, colour=palette[label], points=points)
            by_stage.setdefault(stage, []).append(curve)
    return [
        curve_figure(task.task, _validation(task), stage, curves)
        for stage, curves in by_stage.items()
        if any(len(curve.points) > 1 for curve in curves)
    ]


def _validation(task: TaskComparison) -> str:
    return task.metric.replace("test/", "val/", 1)


def _points(entry: Entry, task: TaskComparison) -> dict[str, list[CurvePoint]]:
    """Return the mean and the interval of each epoch, by stage."""
    by_stage: dict[str, list[CurvePoint]] = {}
    for each in entry.epochs:
        point = CurvePoint.of(entry.study, _validation(task), each.stage, each.epoch, each.values)
        by_stage.setdefault(each.stage, []).append(point)
    return by_stage


def curve_figure(task: str, quantity: str, stage: str, curves: Sequence[Curve]) -> Figure:
    """Return the figure of a metric by epoch: a line for each curve, with its interval.

    Args:
        task: The name of the task.
        quantity: The name of the metric, such as `val/nrmse`.
        stage: The stage of the epochs.
        curves: The curves.
    """
    drawn: list[Series] = []
    for curve in curves:
        epochs = tuple(float(point.epoch) for point in curve.points)
        tips = tuple(
            f"epoch {p.epoch}: {readable(p.mean)}, {counted(p.seeds, 'seed')}" for p in curve.points
        )
        drawn += _with_interval(
            curve.label,
            curve.colour,
            epochs,
            [(p.mean, p.low, p.high) for p in curve.points],
            tips=tips,
        )
    split, _, bare = quantity.rpartition("/")
    shown = DISTANCES.get(bare, metric(quantity))
    return Figure(
        caption=f"{task}. {shown} by epoch of {stage}: "
        f"{_means(point.low for curve in curves for point in curve.points)}",
        series=tuple(drawn),
        x=Axis(title=f"epoch of {stage}", kind="counts"),
        y=Axis(title=f"validation {shown}" if split == "val" else shown),
    )


def response_figure(trends: Sequence[Trend], palette: Mapping[str, str], quantity: str) -> Figure:
    """Return the figure of the error at each level of a factor: a line for each method.

    The levels are at equal distances, since trends are those of ranks.

    Args:
        trends: The trends of one factor on one task.
        palette: The colours of the methods.
        quantity: The name of the metric, such as `test/nrmse`.
    """
    levels = sorted({level for trend in trends for level in trend.levels})
    drawn: list[Series] = []
    for number, trend in enumerate(trends):
        colour = palette.get(trend.label, [*palette.values()][number % len(palette)])
        values = [
            (mean, ci and ci[0], ci and ci[1])
            for mean, ci in zip(trend.means, trend.intervals, strict=True)
        ]
        at = tuple(float(levels.index(level)) for level in trend.levels)
        tips = tuple(
            f"{trend.factor} = {readable(level)}: {readable(mean)}"
            for level, mean in zip(trend.levels, trend.means, strict=True)
        )
        lines = _with_interval(name(trend.label), colour, at, values, tips=tips)
        drawn += [*lines[:-1], replace(lines[-1], symbol="o")]
    first = trends[0]
    return Figure(
        caption=f"{first.task}. Response to {first.factor}: "
        f"{_means(ci for trend in trends for ci in trend.intervals)}",
        series=tuple(drawn),
        x=Axis(title=first.factor, names=tuple(map(readable, levels))),
        y=Axis(title=f"test {metric(quantity)}"),
    )


def ladder_figure(ladder: LadderResult, palette: Mapping[str, str]) -> Figure:
    """Return the figure of a ladder: the error at each size, forecasts, and the floor.

    Args:
        ladder: The ladder.
        palette: The colours of its curves.
    """
    drawn: list[Series] = []
    measured = [r.mean for curve in ladder.curves for r in curve.rungs if r.mean is not None]
    for curve in ladder.curves:
        label, colour = name(curve.label), palette[curve.label]
        x = tuple(rung.level for rung in curve.rungs)
        values = [
            (rung.mean, rung.ci and rung.ci[0], rung.ci and rung.ci[1]) for rung in curve.rungs
        ]
        tips = tuple(f"{r.level:,g}: {readable(r.mean)}" for r in curve.rungs)
        lines = _with_interval(label, colour, x, values, tips=tips)
        drawn += [*lines[:-1], replace(lines[-1], symbol="o")]
        if (seen := curve.forecast) is not None:
            drawn += _forecast(seen, label, colour, measured)
    for curve in ladder.curves[:1]:
        floors = [(r.level, r.floor.value) for r in curve.rungs if r.floor is not None]
        if floors:
            sizes, errors = zip(*floors, strict=True)
            drawn.append(
                Series(name=FLOOR, colour=FLOOR_COLOUR, x=sizes, y=errors, title=FLOOR,
                       tips=tuple(map(readable, errors)), line="straight", symbol="s")
            )  # fmt: skip
    return Figure(
        caption=f"{ladder.task}. Error by {ladder.key}: "
        f"{_means(rung.ci for curve in ladder.curves for rung in curve.rungs)}; diamonds are "
        "what the smaller rungs forecast of the largest; their intervals may go on",
        series=tuple(drawn),
        x=Axis(title=ladder.key),
        y=Axis(title=f"test {metric(ladder.metric)}"),
    )


def _means(ends: Iterable[object]) -> str:
    """Return what points are, given their intervals: not all have seeds enough for one."""
    return f"means over seeds{', and 95 % intervals' * any(each is not None for each in ends)}"


def _forecast(seen: Forecast, label: str, colour: str, measured: Sequence[float]) -> list[Series]:
    """Return the mark of a forecast, with a line for its interval among the measured means."""
    tip = f"forecast at {seen.level:,g}: {readable(seen.value)}"
    mark = Series(name=label, colour=colour, x=(seen.level,), y=(seen.value,), title=label,
                  tips=(tip,), symbol="D", opacity=0.6)  # fmt: skip
    if seen.ci is None:
        return [mark]
    # The whole interval of a forecast that knows little would make all curves flat.
    shown = (*measured, seen.value)
    low, high = max(seen.ci[0], min(shown)), min(seen.ci[1], max(shown))
    ends = Series(name=label, colour=colour, x=(seen.level,) * 2, y=(low, high), line="straight",
                  width=THICK, opacity=0.35)  # fmt: skip
    return [ends, mark]


def _with_interval(
    label: str,
    colour: str,
    x: tuple[float, ...],
    values: Sequence[tuple[float | None, float | None, float | None]],
    *,
    tips: tuple[str, ...],
) -> list[Series]:
    """Return the line of means, after thin lines for the ends of the interval.

    Args:
        label: The name in the legend.
        colour: The colour of all lines.
        x: [n].
        values: [n] of mean, low end and high end; None leaves a gap.
        tips: [n] texts for the points.
    """
    means, *ends = zip(*values, strict=True)
    thin = [
        Series(name=label, colour=colour, x=x, y=end, line="straight", width=THIN, opacity=0.35)
        for end in ends
        if any(value is not None for value in end)
    ]
    # A line of one point is not seen, so that the point gets a mark.
    line = Series(
        name=label, colour=colour, x=x, y=means, title=label, line="straight", width=THICK,
        symbol="" if len(x) > 1 else "o", tips=tips,
    )  # fmt: skip
    return [*thin, line]
