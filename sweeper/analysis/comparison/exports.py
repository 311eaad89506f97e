"""A sweep's trials as files of other programs: CSV, Parquet, and a LaTeX table of its methods.

One row a trial: who it is, how it went, the last value of each metric under MLflow's name, and
every parameter, sampled or fixed. Numbers are written in full.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from sweeper.analysis.comparison.comparison import Comparison
from sweeper.analysis.comparison.contenders import Contender
from sweeper.text import visible

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")  # with which a formula may begin


def trial_rows(contenders: Iterable[Contender]) -> list[dict[str, Any]]:
    """Returns a row for every trial of these studies, replicates included."""
    return [row for contender in contenders for row in _rows(contender)]


def _rows(contender: Contender) -> list[dict[str, Any]]:
    study = contender.study
    device, count = contender.devices
    found = []
    for trial in study.trials:
        history = contender.history(trial)
        found.append(
            {
                "sweep": contender.sweep.record.name,
                "study": study.study.name,
                "method": study.study.method,
                "task": study.study.task,
                "trial": trial.number,
                "kind": trial.kind.value,
                "origin": trial.origin,
                "state": trial.state.value,
                "objective": study.study.objective,
                "value": trial.value,
                "test": study.test_value(trial),
                "best_epoch": trial.best_epoch,
                "attempts": trial.attempt,
                "halvings": trial.halvings,
                "epochs": history.epochs,
                "device": device,
                "device_seconds": count * history.seconds,
                "seed": trial.seed,
                "failure": trial.failure,
                "reason": trial.reason,
                **history.metrics,
                **trial.test,
                **trial.params,
            }
        )
    return found


def method_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Returns a row for every method on every task, and for its control, where it has one."""
    return [
        {
            "task": task.task,
            "method": entry.label,
            "is_control": is_control,
            "metric": task.metric,
            "test": entry.mean,
            "ci_low": entry.ci and entry.ci[0],
            "ci_high": entry.ci and entry.ci[1],
            "seeds": len(entry.values),
            "sd": entry.sd,
            "validation": entry.validation,
            "rises": entry.rises,
            "jaggedness": entry.jaggedness,
            "trial": entry.trial,
            "trials": entry.budget and entry.budget.trials,
            "epochs": entry.budget and entry.budget.epochs,
            "device_seconds": entry.budget and entry.budget.device_seconds,
        }
        for task in comparison.tasks
        for is_control, entries in ((False, task.entries), (True, task.controls))
        for entry in entries
        if not is_control or entry.values
    ]


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Writes rows as CSV, with every column that some row has. None is an empty cell.

    Text that a spreadsheet would run as a formula has a `'` before it; what does not print is
    escaped.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = _columns(rows)
    writer.writerow([_cell(column) for column in columns])
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    plain = _plain(value)
    if not isinstance(plain, str):
        return plain
    return visible(f"'{plain}" if plain.startswith(FORMULA) else plain)


def _plain(value: Any) -> Any:
    """Returns a list or a mapping as JSON, all else as it is."""
    is_nested = isinstance(value, Mapping | list | tuple)
    return json.dumps(value, ensure_ascii=False) if is_nested else value


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))


def as_parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Writes rows as Parquet; a column of several types becomes JSON text."""
    columns = {
        column: _array([_plain(row.get(column)) for row in rows]) for column in _columns(rows)
    }
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


def _array(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or len(kinds) == 1:
        try:
            return pa.array(values, from_pandas=False)
        except (pa.ArrowInvalid, OverflowError):
            pass
    return pa.array([None if v is None else json.dumps(v, ensure_ascii=False) for v in values])
