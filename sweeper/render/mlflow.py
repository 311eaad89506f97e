"""The note, summary and files of the run of a sweep or a study in MLflow."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sweeper.ledger import Ledger
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
from sweeper.results.compare import compare_studies
from sweeper.results.comparison import Comparison
from sweeper.results.entries import (
    control_of,
    cost_of,
    entry_of,
)
from sweeper.results.prose import metric
from sweeper.results.read import read_sweep
from sweeper.results.schema import StudyResult, SweepResult
from sweeper.results.usage import read_usage
from sweeper.results.verdicts import UNTUNED, few, interval, name
from sweeper.text import readable


@dataclass(frozen=True)
class _Read:
    """The content of a sweep's ledger, and its comparison."""

    sweep: SweepResult[StudyResult]
    comparison: Comparison


def note(ledger: Ledger, study: str | None) -> str:
    """Return Markdown on the result of a study or, for None, of the sweep."""
    sweep = read_sweep(ledger, histories=False)  # slow to read, and not needed here
    if study is not None:
        return _study_note(_of(sweep, study))
    if sweep.record.state not in ("new", "running"):
        return _sweep_note(_read_all(ledger))
    return _bullets(answers(compare_studies(sweep.studies, sweeps=[ledger.name])))


def summary(ledger: Ledger, study: str | None) -> Mapping[str, float]:
    """Return the comparison as metrics.

    The metrics of a study are its mean over seeds, that of its control, and its cost. The metrics
    of the sweep (None) are the average ranks of the methods.
    """
    read = _read_all(ledger)
    if study is None:
        return {f"average_rank/{label}": rank for label, rank in read.comparison.ranks.items()}
    tuned = _of(read.sweep, study)
    entry, cost = entry_of(tuned), cost_of(tuned)
    on_task = [c for c in read.sweep.studies if c.study.task == tuned.study.task]
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


def files(ledger: Ledger, study: str | None) -> Mapping[str, str]:
    """Return artifacts by file name, of a study or, for None, of the sweep."""
    read = _read_all(ledger)
    if study is None:
        return {
            "report.html": sweep_page(read.sweep, read.comparison, read_usage(ledger)),
            "sweep.json": json_text(sweep_as_json(read.sweep)),
            **_compared(read.comparison),
            **_claims(read.comparison),
        }
    tuned = _of(read.sweep, study)
    on_task = compare_studies(read.sweep.studies, sweeps=[ledger.name], tasks=[tuned.study.task])
    return {
        "trials.csv": as_csv(trial_rows([tuned])),
        "trials.json": json_text(study_as_json(tuned)),
        "search_space.yaml": read.sweep.record.text,
        "plots.html": study_page(tuned),
        **_compared(on_task),
    }


def _read_all(ledger: Ledger) -> _Read:
    return _read_once(ledger, ledger.count_events())


@lru_cache(maxsize=1)  # at the end of a sweep, each study needs the same
def _read_once(ledger: Ledger, num_events: int) -> _Read:
    sweep = read_sweep(ledger)
    return _Read(sweep, compare_studies(sweep.studies, sweeps=[ledger.name]))


def _of(sweep: SweepResult[StudyResult], study: str) -> StudyResult:
    (found,) = (each for each in sweep.studies if each.study.name == study)
    return found


def _compared(comparison: Comparison) -> dict[str, str]:
    return {
        "comparison.csv": as_csv(method_rows(comparison)),
        "comparison.json": json_text(comparison_as_json(comparison)),
    }


def _claims(comparison: Comparison) -> dict[str, str]:
    """Return the table of a question's claims, if there are some."""
    rows = claim_rows(comparison)
    return {"claims.csv": as_csv(rows)} if rows else {}


def _sweep_note(read: _Read) -> str:
    told = answers(read.comparison)
    if not is_compared(read.comparison):
        return _bullets(told)
    lines = [
        "| task | method | test | 95 % interval | seeds | control |",
        "|:--|:--|--:|:--|--:|--:|",
    ]
    for task in read.comparison.tasks:
        for entry, control in zip(task.entries, task.controls, strict=True):
            cells = (task.task, name(entry.label), readable(entry.mean), interval(entry.ci),
                     str(len(entry.values)), readable(control.mean))  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    head = [headline(read.comparison), ""] if len(told) > 1 else []
    said = " ".join(filter(None, [few(read.comparison.tasks), UNTUNED]))
    return "\n".join([*head, _bullets(told), "", *lines, "", said])


def _bullets(told: Sequence[str]) -> str:
    return "\n".join(f"- {each}" for each in told)


def _study_note(tuned: StudyResult) -> str:
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
