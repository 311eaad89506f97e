"""Exports: complete, in full precision, and safe to open."""

import csv
import io
import json
import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from sweeper.render.frames import as_csv, as_parquet, method_rows, study_rows, trial_rows
from sweeper.results.compare import compare
from sweeper.results.read import read_studies
from sweeper.results.schema import History
from tests.support.compared_ledgers import Scores, write
from tests.support.ledgers import TASK
from trainables.report import Measurement

ADVECTION = "pdebench/advection_1d"


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def rows(ledger):
    return trial_rows(read_studies([ledger]))


def test_there_is_a_row_for_every_trial_with_all_that_is_known(ledger, rows):
    assert len(rows) == len(ledger.trials()) == 10
    for row, trial in zip(rows, ledger.trials(), strict=True):
        assert (row["study"], row["trial"]) == (trial.study, trial.number)
        assert row["state"] == trial.state.value
        assert row["value"] == trial.value
        assert {name: row[name] for name in trial.params} == trial.params
        assert {name: row[name] for name in trial.test} == trial.test
        assert row["seed"] == trial.seed


def test_metrics_are_the_last_of_each_and_the_best_is_apart(rows):
    complete = next(r for r in rows if r["study"] == f"mona/{TASK}" and r["trial"] == 2)
    assert complete["meta/outer_loss"] == 0.5
    assert complete["val/nrmse"] == complete["value"]
    assert complete["test"] == complete["test/nrmse"]
    failed = next(r for r in rows if r["state"] == "failed")
    assert (failed["failure"], failed["test"]) == ("non_finite", None)


def test_costs_are_those_of_all_attempts(rows):
    again = next(r for r in rows if r["study"] == f"nft/{TASK}" and r["trial"] == 2)
    assert (again["attempts"], again["epochs"], again["device_seconds"]) == (2, 7, 18.0)


def test_a_row_has_the_precision_of_the_latest_epoch(rows):
    epochs = tuple(
        Measurement(stage="refine", epoch=number, num_epochs=2, metrics={}, precision=precision)
        for number, precision in enumerate((None, "bf16"), start=1)
    )
    assert History(measurements=epochs).precision == "bf16"
    assert History(measurements=epochs[:1]).precision is History().precision is None
    assert {row["precision"] for row in rows} == {None}  # these ledgers are older


def test_replicates_name_what_they_repeat(tmp_path):
    ledger = write(tmp_path, "a", [Scores(method="pare", task=ADVECTION, best=[0.1, 0.2])])
    found = trial_rows(read_studies([ledger]))
    assert [(r["trial"], r["origin"]) for r in found if r["kind"] == "replicate"] == [
        (100_000, 2), (100_001, 2),
    ]  # fmt: skip


def test_csv_and_parquet_read_back_to_the_last_digit(rows):
    from_csv = read_csv(as_csv(rows))
    from_parquet = parquet.read_table(pa.BufferReader(as_parquet(rows))).to_pylist()
    columns = {name for row in rows for name in row}
    assert set(from_csv[0]) == set(from_parquet[0]) == columns
    for row, text, typed in zip(rows, from_csv, from_parquet, strict=True):
        for name in columns:
            value = row.get(name)
            assert typed[name] == value
            if isinstance(value, float):
                assert float(text[name]) == value
            else:
                assert text[name] == ("" if value is None else str(value))


@pytest.mark.slow
@given(st.floats(allow_nan=False))
def test_any_number_survives(value):
    rows = [{"x": value}]
    assert float(read_csv(as_csv(rows))[0]["x"]) == value
    assert parquet.read_table(pa.BufferReader(as_parquet(rows)))["x"][0].as_py() == value


def test_nan_is_written_as_such():
    rows = [{"x": math.nan}]
    assert read_csv(as_csv(rows)) == [{"x": "nan"}]
    (value,) = parquet.read_table(pa.BufferReader(as_parquet(rows)))["x"].to_pylist()
    assert math.isnan(value)


def test_columns_that_only_some_rows_have_and_text_that_needs_quotes():
    rows = [{"a": 1}, {"b": 'x,"y"\nz'}]
    assert read_csv(as_csv(rows)) == [{"a": "1", "b": ""}, {"a": "", "b": r'x,"y"\nz'}]
    table = parquet.read_table(pa.BufferReader(as_parquet(rows)))
    assert table.to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": 'x,"y"\nz'}]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "|", "%"])
def test_no_spreadsheet_runs_a_cell_of_a_csv_file(start):
    formula = f"{start}cmd()"
    (read,) = read_csv(as_csv([{formula: formula, "value": -0.5}]))
    (name, cell), (_, value) = read.items()
    assert name == cell == "'" + formula.replace("\t", "\\t")
    assert value == "-0.5"


def test_what_a_terminal_would_act_on_is_escaped_in_a_csv_file():
    text = as_csv([{"reason": "a\x1b[31mb\r\nc\u202ed"}])
    assert text == "reason\na\\x1b[31mb\\r\\nc\\u202ed\n"


def test_lists_and_columns_of_several_types_become_json():
    rows = [{"steps": [20, 40], "mixed": 1}, {"steps": [60], "mixed": "one"}, {"mixed": True}]
    assert [r["steps"] for r in read_csv(as_csv(rows))] == ["[20, 40]", "[60]", ""]
    table = parquet.read_table(pa.BufferReader(as_parquet(rows))).to_pylist()
    assert [json.loads(r["mixed"]) for r in table] == [1, "one", True]
    assert json.loads(table[0]["steps"]) == [20, 40]


def test_seeds_of_63_bits_and_larger_integers_keep_every_digit():
    rows = [{"seed": 2**63 - 1, "more": 2**70, "both": 1}, {"both": 0.5}]
    table = parquet.read_table(pa.BufferReader(as_parquet(rows))).to_pylist()
    assert table[0]["seed"] == 2**63 - 1
    assert int(table[0]["more"]) == 2**70
    assert [r["both"] for r in table] == [1.0, 0.5]


def test_no_trial_is_an_empty_file():
    assert as_csv([]) == "\n"
    assert parquet.read_table(pa.BufferReader(as_parquet([]))).num_rows == 0


def test_a_replicated_control_has_its_mean_beside_that_of_the_method(tmp_path):
    control = [0.9, 0.1, 0.1, 0.1, 0.1, 0.1]
    scores = Scores(method="pare", task=ADVECTION, best=[0.4] * 6, control=control)
    (row,) = study_rows(read_studies([write(tmp_path, "s", [scores])]))
    assert (row["test"], row["control_test"]) == pytest.approx((0.4, sum(control) / 6))


def test_methods_have_a_row_a_task_and_their_controls_another(tmp_path):
    errors = [0.2, 0.21, 0.19, 0.2, 0.2, 0.2]
    scores = [
        Scores(method="pare", task=TASK, best=errors, control=[0.5, 0.4]),
        Scores(method="mona", task=TASK, best=[0.3]),
    ]
    comparison = compare([write(tmp_path, "s", scores)])
    rows = list(csv.DictReader(io.StringIO(as_csv(method_rows(comparison)))))
    assert [(row["method"], row["is_control"], row["seeds"]) for row in rows] == [
        ("pare", "False", "6"), ("mona", "False", "1"),
        ("pare", "True", "2"), ("mona", "True", "1"),
    ]  # fmt: skip
    (entry, lone), first = comparison.tasks[0].entries, rows[0]
    assert (float(first["test"]), float(first["sd"])) == (entry.mean, entry.sd)
    assert (float(first["rises"]), float(first["jaggedness"])) == (
        entry.upward_rms,
        entry.roughness,
    )
    assert (float(first["ci_low"]), float(first["ci_high"])) == entry.ci
    assert (float(first["floor"]), first["floor_predictor"]) == (1.0, "mean")
    assert float(first["device_seconds"]) == entry.budget.device_seconds
    assert rows[1]["ci_low"] == "", "one seed has no interval"
    assert float(rows[1]["test"]) == lone.mean
