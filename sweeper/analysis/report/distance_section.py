"""The part of a page that asks whether a distance foretells the error: words, figure, table."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from sweeper.analysis.comparison.comparison import DistanceCorrelation
from sweeper.analysis.comparison.distance_correlation import FEWEST
from sweeper.analysis.comparison.verdicts import distance_answer, series
from sweeper.analysis.prose import DISTANCES, metric, number
from sweeper.analysis.report.figures import hover, plain, value_axis
from sweeper.analysis.report.page import Figures, Markup, element, join, table

NOTE = (
    "Each point is a complete trial: its distance between source and embedded target at the end of "
    "the stage before fine-tuning, on samples that are the same for all, against its test error. "
    "ρ is Spearman's rank correlation within a study, and to one source, above 0 where closer is "
    "better; p is of 10,000 random pairings, corrected by Holm for all of them. Trials differ in "
    "other settings too: a correlation here is no cause, and its absence no refutation. Fewer than "
    f"{FEWEST} points are not shown."
)


def distance_section(
    found: Sequence[DistanceCorrelation], figures: Figures, palette: Mapping[str, str]
) -> list[Markup]:
    """Returns the section; nothing where no study measured a distance."""
    if not found:
        return []
    leading = found[0].distance
    shown = [each for each in found if each.distance == leading]
    tasks = dict.fromkeys(each.task for each in shown)
    plots = [
        figures.place(
            scatter([each for each in shown if each.task == task], palette),
            f"{task}: {DISTANCES[leading]} and test error",
        )
        for task in tasks
    ]
    lines = [
        [each.task, series(each), DISTANCES[each.distance], each.stage, len(each.trials),
         each.correlation and each.correlation.rho, each.correlation and each.correlation.p_value,
         each.p_holm]
        for each in found
    ]  # fmt: skip
    header = ["task", "method", "distance", "after", "trials", "ρ", "p", "p, Holm"]
    summary = element("summary", f"Rank correlation of each of {len(found)} series")
    parts = [
        element("h2", "Does the distance predict the error?", id="distance"),
        element("p", distance_answer(found)),
        element("p", NOTE, class_="soft"),
        element("div", join(plots), class_="plots"),
        element("details", join([summary, table(header, lines)])),
    ]
    return [element("section", join(parts))]


def scatter(shown: Sequence[DistanceCorrelation], palette: Mapping[str, str]) -> go.Figure:
    """Shows distance and test error of each trial on a task, a colour a method."""
    figure = go.Figure()
    for each in shown:
        rho = "" if each.correlation is None else f", ρ = {number(each.correlation.rho)}"
        figure.add_scatter(
            x=list(each.distances),
            y=list(each.errors),
            mode="markers",
            name=plain(f"{series(each)}{rho}"),
            marker={"size": 8, "color": palette[each.label]},
            text=[hover(trial) for trial in each.trials],
            hovertemplate="%{text}<extra></extra>",
        )
    across = value_axis(
        f"{DISTANCES[shown[0].distance]} before fine-tuning",
        [value for each in shown for value in each.distances],
    )
    up = value_axis(
        f"test {metric(shown[0].metric)}", [value for each in shown for value in each.errors]
    )
    figure.update_layout(xaxis=across, yaxis=up, showlegend=True)
    return figure
