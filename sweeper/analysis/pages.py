"""What the run of a sweep or a study shows in MLflow besides its metrics: a note, and files."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sweeper.analysis import compare_json
from sweeper.analysis.compare import compare_contenders
from sweeper.analysis.compare_words import interval, name
from sweeper.analysis.comparison import Comparison
from sweeper.analysis.contenders import Contender, read_contenders
from sweeper.analysis.cost import cost_of
from sweeper.analysis.exports import as_csv, method_rows, trial_rows
from sweeper.analysis.report import answers, headline, is_compared, study_page, sweep_page
from sweeper.analysis.table import (
    StudyTable,
    SweepTable,
    as_json,
    json_text,
    read_study,
    read_table,
    study_as_json,
)
from sweeper.analysis.usage import read_usage
from sweeper.analysis.words import answer, metric, number
from sweeper.ledger import Ledger
from sweeper.study import Trial


@dataclass(frozen=True)
class _Read:
    """All of a sweep."""

    sweep: SweepTable
    contenders: Sequence[Contender]
    comparison: Comparison


def note(ledger: Ledger, study: str | None) -> str:
    """Returns Markdown that answers what won: of one study, or (None) of the sweep."""
    if study is not None:
        return _study_note(read_study(ledger, study))
    sweep = read_table(ledger)
    if sweep.record.state in ("new", "running"):  # to compare takes longer, and is soon out of date
        tasks = sweep.by_task()
        return "\n".join(f"- {answer(task, studies)}" for task, studies in tasks.items())
    return _sweep_note(_read_all(ledger))


def summary(ledger: Ledger, study: str | None) -> Mapping[str, float]:
    """Returns what the comparison says, as metrics: of a study its mean over seeds beside its
    control's, and what it took; of the sweep (None) the average rank of each method."""
    read = _read_all(ledger)
    if study is None:
        return {f"average_rank/{label}": rank for label, rank in read.comparison.ranks.items()}
    (contender,) = (c for c in read.contenders if c.study.study.name == study)
    task = next(t for t in read.comparison.tasks if t.task == contender.study.study.task)
    index = [entry.study for entry in task.entries].index(study)
    entry, control, cost = task.entries[index], task.controls[index], cost_of(contender)
    objective = contender.study.study.objective
    values = {
        f"mean/{task.metric}": entry.mean,
        f"mean/{objective}": entry.validation,
        f"sd/{task.metric}": entry.sd,
        f"control/mean/{task.metric}": control.mean,
        f"jaggedness/{objective}": entry.jaggedness,
        "seeds": len(entry.values),
        "took/trials": cost.trials,
        "took/epochs": cost.epochs,
        "took/device_seconds": cost.total,
    }
    return {key: float(v) for key, v in values.items() if v is not None and math.isfinite(v)}


def files(ledger: Ledger, study: str | None) -> Mapping[str, str]:
    """Returns artifacts by file name: of one study, or (None) of the sweep."""
    read = _read_all(ledger)
    if study is None:
        return {
            "report.html": sweep_page(
                read.sweep, read.contenders, read.comparison, read_usage(ledger)
            ),
            "sweep.json": json_text(as_json(read.sweep)),
            **_compared(read.comparison),
        }
    (contender,) = (c for c in read.contenders if c.study.study.name == study)
    on_task = compare_contenders(
        read.contenders, sweeps=[ledger.name], tasks=[contender.study.study.task]
    )
    return {
        "trials.csv": as_csv(trial_rows([contender])),
        "trials.json": json_text(study_as_json(contender.study)),
        "search_space.yaml": read.sweep.record.text,
        "plots.html": study_page(contender),
        **_compared(on_task),
    }


def _read_all(ledger: Ledger) -> _Read:
    return _read_once(ledger, ledger.count_events())


@lru_cache(maxsize=1)  # a sweep's end asks for the same once a study
def _read_once(ledger: Ledger, num_events: int) -> _Read:
    contenders = read_contenders([ledger])
    comparison = compare_contenders(contenders, sweeps=[ledger.name])
    return _Read(read_table(ledger), contenders, comparison)


def _compared(comparison: Comparison) -> dict[str, str]:
    return {
        "comparison.csv": as_csv(method_rows(comparison)),
        "comparison.json": json_text(compare_json.as_json(comparison)),
    }


def _sweep_note(read: _Read) -> str:
    told = answers(read.sweep, read.comparison)
    bullets = [f"- {each}" for each in told]
    if not is_compared(read.comparison):
        return "\n".join(bullets)
    lines = [
        "| task | method | test | 95 % interval | seeds | control |",
        "|:--|:--|--:|:--|--:|--:|",
    ]
    for task in read.comparison.tasks:
        for entry, control in zip(task.entries, task.controls, strict=True):
            cells = (task.task, name(entry.label), number(entry.mean), interval(entry.ci),
                     str(len(entry.values)), number(control.mean))  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    head = [headline(read.sweep, read.comparison), ""] if len(told) > 1 else []
    return "\n".join([*head, *bullets, "", *lines])


def _study_note(table: StudyTable) -> str:
    measured = metric(table.study.objective)
    lines = [f"| | trial | validation {measured} | test {measured} |", "|:--|--:|--:|--:|"]
    led = {"best": table.best, "preset": table.preset, "control": table.control}
    lines += [_line(label, trial, table) for label, trial in led.items() if trial is not None]
    lines += [f"| {key} predictor | | | {number(v)} |" for key, v in table.baselines.items()]
    counts = ", ".join(f"{count} {state}" for state, count in table.counts().items())
    return "\n".join([answer(table.study.task, [table]), "", *lines, "", f"Trials: {counts}."])


def _line(label: str, trial: Trial, table: StudyTable) -> str:
    value, test = number(trial.value), number(table.test_value(trial))
    return f"| {label} | {trial.number} | {value} | {test} |"
