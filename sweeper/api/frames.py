"""Tables of a sweep as pandas DataFrames, with Arrow arrays underneath."""

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from sweeper.ledger import Ledger
from sweeper.render.frames import as_arrow, method_rows, no_trials, trial_rows
from sweeper.results.comparison import Comparison
from sweeper.results.floors import floors_at, mean_floor
from sweeper.results.read import read_sweep
from sweeper.results.schema import StudyResult

CURVES = pa.schema(
    [
        ("study", pa.string()),
        ("trial", pa.int64()),
        ("stage", pa.string()),
        ("epoch", pa.int64()),
        ("metric", pa.string()),
        ("value", pa.float64()),
    ]
)


def trials_frame(ledger: Ledger, studies: Sequence[str]) -> pd.DataFrame:
    """Return a row for each trial of these studies, with all outcomes and parameters."""
    found = [each for each in read_sweep(ledger).studies if each.study.name in studies]
    rows = trial_rows(found)
    return _frame(as_arrow(rows) if rows else no_trials())


def curves_frame(ledger: Ledger, studies: Sequence[str]) -> pd.DataFrame:
    """Return a row for each metric of each epoch of each trial of these studies."""
    names = CURVES.names
    columns: dict[str, list[object]] = {name: [] for name in names}
    for study in studies:
        measured = ledger.all_measurements(study)
        rows = (
            (study, number, m.stage, m.epoch, metric, value)
            for number in sorted(measured)
            for m in measured[number]
            for metric, value in m.metrics.items()
        )
        for row in rows:
            for name, value in zip(names, row, strict=True):
                columns[name].append(value)
    return _frame(pa.table(columns, schema=CURVES))


def studies_frame(ledger: Ledger) -> pd.DataFrame:
    """Return a row for each study, in the order of the sweep file."""
    return _frame(
        as_arrow([_study(study) for study in read_sweep(ledger, histories=False).studies])
    )


def _study(study: StudyResult) -> dict[str, object]:
    best = study.best
    reached = None if best is None else study.reached(best)
    tests = reached.tests if reached else {}
    draws = [*floors_at(study.facts, tests).values()]
    floor = mean_floor(draws) if draws else study.facts.floor_or_lowest
    return {
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
        "control_test": study.test_value(study.control),
        "floor": floor and floor.value,
        "floor_predictor": floor and floor.name,
        **{f"baseline/{name}": value for name, value in study.facts.baselines.items()},
    }


def methods_frame(comparison: Comparison) -> pd.DataFrame:
    """Return a row for each method on each task, and for each control with values."""
    return _frame(as_arrow(method_rows(comparison)))


def _frame(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas(types_mapper=pd.ArrowDtype)
