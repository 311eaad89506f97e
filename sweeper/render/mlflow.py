"""The notes, metrics and files of the runs of a sweep and of its studies in MLflow."""

import math
from collections.abc import Mapping, Sequence

from sweeper.model import Trial
from sweeper.render.frames import as_csv, claim_rows, method_rows, trial_rows
from sweeper.render.json import comparison_as_json, json_text, study_as_json, sweep_as_json
from sweeper.render.page.report import (
    answers,
    headline,
    is_compared,
    study_answer,
    study_page,
    sweep_page,
)
from sweeper.results.comparison import Comparison
from sweeper.results.entries import control_of, cost_of, entry_of
from sweeper.results.prose import metric
from sweeper.results.schema import StudyResult, SweepResult
from sweeper.results.usage import Usage
from sweeper.results.verdicts import UNTUNED, few, interval, name
from sweeper.text import readable


def study_summary(tuned: StudyResult, on_task: Sequence[StudyResult]) -> Mapping[str, float]:
    """Return the metrics of a study: its mean over seeds, that of its control, and its cost.

    Args:
        tuned: The study.
        on_task: All studies of the sweep on its task.
    """
    entry, cost = entry_of(tuned), cost_of(tuned)
    control = control_of(tuned, on_task)
    test, objective = tuned.test_metric, tuned.study.objective
    values = {
        f"mean_over_seeds/{test}": entry.mean,
        f"mean_over_seeds/{objective}": entry.validation,
        f"sd_over_seeds/{test}": entry.sd,
        f"control/mean_over_seeds/{test}": control.mean,
        f"rises/{objective}": entry.upward_rms,
        f"jaggedness/{objective}": entry.roughness,
        "seeds": len(entry.values),
        "took/trials": cost.trials,
        "took/epochs": cost.epochs,
        "took/device_seconds": cost.total,
    }
    return {key: float(v) for key, v in values.items() if v is not None and math.isfinite(v)}


def sweep_files(
    sweep: SweepResult[StudyResult], comparison: Comparison, usage: Usage
) -> Mapping[str, str]:
    """Return the artifacts of a sweep by file name."""
    claims = claim_rows(comparison)
    return {
        "report.html": sweep_page(sweep, comparison, usage),
        "sweep.json": json_text(sweep_as_json(sweep)),
        **_compared(comparison),
        **({"claims.csv": as_csv(claims)} if claims else {}),
    }


def study_files(tuned: StudyResult, on_task: Comparison) -> Mapping[str, str]:
    """Return the artifacts of a study by file name, with the comparison on its task."""
    return {
        "trials.csv": as_csv(trial_rows([tuned])),
        "trials.json": json_text(study_as_json(tuned)),
        "search_space.yaml": tuned.record.text,
        "plots.html": study_page(tuned),
        **_compared(on_task),
    }


def _compared(comparison: Comparison) -> dict[str, str]:
    return {
        "comparison.csv": as_csv(method_rows(comparison)),
        "comparison.json": json_text(comparison_as_json(comparison)),
    }


def sweep_note(comparison: Comparison, *, has_ended: bool) -> str:
    """Return Markdown on the result of a sweep, with a table of methods once it has ended."""
    told = answers(comparison)
    if not has_ended or not is_compared(comparison):
        return _bullets(told)
    lines = [
        "| task | method | test | 95 % interval | seeds | control |",
        "|:--|:--|--:|:--|--:|--:|",
    ]
    for task in comparison.tasks:
        for entry, control in zip(task.entries, task.controls, strict=True):
            cells = (task.task, name(entry.label), readable(entry.mean), interval(entry.ci),
                     str(len(entry.values)), readable(control.mean))  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    # The headline of a single task is its answer, which follows anyway.
    head = [headline(comparison), ""] if len(told) > 1 else []
    said = " ".join(filter(None, [few(comparison.tasks), UNTUNED]))
    return "\n".join([*head, _bullets(told), "", *lines, "", said])


def _bullets(told: Sequence[str]) -> str:
    return "\n".join(f"- {each}" for each in told)


def study_note(tuned: StudyResult) -> str:
    """Return Markdown on the result of a study."""
    measured = metric(tuned.study.objective)
    lines = [f"| | trial | validation {measured} | test {measured} |", "|:--|--:|--:|--:|"]
    led = {"best": tuned.best, "preset": tuned.preset, "control": tuned.control}
    over_seeds = {"best": entry_of(tuned), "control": control_of(tuned)}
    repeated = {label: entry for label, entry in over_seeds.items() if entry.is_replicated}
    lines += [
        f"| {label}, mean of {len(entry.values)} replicates | {entry.trial} | "
        f"{readable(entry.validation)} | {readable(entry.mean)} |"
        for label, entry in repeated.items()
    ]
    lines += [
        _line(f"{label}, in the search" if label in repeated else label, trial, tuned)
        for label, trial in led.items()
        if trial is not None
    ]
    predictors = tuned.facts.baselines.items()
    lines += [f"| {key} predictor | | | {readable(value)} |" for key, value in predictors]
    counts = ", ".join(f"{count} {state}" for state, count in tuned.counts().items())
    return "\n".join([study_answer(tuned), "", *lines, "", f"Trials: {counts}."])


def _line(label: str, trial: Trial, tuned: StudyResult) -> str:
    value, test = readable(trial.value), readable(tuned.test_value(trial))
    return f"| {label} | {trial.number} | {value} | {test} |"
