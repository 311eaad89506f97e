"""Trials and comparisons as CSV, Parquet and DataFrames, for other programs.

Each trial has one row: its names, its outcome, the last value of each metric under its name in
MLflow, and every parameter, sampled or fixed. Numbers have full precision.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from sweeper.results.comparison import Comparison
from sweeper.results.entries import control_test_of
from sweeper.results.floors import floors_at, mean_floor
from sweeper.results.schema import COLUMNS, Scope, StudyResult, cells_of
from sweeper.text import visible

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, object]  # column -> value
TRIALS = {each.name: each.kind for each in COLUMNS}
CURVES = {"study": str, "trial": int, "stage": str, "epoch": int, "metric": str, "value": float}
ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64()}
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")  # first characters of formulas


def trial_rows(studies: Iterable[StudyResult]) -> list[Row]:
    """Return a row for every trial of these studies, replicates included."""
    return [
        {
            **cells_of(study, t, *Scope),
            # With goals, what they are about, and whether the trial keeps its constraints.
            **{name: study.quantities.get(t.number, {}).get(name) for name in _goals_of(study)},
            **({"feasible": t.is_feasible} if study.goals.constraints else {}),
            **t.metrics,
            **t.test,
            **t.params,
        }
        for study in studies
        for t in study.trials
    ]


def _goals_of(study: StudyResult) -> tuple[str, ...]:
    return () if study.goals.are_plain else study.goals.quantities


def curve_rows(studies: Iterable[StudyResult]) -> list[Row]:
    """Return a row for each metric of each epoch of each trial of these studies."""
    return [
        dict(zip(CURVES, (trial.study, trial.number, m.stage, m.epoch, *each), strict=True))
        for study in studies
        for trial in study.trials
        for m in trial.measurements
        for each in m.metrics.items()
    ]


def study_rows(studies: Iterable[StudyResult]) -> list[Row]:
    """Return a row for each study, with its best trial, its control and its floor."""
    found: list[Row] = []
    studies = list(studies)
    for study in studies:
        best = study.best
        reached = None if best is None else study.reached(best)
        tests = reached.tests if reached else {}
        draws = [*floors_at(study.facts, tests).values()]
        floor = mean_floor(draws) if draws else study.facts.floor_or_lowest
        row = {
            "study": study.study.name,
            "method": study.study.method,
            "task": study.study.task,
            "objective": study.study.objective,
            "metric": study.test_metric,
            "trials": len(study.trials),
            "ended": sum(trial.state.is_settled for trial in study.trials),
            "best": None if best is None else best.number,
            "validation": reached and reached.validation,
            "test": reached and reached.test,
            "seeds": len(tests),
            "control_test": control_test_of(study, studies),
            "floor": floor and floor.value,
            "floor_predictor": floor and floor.name,
        }
        predictors = study.facts.baselines.items()
        found.append(row | {f"baseline/{name}": value for name, value in predictors})
    return found


def method_rows(comparison: Comparison) -> list[Row]:
    """Return a row for every method on every task, and for every control with values."""
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
            "floor": entry.floor and entry.floor.value,
            "floor_predictor": entry.floor and entry.floor.predictor,
            "validation": entry.validation,
            "rises": entry.upward_rms,
            "jaggedness": entry.roughness,
            "trial": entry.trial,
            "trials": entry.budget and entry.budget.trials,
            "epochs": entry.budget and entry.budget.epochs,
            "device_seconds": entry.budget and entry.budget.device_seconds,
            "training_seconds": entry.training_seconds,
            **entry.cells,
        }
        for task in comparison.tasks
        for is_control, entries in ((False, task.entries), (True, task.distinct_controls))
        for entry in entries
    ]


def claim_rows(comparison: Comparison) -> list[Row]:
    """Return a row for every claim of a question, the primary one first."""
    return [
        {
            "sweep": answered.sweep,
            "claim": each.says,
            "is_primary": each.is_primary,
            "contrast": each.subject,
            "quantity": each.quantity,
            "expect": each.expect,
            "margin": each.margin,
            "verdict": each.verdict.value,
            "n": each.n,
            "unit": each.unit,
            "difference": each.difference,
            "is_relative": each.is_relative,
            "ci_low": each.ci and each.ci[0],
            "ci_high": each.ci and each.ci[1],
            "p": each.p_value,
            "p_holm": each.p_holm,
            "detectable": each.shown_size,
            "sentence": each.sentence,
        }
        for answered in comparison.answers
        for each in answered.claims
    ]


def as_csv(rows: Sequence[Row]) -> str:
    """Return rows as CSV with the columns of all rows. None is an empty cell.

    Text that a spreadsheet would run as a formula gets the prefix `'`. Unprintable characters are
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
    """Return a list or a mapping as JSON, and any other value unchanged."""
    is_nested = isinstance(value, Mapping | list | tuple)
    return json.dumps(value, ensure_ascii=False) if is_nested else value


def _columns(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))


def as_parquet(rows: Sequence[Row]) -> bytes:
    """Return rows as Parquet. A column of several types becomes JSON text."""
    sink = pa.BufferOutputStream()
    parquet.write_table(as_arrow(rows), sink)
    return bytes(sink.getvalue())


def as_arrow(rows: Sequence[Row]) -> pa.Table:
    """Return rows as an Arrow table. A column of several types becomes JSON text."""
    return pa.table(
        {column: _array([_plain(row.get(column)) for row in rows]) for column in _columns(rows)}
    )


def as_frame(
    rows: Sequence[Row], columns: Mapping[str, type[str | int | float]] = TRIALS
) -> "pd.DataFrame":
    """Return rows as a DataFrame with Arrow arrays underneath; without a row it has `columns`."""
    import pandas as pd

    empty = pa.schema([(name, ARROW[kind]) for name, kind in columns.items()]).empty_table()
    # pandas' own types make fractions of whole numbers if one is missing, which changes seeds.
    return (as_arrow(rows) if rows else empty).to_pandas(types_mapper=pd.ArrowDtype)


def _array(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or len(kinds) == 1:
        # Arrow refuses an integer above 2^53 among floats, which would be rounded, and any above
        # 2^63: such columns become text.
        try:
            return pa.array(values, from_pandas=False)
        except (pa.ArrowInvalid, OverflowError):
            pass
    return pa.array([None if v is None else json.dumps(v, ensure_ascii=False) for v in values])
