"""The part of a page that compares methods, and a page of that alone for several sweeps."""

from collections.abc import Sequence

from sweeper.analysis.comparison.comparison import (
    Comparison,
    Effect,
    TaskComparison,
    by_protocol,
    remarks,
)
from sweeper.analysis.comparison.verdicts import (
    across,
    answer,
    headline,
    interval,
    limits_over_tasks,
    name,
    notes,
)
from sweeper.analysis.prose import listed, method, metric
from sweeper.analysis.report.compare_figures import any_time, colours, gaps, ratios, scores
from sweeper.analysis.report.distance_section import distance_section
from sweeper.analysis.report.page import Figures, Markup, anchor, document, element, join, table
from sweeper.analysis.statistics import FEWEST

MARKED = "Marked is the lowest mean, whether or not that is significant: the verdict says so."
TESTED = (
    "Differences are first minus second on the seeds that both have; p is of an exact sign-flip "
    "test over the pairs, corrected by Holm for all comparisons of its kind on a task. Intervals "
    f"are bootstrap percentiles over {FEWEST} seeds or more, and rather too short where seeds are "
    "few."
)
STABLE = (
    "Rises: root mean square of the steps of the validation error from epoch to epoch, downward "
    "ones counted as 0, mean over seeds; 0 where it only falls. How stable training is is read "
    "from them. Jaggedness: standard deviation of the same steps, which is high as well where the "
    "error falls fast at first and slowly later, however smoothly."
)
OVER_TASKS = (
    "Ratios are geometric means, each task counting once. A group's ratio is over its tasks; "
    "a ratio without a task says what would be concluded had it not been chosen. p is of a "
    "sign-flip test over tasks, corrected by Holm for all pairs of methods, or for all pairs with "
    "the control."
)


def render_comparison(comparison: Comparison) -> str:
    """Returns a page that compares the methods of several sweeps."""
    figures = Figures([])
    title = f"{listed(list(comparison.sweeps))}: comparison"
    methods = [name(label) for label in comparison.labels]
    asked = f"Which of {listed(methods)} wins, each tuned alike?"
    body = [
        element("h1", title),
        element("p", asked, class_="question"),
        element("p", headline(comparison), class_="answer"),
        *comparison_sections(comparison, figures),
        *distance_section(comparison.distance_correlations, figures, colours(comparison.labels)),
    ]
    return document(title, join(body), figures)


def comparison_sections(comparison: Comparison, figures: Figures) -> list[Markup]:
    """Returns a section a task, and one on all tasks where there are several."""
    palette = colours(comparison.labels)
    is_alone = len(comparison.tasks) == 1  # and has been answered above
    sections = [
        _task(task, figures, palette, is_first=task is comparison.tasks[0], is_alone=is_alone)
        for task in comparison.tasks
    ]
    if len(comparison.tasks) > 1:
        sections.append(_all_tasks(comparison, figures))
    return sections


def _task(
    task: TaskComparison,
    figures: Figures,
    palette: dict[str, str],
    *,
    is_first: bool,
    is_alone: bool,
) -> Markup:
    parts = [
        element("h2", f"Methods on {task.task}", id=f"methods-{anchor(task.task)}"),
        *([] if is_alone else [element("p", answer(task))]),
        _methods(task),
    ]
    if is_first:
        parts.append(element("p", f"{MARKED} {TESTED} {STABLE}", class_="soft"))
    families = (*task.differences, *task.from_control)
    if families:
        header = ["first", "second", "difference", "95 % interval", "pairs", "p", "p, Holm",
                  "d_z", "first lower in", "verdict"]  # fmt: skip
        lines = [
            [name(d.first), name(d.second), d.difference, interval(d.ci), d.pairs, d.p_value,
             d.p_holm, d.d_z, d.superiority, d.verdict.value]
            for d in families
        ]  # fmt: skip
        parts.append(table(header, lines))
    parts += [element("p", line, class_="soft") for line in notes(task)]
    has_intervals = any(entry.ci for entry in (*task.entries, *task.controls))
    caption = f"Test values by seed, with {'mean and 95 % interval' if has_intervals else 'mean'}"
    plots = [(scores(task, palette), caption)]
    plots += [
        (f, "Paired differences, 95 % intervals; below 0 the first is better")
        for f in [gaps(task)]
        if f is not None
    ]
    for what, words in (("trials", "candidates"), ("device_seconds", "device-seconds")):
        curve = any_time(task, what, palette)
        caption = f"Lowest validation value of the search so far, by {words}"
        plots += [(curve, caption)] if curve else []
    placed = [figures.place(figure, caption) for figure, caption in plots]
    parts += [element("div", join(placed), class_="plots"), *published_section(task)]
    return element("section", join(parts))


def _methods(task: TaskComparison) -> Markup:
    header = ["method", "test mean", "95 % interval", "seeds", "sd", "validation", "rises",
              "jaggedness", "trial", "candidates", "epochs", "device-s"]  # fmt: skip
    lines = []
    for entry, shown in [(e, name(e.label)) for e in task.entries] + [
        (e, f"{name(e.label)}: control") for e in task.controls if e.values
    ]:
        spent = entry.budget
        lines.append(
            [shown, entry.mean, interval(entry.ci), len(entry.values), entry.sd, entry.validation,
             entry.upward_rms, entry.roughness, entry.trial, spent and spent.trials,
             spent and spent.epochs, spent and spent.device_seconds]
        )  # fmt: skip
    means = [e.mean for e in task.entries]
    best = min((m for m in means if m is not None), default=None)
    marked = [i for i, m in enumerate(means) if m is not None and m == best and len(means) > 1]
    return table(header, lines, marked=[] if task.incomparable else marked)


def published_section(task: TaskComparison) -> list[Markup]:
    """Puts published numbers beside ours, protocol by protocol, in no order of merit."""
    if not task.published:
        return []
    facts = task.facts
    ours = [
        [name(e.label), e.mean, None, metric(task.metric), facts.get("protocol"),
         facts.get("data_source"), sizes(facts.get("samples")), "this sweep"]
        for e in task.entries
        if e.mean is not None
    ]  # fmt: skip
    theirs = [
        [method(each.method), each.value, each.floor, metric(each.metric), protocol,
         each.data_source, str(each.samples or "–"), each.citation]
        for protocol, numbers in by_protocol(task.published).items()
        for each in numbers
    ]  # fmt: skip
    header = ["method", "test", "floor", "metric", "protocol", "data", "samples", "source"]
    lines: list[Sequence[object]] = [*ours, *theirs]
    if not any(each.floor for each in task.published):  # a column of nothing but dashes
        header, lines = header[:2] + header[3:], [[*line[:2], *line[3:]] for line in lines]
    note = (
        "Other backbones, data, sizes or protocols stand behind published numbers: they are listed "
        "by protocol and name, and rank with ours nowhere."
    )
    summary = element("summary", f"Published numbers on {task.task}: {len(theirs)}")
    said = [element("p", line) for line in remarks(task.published)]
    inner = [summary, table(header, lines), *said, element("p", note, class_="soft")]
    return [element("details", join(inner))]


def _all_tasks(comparison: Comparison, figures: Figures) -> Markup:
    parts = [element("h2", "Over all tasks", id="all-tasks")]
    if comparison.ranks:
        lines = [[name(label), rank] for label, rank in comparison.ranks.items()]
        counted = len(comparison.ranked_tasks)
        parts.append(table(["method", f"average rank over {counted}"], lines))
    parts += [element("p", across(effect)) for effect in comparison.effects]
    parts += [element("p", line, class_="soft") for line in limits_over_tasks(comparison.effects)]
    plot = ratios(comparison)
    if plot is not None:
        placed = figures.place(
            plot, "Ratio of test errors, task by task; below 1 the first is better"
        )
        parts.append(element("div", placed, class_="plots"))
    if comparison.effects:
        parts.append(_effects(comparison.effects))
    parts.append(element("p", OVER_TASKS, class_="soft"))
    return element("section", join(parts))


def _effects(effects: tuple[Effect, ...]) -> Markup:
    header = ["first", "second", "over", "ratio of errors", "tasks", "first lower on",
              "p", "p, Holm"]  # fmt: skip
    lines: list[list[object]] = []
    for effect in effects:
        two = [name(effect.first), name(effect.second)]
        tested = {"all": (effect.p_value, effect.p_holm)}
        shares = [("all", effect.overall), *effect.groups.items()]
        lines += [
            [*two, over, s.ratio, len(s.tasks), s.lower, *tested.get(over, (None, None))]
            for over, s in shares
        ]
        lines += [
            [*two, f"all but {task}", ratio, len(effect.ratios) - 1, None, None, None]
            for task, ratio in effect.without.items()
        ]
    shown = element("summary", "By group of tasks, and with each task left out")
    return element("details", join([shown, table(header, lines)]))


def sizes(samples: object) -> str | None:
    """Returns how many samples each split has: `700 / 150 / 150`."""
    return " / ".join(map(str, samples.values())) if isinstance(samples, dict) else None
