"""Tables of every kind give the numbers that pyarrow wrote."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest

from tests.support.own_data import define, in_order, labels, read
from trainables.errors import TaskDataError
from trainables.tasks.store.split import SPLITS

N = 50
SUFFIXES = ("parquet", "feather", "arrow", "csv")


def save(table, path):
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path, row_group_size=13)
    elif path.suffix == ".feather":
        pa.feather.write_feather(table, str(path), chunksize=17)
    elif path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=11)


def points():
    return np.random.default_rng(0).integers(-99, 99, (N, 4)) / 8


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_columns_of_numbers_are_the_points_of_a_sequence(suffix, tmp_path):
    x = points()
    names = [["früh", "spät", "nie"][i] for i in labels(N)]
    columns = {f"t{i}": x[:, i] for i in range(4)} | {"class": names}
    save(pa.table(columns), tmp_path / f"data.{suffix}")
    input_ = {"path": f"data.{suffix}", "columns": "t*"}
    imported = read(tmp_path, define(input=input_, target={"key": "class"}))
    np.testing.assert_array_equal(in_order(imported, "x")[:, 0], x.astype(np.float32))
    assert imported.description["classes"] == ["früh", "nie", "spät"]
    found = np.array(imported.description["classes"])[in_order(imported, "y")]
    assert found.tolist() == names


@pytest.mark.parametrize("suffix", SUFFIXES[:3])
def test_columns_of_lists_are_channels(suffix, tmp_path):
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 9, N)
    a, b = ([rng.normal(size=n).astype(np.float32) for n in lengths] for _ in "ab")
    table = pa.table({"a": a, "b": b, "y": labels(N)})
    save(table, tmp_path / f"data.{suffix}")
    input_ = {"path": f"data.{suffix}", "columns": ["b", "a"], "layout": "NCL", "length": 6}
    imported = read(tmp_path, define(input=input_))
    expected = np.stack([[np.pad(s, (0, 6))[:6] for s in pair] for pair in zip(b, a, strict=True)])
    np.testing.assert_array_equal(in_order(imported, "x"), expected)
    assert imported.description["channel_names"] == ["b", "a"]


def test_a_column_of_lists_of_one_length_needs_no_length(tmp_path):
    x = points()
    type_ = pa.list_(pa.float64(), 4)
    for column in (pa.array(x.tolist()), pa.array(x.tolist(), type_)):
        save(pa.table({"x": column, "y": labels(N)}), tmp_path / "data.parquet")
        imported = read(tmp_path, define(input={"path": "data.parquet", "key": "x"}))
        np.testing.assert_array_equal(in_order(imported, "x")[:, 0], x.astype(np.float32))


def test_lists_of_one_length_are_outputs(tmp_path):
    y = np.arange(3.0 * N).reshape(N, 3)
    columns = {"x": np.arange(4.0 * N).reshape(N, 4).tolist(), "y": y.tolist()}
    save(pa.table(columns), tmp_path / "data.parquet")
    of_lists = define("regression", input={"path": "data.parquet", "key": "x"}, target={"key": "y"})
    found = in_order(read(tmp_path, of_lists), "y")
    assert found.reshape(N, 3).tolist() == y.tolist()
    columns["y"][0] = [1.0]
    save(pa.table(columns), tmp_path / "data.parquet")
    with pytest.raises(TaskDataError, match="lists have 1 to 3 numbers, but every sample needs"):
        read(tmp_path, of_lists)


def test_tensors_and_nested_lists_have_a_layout(tmp_path):
    x = np.random.default_rng(0).normal(size=(N, 3, 2)).astype(np.float32)
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(x)
    for column in (tensor, pa.array(x.tolist(), pa.list_(pa.list_(pa.float32())))):
        save(pa.table({"x": column, "y": labels(N)}), tmp_path / "data.arrow")
        input_ = {"path": "data.arrow", "key": "x", "layout": "NLC"}
        imported = read(tmp_path, define(input=input_))
        np.testing.assert_array_equal(in_order(imported, "x"), x.transpose(0, 2, 1))


def test_nulls_are_missing_values(tmp_path):
    x = points()
    columns = {f"t{i}": x[:, i].tolist() for i in range(4)}
    columns["t1"][7] = None
    save(pa.table(columns | {"y": labels(N)}), tmp_path / "data.csv")
    input_ = {"path": "data.csv", "columns": "t?", "missing": "interpolate"}
    imported = read(tmp_path, define(input=input_))
    x[7, 1] = (x[7, 0] + x[7, 2]) / 2
    np.testing.assert_allclose(in_order(imported, "x")[:, 0], x, rtol=1e-6)


def test_regression_and_groups_by_columns(tmp_path):
    x, group = points(), np.repeat(np.arange(10), 5)
    columns = {f"t{i}": x[:, i] for i in range(4)}
    save(pa.table(columns | {"patient": group}), tmp_path / "data.parquet")
    definition = define(
        "regression",
        input={"path": "data.parquet", "columns": ["t0", "t1"]},
        target={"columns": ["t3", "t2"]},
        splits={"group": "patient"},
    )
    imported = read(tmp_path, definition)
    np.testing.assert_array_equal(in_order(imported, "y"), x[:, [3, 2]].astype(np.float32))
    assert imported.description["outputs"] == ["t3", "t2"]
    of = [set(group[imported.splits[split].sample_id]) for split in SPLITS]
    assert sum(map(len, of)) == 10


def test_rows_of_a_long_table_are_points(tmp_path):
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 7, N)
    ids = np.repeat([f"s{N - i}" for i in range(N)], lengths)
    order = rng.permutation(len(ids))
    order = order[np.argsort(order % 3, kind="stable")]  # rows of a sequence are not together
    values = rng.normal(size=(len(ids), 2))
    y = np.repeat(labels(N), lengths)
    columns = {"id": ids, "a": values[:, 0], "b": values[:, 1], "y": y}
    save(pa.table({name: column[order] for name, column in columns.items()}), tmp_path / "d.csv")
    input_ = {"path": "d.csv", "columns": ["a", "b"], "sample": "id", "length": 4}
    imported = read(tmp_path, define(input=input_))
    names = list(dict.fromkeys(ids[order].tolist()))
    for number, (x, label) in enumerate(
        zip(in_order(imported, "x"), in_order(imported, "y"), strict=True)
    ):
        rows = order[ids[order] == names[number]]
        expected = np.pad(values[rows], ((0, 4), (0, 0)))[:4].T
        np.testing.assert_allclose(x, expected, rtol=1e-6)
        assert label == y[rows[0]]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_ids_that_no_real_number_holds_are_kept_apart(suffix, tmp_path):
    ids = 2**53 + np.arange(3 * N) // 3
    columns = {"id": ids, "a": np.arange(3.0 * N), "y": np.repeat(labels(N), 3)}
    save(pa.table(columns), tmp_path / f"d.{suffix}")
    input_ = {"path": f"d.{suffix}", "columns": ["a"], "sample": "id", "length": 3}
    x = in_order(read(tmp_path, define(input=input_)), "x")
    assert x.reshape(N, 3).tolist() == np.arange(3.0 * N).reshape(N, 3).tolist()


def test_fractions_may_follow_whole_numbers_in_a_long_table(tmp_path, monkeypatch):
    monkeypatch.setattr("trainables.tasks.own.formats.text_tables.BLOCK", 100)
    x = np.arange(N) + np.where(np.arange(N) > 40, 0.5, 0)
    lines = [f"{value:g},{-value:g},{label}" for value, label in zip(x, labels(N), strict=True)]
    (tmp_path / "data.csv").write_text("\n".join(["a,b,y", *lines]))
    imported = read(tmp_path, define(input={"path": "data.csv", "columns": ["a", "b"]}))
    np.testing.assert_array_equal(in_order(imported, "x")[:, 0], np.stack([x, -x], 1))
    assert imported.description["classes"] == ["0", "1", "2"]


def test_a_table_without_names_of_columns(tmp_path):
    x = points()
    lines = [
        f"{label}\t" + "\t".join(map(str, row)) for label, row in zip(labels(N), x, strict=True)
    ]
    (tmp_path / "data.tsv").write_text("\n".join(lines))
    columns = [str(i) for i in range(1, 5)]
    input_ = {"path": "data.tsv", "columns": columns, "header": False}
    imported = read(tmp_path, define(input=input_, target={"key": "0"}))
    np.testing.assert_array_equal(in_order(imported, "x")[:, 0], x.astype(np.float32))
    np.testing.assert_array_equal(in_order(imported, "y"), labels(N))
