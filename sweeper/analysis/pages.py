"""What the run of a sweep or a study shows in MLflow besides its metrics: a note, and files."""

from collections.abc import Mapping

from sweeper.analysis.report import render_report, render_study
from sweeper.analysis.table import (
    StudyTable,
    as_csv,
    as_json,
    json_text,
    read_study,
    read_table,
    rows,
    study_as_json,
)
from sweeper.analysis.words import answer, metric, number
from sweeper.ledger import Ledger
from sweeper.study import Trial


def note(ledger: Ledger, study: str | None) -> str:
    """Returns Markdown that answers what won: of one study, or (None) of the sweep."""
    if study is None:
        tasks = read_table(ledger).by_task()
        return "\n".join(f"- {answer(task, studies)}" for task, studies in tasks.items())
    table = read_study(ledger, study)
    name = metric(table.study.objective)
    lines = [f"| | trial | validation {name} | test {name} |", "|:--|--:|--:|--:|"]
    led = {"best": table.best, "preset": table.preset, "control": table.control}
    lines += [_line(label, trial, table) for label, trial in led.items() if trial is not None]
    lines += [f"| {key} predictor | | | {number(v)} |" for key, v in table.baselines.items()]
    counts = ", ".join(f"{count} {state}" for state, count in table.counts().items())
    return "\n".join([answer(table.study.task, [table]), "", *lines, "", f"Trials: {counts}."])


def files(ledger: Ledger, study: str | None) -> Mapping[str, str]:
    """Returns artifacts by file name: of one study, or (None) of the sweep."""
    if study is None:
        return {
            "report.html": render_report(ledger),
            "sweep.json": json_text(as_json(read_table(ledger))),
        }
    table, record = read_study(ledger, study), ledger.sweep()
    assert record is not None, "a study has a sweep"
    return {
        "trials.csv": as_csv(rows(table)),
        "trials.json": json_text(study_as_json(table)),
        "search_space.yaml": record.text,
        "plots.html": render_study(ledger, study),
    }


def _line(label: str, trial: Trial, table: StudyTable) -> str:
    value, test = number(trial.value), number(table.test_value(trial))
    return f"| {label} | {trial.number} | {value} | {test} |"
