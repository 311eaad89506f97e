"""The pages about a sweep, a study and a comparison: the question, the answer and the details.

They depend on the ledger only, so that they can be written at any time, even while a sweep runs.
"""

import json
import time
from collections.abc import Mapping, Sequence

from sweeper.render.page.figures import colours
from sweeper.render.page.html import Link, anchor, render, table
from sweeper.render.page.sections import (
    all_tasks_section,
    cost_section,
    distance_section,
    ladder_section,
    methods_section,
    provenance,
    published_section,
    question_section,
    response_figures,
    results_section,
    study_section,
    title_of,
    unfinished_trials,
)
from sweeper.results import verdicts
from sweeper.results.compare import compare_studies
from sweeper.results.comparison import Comparison
from sweeper.results.distance_correlation import distance_correlations
from sweeper.results.importance import MAX_TRIALS
from sweeper.results.prose import listed, method
from sweeper.results.schema import StudyResult, SweepResult, progress_of
from sweeper.results.statistics import MIN_VALUES
from sweeper.results.usage import Usage

FEW_TASKS = 3  # tasks that a question names
LIVE_TRIALS = 200  # for importances, which otherwise take most of the time of a page


def sweep_page(
    sweep: SweepResult[StudyResult],
    comparison: Comparison,
    usage: Usage,
    *,
    version: int | None = None,
) -> str:
    """Return the page about a sweep that was read before; with a `version`, one that updates."""
    most = MAX_TRIALS if version is None else LIVE_TRIALS
    told = answers(comparison)
    is_alone = len(comparison.tasks) == 1  # the answer at the top is the same
    compared = comparison.tasks if is_compared(comparison) else ()
    palette = colours(comparison.labels)
    return render(
        "report.html.j2",
        version=version,
        title=f"{sweep.record.name}: sweep report",
        name=sweep.record.name,
        state=_state(sweep),
        question=_question(sweep, comparison),
        questions=list(map(question_section, comparison.answers)),
        answer=headline(comparison),
        has_single_seeds=any(len(e.values) == 1 for t in comparison.tasks for e in t.entries),
        links=_links(comparison, sweep.studies),
        answers=told if len(told) > 1 else [],
        results=results_section(comparison, is_linked=True),
        fewest=MIN_VALUES,
        methods=[methods_section(task, palette, is_alone=is_alone) for task in compared],
        ladders=list(map(ladder_section, comparison.ladders)),
        all_tasks=all_tasks_section(comparison) if len(compared) > 1 else None,
        # Sections on methods have the published numbers of their tasks already.
        published=[] if compared else [p for t in comparison.tasks if (p := published_section(t))],
        studies=[study_section(tuned, most=most) for tuned in sweep.studies],
        distance=distance_section(comparison.distance_correlations, palette),
        unfinished=unfinished_trials(sweep),
        cost=cost_section(sweep.studies, usage),
        written=sweep.record.text,
        resolved=json.dumps(sweep.record.resolved, indent=2, ensure_ascii=False, default=str),
        provenance=provenance(sweep),
    )


def live_part(lines: Sequence[str], trials: Mapping[str, Sequence[str]]) -> str:
    """Return the part of a page that says how far a running sweep is."""
    shown = {name: cells for name, cells in trials.items() if any(cells)}
    cells = list(zip(*shown.values(), strict=True))
    return render("live.html.j2", lines=lines, trials=table(list(shown), cells) if cells else None)


def comparison_content(comparison: Comparison) -> dict[str, object]:
    """Return what a page and a notebook show of a comparison of several sweeps."""
    palette, is_alone = colours(comparison.labels), len(comparison.tasks) == 1
    return {
        "title": f"{listed(list(comparison.sweeps))}: comparison",
        "answer": verdicts.headline(comparison),
        "results": results_section(comparison),
        "methods": [methods_section(t, palette, is_alone=is_alone) for t in comparison.tasks],
        "ladders": list(map(ladder_section, comparison.ladders)),
        "all_tasks": None if is_alone else all_tasks_section(comparison),
    }


def render_comparison(comparison: Comparison) -> str:
    """Return a page that compares the methods of several sweeps."""
    palette = colours(comparison.labels)
    return render(
        "comparison.html.j2",
        **comparison_content(comparison),
        question=verdicts.question(comparison),
        questions=list(map(question_section, comparison.answers)),
        fewest=MIN_VALUES,
        responses=response_figures(comparison, palette),
        trends=list(map(verdicts.trend_text, comparison.responses)),
        distance=distance_section(comparison.distance_correlations, palette),
    )


def study_page(tuned: StudyResult) -> str:
    """Return the page about one study."""
    return render(
        "study.html.j2",
        title=title_of(tuned),
        answer=study_answer(tuned),
        study=study_section(tuned),
        distance=distance_section(distance_correlations([tuned]), colours([tuned.label])),
    )


def study_answer(tuned: StudyResult) -> str:
    """Return a sentence on the result of a study, over its replicates if one is complete."""
    (told,) = answers(compare_studies([tuned], sweeps=[tuned.record.name]))
    return told


def is_compared(comparison: Comparison) -> bool:
    """Return whether the comparison says more than the best trial of one method."""
    entries = [entry for task in comparison.tasks for entry in task.entries]
    return len(comparison.labels) > 1 or any(entry.is_replicated for entry in entries)


def headline(comparison: Comparison) -> str:
    """Return the answer to the sweep's question."""
    if not comparison.tasks:
        return "No answer yet: no study has begun."
    return verdicts.headline(comparison)


def answers(comparison: Comparison) -> list[str]:
    """Return the answer on each task."""
    return [verdicts.answer(task) for task in comparison.tasks]


def _state(sweep: SweepResult[StudyResult]) -> str:
    record = sweep.record
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(record.created_at))
    return (
        f"{record.experiment} · {record.state} · {progress_of(sweep)} · "
        f"launched {when} UTC · profile {record.profile}"
    )


def _question(sweep: SweepResult[StudyResult], comparison: Comparison) -> str:
    if comparison.design is not None:
        return verdicts.question(comparison)
    methods = list(dict.fromkeys(method(s.study.method) for s in sweep.studies))
    tasks = list(dict.fromkeys(each.study.task for each in sweep.studies))
    few = listed(tasks) if 0 < len(tasks) <= FEW_TASKS else f"{len(tasks)} tasks"
    if len(methods) > 1:
        return f"Which of {listed(methods)} solves {few} best, each tuned alike?"
    asked = f"How well does {listed(methods) or 'it'} solve {few} once tuned"
    if sweep.studies and all(each.is_program for each in sweep.studies):
        return f"{asked}?"
    return f"{asked}, and does it beat untuned vanilla fine-tuning for as many epochs?"


def _links(comparison: Comparison, tuned_studies: Sequence[StudyResult]) -> list[Link]:
    """Return the table of contents."""
    links = [Link("Results", "results")]
    if is_compared(comparison) and len(comparison.tasks) > 1:
        links.append(Link("Over all tasks", "all-tasks"))
    if tuned_studies:
        links.append(Link("Studies", anchor(tuned_studies[0].study.name)))
    if comparison.distance_correlations:
        links.append(Link("Distance and error", "distance"))
    ends = ("Failures", "Cost", "Configuration", "Provenance")
    return [*links, *(Link(text, text.lower()) for text in ends)]
