"""Values of users that an import could change or mix up: each is refused, or told in a note."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image

from tests.support.own_data import define, in_order, labels, read
from trainables.errors import DataError
from trainables.metrics.fields import MIN_NORM
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.own.formats import text_tables
from trainables.tasks.own.targets import ZERO
from trainables.tasks.store.split import SPLITS

N = 60
NCL = {"path": "data.npz", "key": "x", "layout": "NCL"}
COLUMNS = {"input": {"path": "t.csv", "columns": ["a", "b"]}}


def table(folder: Path, name: str = "t.csv", **columns: object) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=N), "b": rng.normal(size=N), **columns})
    frame.to_csv(folder / name, index=False)
    return frame


def notes(folder: Path, definition: TaskDefinition) -> str:
    return "\n".join(read(folder, definition).description["notes"])


@pytest.mark.parametrize("second", [["f3", "f1", "f2"], ["f2", "f3", "f4"]])
def test_columns_of_a_pattern_have_one_place_in_all_files(second, tmp_path):
    for name, columns in (("train", ["f1", "f2", "f3"]), ("test", second)):
        frame = pd.DataFrame(np.random.default_rng(0).normal(size=(N, 3)), columns=columns)
        frame.assign(y=labels(N)).to_csv(tmp_path / f"{name}.csv", index=False)
    splits = {"train": "train.csv", "test": "test.csv"}
    definition = define(input={"columns": "f*"}, splits=splits)
    with pytest.raises(DataError, match=r"column `f\d` is at another place .* one by one"):
        read(tmp_path, definition)
    if "f4" not in second:
        named = define(input={"columns": ["f1", "f2", "f3"]}, splits=splits)
        test = read(tmp_path, named).splits["test"].x
        stored = pd.read_csv(tmp_path / "test.csv")[["f1", "f2", "f3"]].to_numpy(np.float32)
        assert {tuple(row) for row in test.reshape(-1, 3)} == {tuple(row) for row in stored}


def numbered(folder: Path, input_: object) -> TaskDefinition:
    for i in range(1, 12):
        np.save(folder / f"x_{i}.npy", i + np.random.default_rng(i).normal(0, 0.01, (6, 4)))
    np.save(folder / "labels.npy", np.repeat(np.arange(1.0, 12.0), 6))
    return define("regression", input={"path": input_}, target={"path": "labels.npy"})


def test_numbered_files_beside_one_of_outputs_are_read_in_their_order(tmp_path):
    with pytest.raises(DataError, match=r"x_10\.npy: it is read before x_2\.npy"):
        read(tmp_path, numbered(tmp_path, "x_*.npy"))
    imported = read(tmp_path, numbered(tmp_path, [f"x_{i}.npy" for i in range(1, 12)]))
    x = in_order(imported, "x").reshape(N + 6, -1).mean(axis=1).round()
    assert x.tolist() == in_order(imported, "y").ravel().tolist()


def test_numbered_images_need_no_order_where_a_table_names_them(tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(N):
        grey = np.random.default_rng(i).integers(0, 250, (8, 8)).astype(np.uint8)
        Image.fromarray(grey).save(tmp_path / "images" / f"{i}.png")
    named = pd.DataFrame({"file": [f"{i}.png" for i in range(N)], "kind": labels(N)})
    named.to_csv(tmp_path / "kinds.csv", index=False)
    input_ = {"path": "images", "layout": "NHW"}
    keys = {"file_column": "file", "label_column": "kind"}
    read(tmp_path, define(input=input_, target={"source": "csv", "path": "kinds.csv", **keys}))


def test_transparency_of_images_is_told_to_be_left_out(tmp_path):
    for i, kind in enumerate(labels(N)):
        (tmp_path / "images" / str(kind)).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 250, (8, 8, 4 if i else 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / str(kind) / f"{i}.png")
    input_ = {"path": "images", "layout": "NHWC"}
    notes = read(tmp_path, define(input=input_, target={"source": "folder"})).description["notes"]
    assert any(f"{N - 1} of {N} images have transparency, which is left out" in n for n in notes)


def test_blanks_after_a_name_make_no_other_group_and_no_other_sequence(tmp_path):
    names = np.array([f"P{i % 20:02}" + " " * (i >= N / 2) for i in range(N)])
    table(tmp_path, y=labels(N), patient=names)
    splits = read(tmp_path, define(**COLUMNS, splits={"group": "patient"})).splits
    groups = [{names[i].strip() for i in splits[split].sample_id} for split in SPLITS]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 20
    long = {"path": "t.csv", "columns": ["a", "b"], "sample": "patient", "layout": "NCL"}
    table(tmp_path, y=np.arange(N) % 20 % 2, patient=names)
    assert len(in_order(read(tmp_path, define(input=long)), "y")) == 20


def test_ids_that_a_real_number_does_not_hold_are_refused(tmp_path, monkeypatch):
    ids = 202401011200000000 + np.arange(N) // 3
    table(tmp_path, y=labels(N), patient=ids)
    definition = define(**COLUMNS, splits={"group": "patient"})
    read(tmp_path, definition)
    monkeypatch.setattr(text_tables, "BLOCK", 100)  # longer files have real numbers
    with pytest.raises(DataError, match=r"`patient`: numbers as large as 2\.024.* may coincide"):
        read(tmp_path, definition)


def test_a_bad_cell_of_a_long_file_is_missing_as_in_a_short_one(tmp_path, monkeypatch):
    frame = table(tmp_path, y=labels(N), c=np.arange(N))
    frame = frame.astype({"c": object})
    frame.loc[N - 4, "c"] = "err"
    frame.to_csv(tmp_path / "t.csv", index=False)
    input_ = {"path": "t.csv", "columns": ["a", "b", "c"], "missing": "mean"}
    short = notes(tmp_path, define(input=input_))
    monkeypatch.setattr(text_tables, "BLOCK", 400)
    assert notes(tmp_path, define(input=input_)) == short
    assert "`err` in row 56" in short


@pytest.mark.parametrize("days", [np.arange(N) // 3, np.arange(N) // 3 * 24 * 3600 * 10**6])
def test_days_can_be_groups(days, tmp_path):
    type_ = pa.timestamp("us") if days.max() > N else pa.date32()
    days = pa.array(days.astype(np.int64 if days.max() > N else np.int32)).cast(type_)
    x = np.random.default_rng(0).normal(size=N)
    stored = pa.table({"a": x, "b": x**2, "y": labels(N), "day": days})
    pa.parquet.write_table(stored, tmp_path / "t.parquet")
    input_ = {"path": "t.parquet", "columns": ["a", "b"]}
    splits = read(tmp_path, define(input=input_, splits={"group": "day"})).splits
    found = [{i // 3 for i in splits[split].sample_id} for split in SPLITS]
    assert sum(map(len, found)) == 20


def test_numbers_with_a_comma_that_may_be_thousands_are_refused(tmp_path):
    lines = [f"{i},{i + 100}\t{i}\t{i + 5}" for i in range(100, 100 + N)]
    (tmp_path / "t.tsv").write_text("\n".join(["a\tb\ty", *lines]))
    definition = define(
        "regression", input={"path": "t.tsv", "columns": ["a", "b"]}, target={"key": "y"}
    )
    with pytest.raises(DataError, match="`100,200` may be a whole number or one with a fraction"):
        read(tmp_path, definition)
    text = (tmp_path / "t.tsv").read_text()
    for decimals in (text.replace(",", ",0"), text.replace("\t", ";")):
        (tmp_path / "t.tsv").unlink(missing_ok=True)
        name = "t.csv" if ";" in decimals else "t.tsv"
        (tmp_path / name).write_text(decimals)
        input_ = {"path": name, "columns": ["a", "b"]}
        x = in_order(read(tmp_path, define("regression", input=input_)), "x").reshape(N, 2)
        assert x[0, 0] == pytest.approx(100.2 if ";" in decimals else 100.02)


def test_outputs_that_rounding_would_merge_are_refused_and_inputs_told(tmp_path):
    small = np.random.default_rng(0).normal(size=(N, 2))
    np.savez(tmp_path / "data.npz", x=small, y=-76404.7 + 0.002 * small)
    with pytest.raises(DataError, match=r"outputs from -76404\.\d* to .* Subtract a constant"):
        read(tmp_path, define("regression"))
    channels = np.stack([small, 1e6 + 0.1 * small], axis=1)
    np.savez(tmp_path / "data.npz", x=channels, y=20000.0 + small)
    told = notes(tmp_path, define("regression", input=NCL))
    assert "channels [1] differ by little more than single precision" in told
    np.savez(tmp_path / "data.npz", x=small, y=16_000_000 + np.arange(N))
    assert "precision" not in notes(tmp_path, define("regression"))


def test_fields_of_zeros_are_told(tmp_path):
    assert ZERO == MIN_NORM
    x = np.random.default_rng(0).normal(size=(N, 8))
    np.savez(tmp_path / "data.npz", x=x, y=np.where(np.arange(N)[:, None] < 50, 0, x))
    assert "50 of 60 fields are zero" in notes(tmp_path, define("dense"))
    assert "zero" not in notes(tmp_path, define("dense", metric="relative_l2"))


def test_labels_that_a_split_lacks_are_told(tmp_path):
    y = np.zeros((N, 3))
    y[::2, 0] = y[1::2, 1] = y[7, 2] = 1
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(N, 8)), y=y)
    told = notes(tmp_path, define("multilabel"))
    assert told.count("1 label that no ") == 2
    assert "such as `2`" in told


def test_a_label_that_may_mean_a_missing_one_is_told(tmp_path):
    table(tmp_path, y=np.array(["cat", "dog", "NA"])[labels(N)])
    assert "20 samples have the label `NA`, which is a class here" in notes(
        tmp_path, define(**COLUMNS)
    )


def test_one_hot_columns_name_the_classes(tmp_path):
    hot = np.eye(2, dtype=int)[labels(N, 2)]
    table(tmp_path, dog=hot[:, 0], cat=hot[:, 1])
    imported = read(tmp_path, define(**COLUMNS, target={"columns": ["dog", "cat"]}))
    assert imported.description["classes"] == ["cat", "dog"]
    assert in_order(imported, "y").tolist() == (1 - labels(N, 2)).tolist()


def test_images_of_16_bits_are_never_cut_to_8(tmp_path):
    deep = np.random.default_rng(0).integers(0, 4000, (N, 8, 8)).astype(np.uint16)
    contents = []
    for each in deep:
        Image.fromarray(each).save(file := io.BytesIO(), format="PNG")
        contents.append({"bytes": file.getvalue(), "path": None})
    kinds = Features({"image": ImageFeature(), "label": Value("int64")})
    stored = {"image": contents, "label": labels(N).tolist()}
    Dataset.from_dict(stored, features=kinds).save_to_disk(tmp_path / "set")
    definition = define(
        input={"path": "set", "key": "image", "layout": "NHW"}, target={"key": "label"}
    )
    with pytest.raises(DataError, match="it has more than 8 bits a colour"):
        read(tmp_path, definition)
