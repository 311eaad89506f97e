"""The parts of pages that a notebook shows: a sweep, its progress, and a comparison."""

from collections.abc import Iterable, Mapping

from sweeper.render.page.html import Table, render, table
from sweeper.render.page.report import comparison_content
from sweeper.results.comparison import Comparison
from sweeper.results.entries import control_test_of
from sweeper.results.schema import StudyResult, SweepResult, progress_of

PREDICTORS = 2  # columns of predictors without training


def sweep_html(sweep: SweepResult[StudyResult], state: str) -> str:
    """Return a sweep as HTML: its state, and a row for each study."""
    return render(
        "notebook_sweep.html.j2",
        title=f"{sweep.record.name}: {state}",
        state=progress_of(sweep),
        studies=_studies(sweep),
    )


def trial_html(title: str, state: str, values: Mapping[str, object]) -> str:
    """Return a trial as HTML: a row for each of its values and settings."""
    rows = table(["setting", "value"], [[name, value] for name, value in values.items()])
    return render("notebook_sweep.html.j2", title=title, state=state, studies=rows)


def _studies(sweep: SweepResult[StudyResult]) -> Table:
    names = list(dict.fromkeys(n for s in sweep.studies for n in s.facts.baselines))[:PREDICTORS]
    header = ["study", "trials", "best", "validation", "test", "seeds", "control test", *names]
    lines: list[list[object]] = []
    for study in sweep.studies:
        reached = None if study.best is None else study.reached(study.best)
        counts = ", ".join(f"{count} {state}" for state, count in study.counts().items())
        lines.append(
            [study.study.name, counts, study.best and study.best.number,
             reached and reached.validation, reached and reached.test,
             reached and len(reached.tests), control_test_of(study, sweep.studies),
             *(study.facts.baselines.get(name) for name in names)]
        )  # fmt: skip
    return table(header, lines)


def progress_html(studies: str, lines: Iterable[str]) -> str:
    """Return the progress of a sweep as HTML.

    Args:
        studies: The HTML of `sweep_html`; "" before the sweep has begun.
        lines: The latest lines that it printed.
    """
    return render("notebook_progress.html.j2", studies=studies, lines=list(lines))


def comparison_html(comparison: Comparison) -> str:
    """Return a comparison as HTML: the answer, and the tables of its page."""
    return render("notebook_comparison.html.j2", **comparison_content(comparison))
