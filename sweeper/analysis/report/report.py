"""The page about a sweep: what was asked, what came out, how, and from what.

Reads the ledger and nothing else, so it can be written at any time, while a sweep runs included.
"""

import time
from collections.abc import Sequence
from typing import Any

from sweeper.analysis import prose
from sweeper.analysis.comparison import verdicts
from sweeper.analysis.comparison.compare import compare_studies
from sweeper.analysis.comparison.comparison import Comparison, TaskComparison
from sweeper.analysis.comparison.distance_correlation import distance_correlations
from sweeper.analysis.comparison.entries import TunedStudy, read_tuned_studies
from sweeper.analysis.comparison.verdicts import interval, name
from sweeper.analysis.prose import listed, method, metric
from sweeper.analysis.report.compare_figures import colours
from sweeper.analysis.report.compare_page import comparison_sections, published_section
from sweeper.analysis.report.cost_section import cost_section
from sweeper.analysis.report.distance_section import distance_section
from sweeper.analysis.report.origin_section import (
    configuration_section,
    provenance_section,
    unfinished_section,
)
from sweeper.analysis.report.page import Figures, Markup, anchor, document, element, join, table
from sweeper.analysis.report.study_section import study_section, title_of
from sweeper.analysis.table import StudyTable, SweepTable, read_table
from sweeper.analysis.usage import Usage, read_usage
from sweeper.ledger import Ledger


def render_report(ledger: Ledger) -> str:
    """Returns the page about a whole sweep.

    Raises:
        NotFound: The sweep was never started.
    """
    sweep, tuned_studies = read_table(ledger), read_tuned_studies([ledger])
    comparison = compare_studies(tuned_studies, sweeps=[ledger.name])
    return sweep_page(sweep, tuned_studies, comparison, read_usage(ledger))


def sweep_page(
    sweep: SweepTable, tuned_studies: Sequence[TunedStudy], comparison: Comparison, usage: Usage
) -> str:
    """Returns the page about a sweep that was read already."""
    figures = Figures([])
    compared = is_compared(comparison)
    body = [
        _head(sweep),
        _question(sweep),
        element("p", headline(sweep, comparison), class_="answer"),
        element("p", _caveat(comparison), class_="soft"),
        _contents(comparison, tuned_studies),
        element("h2", "Results", id="results"),
        _answers(sweep, comparison),
        _results(sweep, comparison),
        *(comparison_sections(comparison, figures) if compared else []),
        *(part for t in comparison.tasks if not compared for part in published_section(t)),
        *(study_section(tuned, figures) for tuned in tuned_studies),
        *distance_section(comparison.distance_correlations, figures, colours(comparison.labels)),
        unfinished_section(sweep),
        cost_section(tuned_studies, usage),
        configuration_section(sweep.record),
        provenance_section(sweep),
    ]
    return document(f"{sweep.record.name}: sweep report", join(body), figures)


def study_page(tuned: TunedStudy) -> str:
    """Returns the page about one study."""
    figures = Figures([])
    title = title_of(tuned.study)
    body = [
        element("h1", title),
        element("p", study_answer(tuned), class_="answer"),
        study_section(tuned, figures),
        *distance_section(distance_correlations([tuned]), figures, colours([tuned.label])),
    ]
    return document(title, join(body), figures)


def study_answer(tuned: TunedStudy) -> str:
    """Answers what one study came to: over its replicates, once one of them is complete."""
    record = tuned.sweep.record
    comparison = compare_studies([tuned], sweeps=[record.name])
    (told,) = answers(SweepTable(record=record, studies=(tuned.study,)), comparison)
    return told


def is_compared(comparison: Comparison) -> bool:
    """Whether there is more to say than the best trial of one method: rivals, or replicates."""
    entries = [entry for task in comparison.tasks for entry in task.entries]
    return len(comparison.labels) > 1 or any(entry.is_replicated for entry in entries)


def headline(sweep: SweepTable, comparison: Comparison) -> str:
    """Answers the sweep's question in one sentence."""
    if not comparison.tasks:
        return "No answer yet: no study has begun."
    told = answers(sweep, comparison)
    return told[0] if len(told) == 1 else verdicts.headline(comparison)


def answers(sweep: SweepTable, comparison: Comparison) -> list[str]:
    """Returns a sentence a task."""
    if is_compared(comparison):
        return [verdicts.answer(task) for task in comparison.tasks]
    return [prose.answer(task, studies) for task, studies in sweep.by_task().items()]


def _answers(sweep: SweepTable, comparison: Comparison) -> Markup:
    """Lists the answers, where there are more than the headline."""
    told = answers(sweep, comparison)
    return element("ul", join([element("li", each) for each in told])) if told[1:] else Markup()


def _head(sweep: SweepTable) -> Markup:
    record = sweep.record
    trials = [t for s in sweep.studies for t in s.trials]
    done = sum(t.state.is_finished for t in trials)
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(record.created_at))
    line = (
        f"{record.experiment} · {record.state} · {done} of {len(trials)} planned trials ended · "
        f"launched {when} UTC · profile {record.profile}"
    )
    return join([element("h1", record.name), element("p", line, class_="soft")])


def _question(sweep: SweepTable) -> Markup:
    methods = list(dict.fromkeys(method(s.study.method) for s in sweep.studies))
    tasks = list(sweep.by_task())
    few = listed(tasks) if 0 < len(tasks) <= 3 else f"{len(tasks)} tasks"
    if len(methods) > 1:
        asked = f"Which of {listed(methods)} solves {few} best, each tuned alike?"
    else:
        asked = (
            f"How well does {listed(methods) or 'it'} solve {few} once tuned, "
            "and does it beat untuned vanilla fine-tuning for as many epochs?"
        )
    return element("p", asked, class_="question")


def _caveat(comparison: Comparison) -> str:
    entries = [entry for task in comparison.tasks for entry in task.entries]
    single = any(len(entry.values) == 1 for entry in entries)
    seeds = "Where a number is of one seed, a small difference may be chance. " if single else ""
    return (
        f"{seeds}Settings are chosen by validation; the test split is read once a trial, for its "
        "best epoch."
    )


def _contents(comparison: Comparison, tuned_studies: Sequence[TunedStudy]) -> Markup:
    links = [("Results", "results")]
    if is_compared(comparison) and len(comparison.tasks) > 1:
        links.append(("Over all tasks", "all-tasks"))
    if tuned_studies:
        links.append(("Studies", anchor(tuned_studies[0].study.study.name)))
    if comparison.distance_correlations:
        links.append(("Distance and error", "distance"))
    links += [("Failures", "failures"), ("Cost", "cost"), ("Configuration", "configuration"),
              ("Provenance", "provenance")]  # fmt: skip
    return element("nav", join([_link(text, place) for text, place in links]))


def _link(text: str, place: str) -> Markup:
    return element("a", text, href=f"#{place}")


def _results(sweep: SweepTable, comparison: Comparison) -> Markup:
    studies = {study.study.name: study for study in sweep.studies}
    names = list(dict.fromkeys(n for s in sweep.studies for n in s.baselines))
    header = ["task", "method", "test", "95 % interval", "seeds", "validation", "best trial",
              "preset", "control", *names]  # fmt: skip
    lines: list[list[Any]] = []
    marked: list[int] = []
    for task in comparison.tasks:
        best = _lowest(task)
        place = f"methods-{anchor(task.task)}"
        where = _link(task.task, place) if is_compared(comparison) else task.task
        for entry, control in zip(task.entries, task.controls, strict=True):
            study: StudyTable = studies[entry.study]
            if entry.mean is not None and entry.mean == best:
                marked.append(len(lines))
            lines.append(
                [where, _link(name(entry.label), anchor(entry.study)), entry.mean,
                 interval(entry.ci), len(entry.values), entry.validation, entry.trial,
                 study.test_value(study.preset), control.mean,
                 *(study.baselines.get(each) for each in names)]
            )  # fmt: skip
    note = (
        f"{', '.join(_metrics(sweep.studies))}: lower is better. Test: the mean over seeds of the "
        "configuration that validation chose. Preset: the method's own settings. Control: vanilla "
        f"fine-tuning for as many epochs. {verdicts.UNTUNED} These and the trivial predictors "
        f"({', '.join(names) or 'none'}) are test values. Marked is the lowest mean, whether or "
        "not that is significant."
    )
    return join([table(header, lines, marked=marked), element("p", note, class_="soft")])


def _lowest(task: TaskComparison) -> float | None:
    """Returns the lowest mean, where there is more than one and they compare."""
    if task.incomparable or len(task.entries) < 2:
        return None
    return min((e.mean for e in task.entries if e.mean is not None), default=None)


def _metrics(studies: Sequence[StudyTable]) -> list[str]:
    return list(dict.fromkeys(metric(study.study.objective) for study in studies))
