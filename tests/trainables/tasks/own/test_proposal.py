"""Proposed task files: each of them imports as it is, and says what was meant."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image
from pydantic import ValidationError
from ruamel.yaml import YAML
from scipy.io import wavfile

from tests.support.own_data import labels, read
from trainables.errors import DataError
from trainables.tasks.own.definition import SplitArrays, TaskDefinition
from trainables.tasks.own.proposal import propose
from trainables.tasks.store.split import SPLITS

N = 60


def rng():
    return np.random.default_rng(0)


def check(path: Path) -> TaskDefinition:
    """Return the definition that is proposed, once its data could be read."""
    text = propose(path)
    assert "FILL IN" not in text
    definition = TaskDefinition.model_validate(YAML(typ="safe").load(text))
    assert set(read(path.parent, definition).splits) == set(SPLITS)
    return definition


@pytest.mark.parametrize(
    ("count", "share"), [(60, "0.2  # 12 of 60"), (110, "0.3  # 33 of"), (2000, "0.1  # 200 of")]
)
def test_enough_samples_validate_if_there_are_enough(count, share, tmp_path):
    np.savez(tmp_path / "data.npz", x=rng().normal(size=(count, 4)), y=labels(count))
    assert f"  val: {share}" in propose(tmp_path / "data.npz", enough=30)


@pytest.mark.parametrize(
    ("shape", "kind", "layout"),
    [
        ((N, 30), "f4", "NL"),
        ((N, 3, 30), "f4", "NCL"),
        ((N, 30, 3), "f4", "NLC"),
        ((N, 9, 8), "u1", "NHW"),
        ((N, 3, 9, 8), "f8", "NCHW"),
        ((N, 9, 8, 3), "u1", "NHWC"),
        ((N, 3, 30), "c8", "NCL"),
    ],
)
def test_archives_of_arrays(shape, kind, layout, tmp_path):
    x = (rng().normal(size=shape) * 50 + 100).astype(kind)
    np.savez(tmp_path / "My Wafer 1.npz", labels=labels(N), x=x)
    definition = check(tmp_path / "My Wafer 1.npz")
    assert definition.name == "mine/my-wafer-1"
    assert definition.input.layout == layout
    assert (definition.input.key, definition.target.key) == ("x", "labels")
    assert definition.kind == "classification"


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (np.array(["a", "b", "c"] * 20), "classification"),
        (np.eye(3)[labels(N)], "classification"),
        (rng().integers(0, 2, (N, 4)), "multilabel"),
        (rng().normal(size=N), "regression"),
        (np.arange(N, dtype=np.float64), "regression"),
        (rng().normal(size=(N, 2)), "regression"),
        (rng().normal(size=(N, 3, 30)), "dense"),
        (np.arange(N) // 6, "classification"),
    ],
)
def test_kinds_by_the_outputs(y, kind, tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["signal"], file["y"] = rng().normal(size=(N, 3, 30)), y.tolist()
    assert check(tmp_path / "data.h5").kind == kind


def test_files_of_splits_and_missing_values(tmp_path):
    (tmp_path / "set").mkdir()
    for name in ("train", "test"):
        x = rng().normal(size=(N, 30))
        x[3, 4] = np.nan
        np.savez(tmp_path / "set" / f"{name}.npz", x=x, y=labels(N))
    definition = check(tmp_path / "set")
    assert definition.splits.train == ("set/train.npz",)
    assert definition.splits.test == ("set/test.npz",)
    assert definition.input.missing == "mean"


def test_an_array_with_its_labels_in_a_file_beside_it(tmp_path):
    np.save(tmp_path / "x.npy", rng().normal(size=(N, 30)))
    np.save(tmp_path / "labels.npy", labels(N))
    assert check(tmp_path / "x.npy").target.path == ("labels.npy",)


def test_an_array_without_labels_has_a_line_to_fill_in(tmp_path):
    np.save(tmp_path / "x.npy", rng().normal(size=(N, 30)))
    text = propose(tmp_path / "x.npy")
    assert "# FILL IN target.path" in text
    with pytest.raises(ValidationError, match="still to be filled in") as caught:
        TaskDefinition.model_validate(YAML(typ="safe").load(text))
    assert caught.value.errors()[0]["loc"] == ("target", "path")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_of_points(suffix, tmp_path):
    x = rng().normal(size=(N, 25))
    columns = {"id": np.arange(N)} | {f"t{i}": x[:, i] for i in range(25)}
    table = pa.table(columns | {"class": ["ja", "nein"] * (N // 2)})
    path = tmp_path / f"series.{suffix}"
    if suffix == "csv":
        pa.csv.write_csv(table, path)
    else:
        pa.parquet.write_table(table, path)
    definition = check(path)
    assert definition.input.columns == ("t*",)
    assert definition.target.key == "class"


def test_tables_of_lists_of_unequal_length(tmp_path):
    x = [rng().normal(size=5 + i % 4).tolist() for i in range(N)]
    pa.parquet.write_table(pa.table({"x": x, "label": labels(N)}), tmp_path / "s.parquet")
    assert check(tmp_path / "s.parquet").input.length == 8


def test_a_column_of_splits(tmp_path):
    part = ["train"] * 40 + ["val"] * 10 + ["test"] * 10
    columns = {"a": rng().normal(size=N), "b": rng().normal(size=N), "split": part, "y": labels(N)}
    pa.csv.write_csv(pa.table(columns), tmp_path / "data.csv")
    assert check(tmp_path / "data.csv").splits.column == "split"


def save_images(folder, *, sizes=((8, 8),)):
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng().integers(0, 255, (*sizes[number % len(sizes)], 3)).astype(np.uint8)
            pixels[0, 0] = number
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_folders_of_images(tmp_path):
    save_images(tmp_path / "pets")
    definition = check(tmp_path / "pets")
    assert (definition.target.source, definition.input.path) == ("folder", ("pets",))


def test_folders_of_images_by_split_and_of_several_sizes(tmp_path):
    for split in ("train", "test"):
        save_images(tmp_path / "pets" / split, sizes=((8, 8), (9, 8)))
    definition = check(tmp_path / "pets")
    assert definition.splits.train == ("pets/train",)
    assert definition.input.size is not None


def save_sounds(folder):
    folder.mkdir()
    for number in range(N):
        wave = rng().integers(-99, 99, 20 + number % 3).astype(np.int16)
        wavfile.write(folder / f"{('up', 'down')[number % 2]}_{number}.wav", 8000, wave)


def test_sounds_with_a_table_of_labels(tmp_path):
    save_sounds(tmp_path / "audio")
    rows = [f"{p.name},{p.name.partition('_')[0]}" for p in (tmp_path / "audio").glob("*.wav")]
    (tmp_path / "audio" / "meta.csv").write_text("\n".join(["name,category", *rows]))
    target = check(tmp_path / "audio").target
    assert (target.source, target.file_column, target.label_column) == ("csv", "name", "category")


def test_sounds_with_labels_in_their_names(tmp_path):
    save_sounds(tmp_path / "audio")
    assert "`down`, `up`" in propose(tmp_path / "audio")
    assert check(tmp_path / "audio").target.pattern == "^(?P<label>[^_]+)_"


@pytest.mark.parametrize("name", ["nothing", "notes.txt"])
def test_what_cannot_be_read_is_refused(name, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError):
        propose(tmp_path / name)


@pytest.mark.slow
def test_no_torch_is_loaded_for_other_formats(tmp_path):
    np.savez(tmp_path / "data.npz", x=rng().normal(size=(N, 30)), y=labels(N))
    code = (
        "import sys; from pathlib import Path; from trainables.tasks.own.proposal import propose; "
        f"propose(Path({str(tmp_path / 'data.npz')!r})); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["0_george_1", "1_george_2", "0_lucas_3", "1_lucas_4"], "^(?P<label>[^_]+)_"),
        (["a1-x", "b1-x", "a1-y", "b1-y"], "^(?P<label>[^-]+)-"),
        (["cat.1", "dog.1", "cat.2", "dog.2"], r"^(?P<label>[^.]+)\.\d"),
        (["cat1", "dog 1", "cat2", "dog 2"], r"^(?P<label>\D+?)[-_. ]*\d"),
        (["cell1", "cell2", "cell3", "cell4"], "FILL IN"),
    ],
)
def test_a_proposed_pattern_matches_all_names(names, pattern, tmp_path):
    (tmp_path / "audio").mkdir()
    for number, name in enumerate(names):
        wavfile.write(tmp_path / "audio" / f"{name}.wav", 8000, np.arange(50, dtype="i2") + number)
    target = YAML(typ="safe").load(propose(tmp_path / "audio"))["target"]
    assert target["pattern"] == pattern


def test_nine_of_ten_sounds_stay_whole_and_the_others_are_said(tmp_path):
    (tmp_path / "audio").mkdir()
    for number in range(N):
        wave = rng().integers(-99, 99, 2000 + 10 * number).astype(np.int16)
        wavfile.write(tmp_path / "audio" / f"{number % 2}_{number}.wav", 8000, wave)
    assert "`length: 2540` cuts 5 of 60" in propose(tmp_path / "audio")
    definition = check(tmp_path / "audio")
    assert (definition.input.length, definition.input.representation) == (2540, "log_mel")


@pytest.mark.parametrize(
    "names",
    [
        ("X_train", "y_train", "x_valid", "y_valid", "X_test", "y_test"),
        ("train_x", "train_y", "validation_x", "validation_y", "test_x", "test_y"),
        ("trainX", "trainY", "valX", "valY", "testX", "testY"),
        ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
    ],
)
def test_arrays_of_all_splits_in_one_file(names, tmp_path):
    arrays = {}
    for i, count in ((0, N), (2, 12), (4, 15)):
        arrays |= {names[i]: rng().normal(size=(count, 9)), names[i + 1]: labels(count)}
    np.savez(tmp_path / "data.npz", **arrays, notes=np.array(["a"]))
    assert "# left out: `notes`" in propose(tmp_path / "data.npz")
    definition = check(tmp_path / "data.npz")
    assert (definition.input.key, definition.target.key) == names[:2]
    assert definition.splits.val == SplitArrays(input=names[2], target=names[3])
    assert definition.splits.test == SplitArrays(input=names[4], target=names[5])


def test_a_mask_of_training_samples_makes_no_split(tmp_path):
    x, mask = rng().normal(size=(N, 9)), np.arange(N) < 50
    np.savez(tmp_path / "data.npz", x=x, y=labels(N), train_mask=mask)
    definition = check(tmp_path / "data.npz")
    assert (definition.input.key, definition.target.key) == ("x", "y")


def test_test_inputs_without_outputs_are_left_out_aloud(tmp_path):
    x = rng().normal(size=(N, 9))
    np.savez(tmp_path / "data.npz", x_train=x, y_train=labels(N), x_test=x)
    assert "# left out: `x_test`" in propose(tmp_path / "data.npz")


def test_inputs_and_outputs_of_each_split_in_files_of_their_own(tmp_path):
    (tmp_path / "set").mkdir()
    for split in ("train", "test"):
        np.save(tmp_path / "set" / f"X_{split}.npy", rng().normal(size=(N, 9)))
        np.save(tmp_path / "set" / f"y_{split}.npy", labels(N))
    definition = check(tmp_path / "set")
    assert definition.splits.train == ("set/X_train.npy",)
    assert definition.target.path == ("set/y_train.npy", "set/y_test.npy")


def test_files_of_another_shape_are_left_out_aloud(tmp_path):
    (tmp_path / "darcy").mkdir()
    for name, count, side in (("train_16", N, 16), ("test_16", 20, 16), ("test_32", 20, 32)):
        x = rng().normal(size=(count, side, side))
        np.savez(tmp_path / "darcy" / f"darcy_{name}.npz", x=x, y=x + 1)
    assert "of no split: `darcy/darcy_test_32.npz`" in propose(tmp_path / "darcy")
    assert check(tmp_path / "darcy").splits.test == ("darcy/darcy_test_16.npz",)


def test_parts_of_a_split_are_all_named(tmp_path):
    (tmp_path / "set").mkdir()
    for name in ("train_1", "train_2", "val"):
        np.savez(tmp_path / "set" / f"{name}.npz", x=rng().normal(size=(N, 9)), y=labels(N))
    splits = check(tmp_path / "set").splits
    assert splits.train == ("set/train_1.npz", "set/train_2.npz")
    assert (splits.val, splits.test) == (("set/val.npz",), 0.2)


def test_unequal_numbers_of_inputs_and_outputs_are_said(tmp_path):
    np.savez(tmp_path / "data.npz", x=rng().normal(size=(60, 9)), y=labels(50))
    with pytest.raises(DataError, match=r"`x` has 60 samples, but .*`y` has 50 outputs"):
        propose(tmp_path / "data.npz")
    np.save(tmp_path / "x.npy", rng().normal(size=(60, 9)))
    np.save(tmp_path / "y.npy", labels(50))
    with pytest.raises(DataError, match=r"60 samples, but .*y.npy has 50 outputs"):
        propose(tmp_path / "x.npy")


def test_a_class_of_one_sample_is_named(tmp_path):
    y = np.array(["rare", *["a", "b"] * 30])
    np.savez(tmp_path / "data.npz", x=rng().normal(size=(61, 9)), y=y)
    assert "trains or is scored: `rare`" in propose(tmp_path / "data.npz")


def test_one_bad_cell_leaves_its_column_in(tmp_path):
    rows = [f"{i},{i * 0.5},{'n/a?' if i == 22 else i % 7},{'ab'[i % 2]}" for i in range(N)]
    (tmp_path / "s.csv").write_text("\n".join(["id,t1,t2,class", *rows]))
    assert "column t2: 1 of 60 values is no number: `n/a?` in row 22" in propose(tmp_path / "s.csv")
    definition = check(tmp_path / "s.csv")
    assert (definition.input.columns, definition.input.missing) == (("t1", "t2"), "mean")


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "row_number"])
def test_a_number_of_the_row_is_no_input(name, tmp_path):
    rows = [f"{i},{i * 0.5 % 3},{i % 7},{'ab'[i > 30]}" for i in range(N)]
    (tmp_path / "s.csv").write_text("\n".join([f"{name},t1,t2,class", *rows]))
    assert check(tmp_path / "s.csv").input.columns == ("t1", "t2")


def test_a_question_mark_in_a_cell_leaves_its_column_in(tmp_path):
    rows = [f"{i * 0.5},{'?' if i == 22 else i % 7},{'ab'[i % 2]}" for i in range(N)]
    (tmp_path / "s.csv").write_text("\n".join(["t1,t2,class", *rows]))
    definition = check(tmp_path / "s.csv")
    assert (definition.input.columns, definition.input.missing) == (("t1", "t2"), "mean")


def test_rows_that_may_be_the_points_of_a_sample_are_pointed_out(tmp_path):
    rows = [f"{i // 10},{i % 7},{'ab'[i // 10 % 2]}" for i in range(N)]
    (tmp_path / "s.csv").write_text("\n".join(["walk,x,class", *rows]))
    text = propose(tmp_path / "s.csv")
    assert "points of one sample, by `walk`? Then `input.sample: walk`" in text


def test_a_column_that_lacks_whole_numbers_is_an_input(tmp_path):
    k = pa.array([None if i == 3 else i // 10 for i in range(N)])
    table = pa.table({"k": k, "x": rng().normal(size=N), "label": ["u", "v"] * (N // 2)})
    pa.parquet.write_table(table, tmp_path / "s.parquet")
    assert 'missing: "' in propose(tmp_path / "s.parquet")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x,label\n1,größe\n2,klein\n".encode("latin-1"), "column `label` is not UTF-8"),
        (b"x,label\n1,NA\n2,NA\n", "column `label` is empty: it has no outputs"),
        ("x,label\n1,a\n".encode("utf-16"), "it is UTF-16"),
        (b"sep=;\nx;label\n1;a\n", "its first line names the delimiter"),
    ],
)
def test_a_table_that_would_be_misread_is_refused(content, message, tmp_path):
    (tmp_path / "s.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        propose(tmp_path / "s.csv")


def test_empty_columns_of_a_spreadsheet_are_none(tmp_path):
    rows = [f"{i * 0.5},{'ab'[i % 2]},," for i in range(N)]
    (tmp_path / "s.csv").write_text("\n".join(["t1,class,,", *rows]))
    assert check(tmp_path / "s.csv").input.key == "t1"


def test_an_array_of_objects_is_said_to_be_left_out(tmp_path):
    y = np.array(["a", "b"] * 30, dtype=object)
    np.savez(tmp_path / "data.npz", x=rng().normal(size=(N, 9)), y=y)
    assert "# left out: " in propose(tmp_path / "data.npz")


def test_a_table_without_header_whose_first_column_is_the_class(tmp_path):
    rows = ["\t".join([str(i % 2), *map(str, rng().normal(size=4))]) for i in range(N)]
    (tmp_path / "Gun_TRAIN.tsv").write_text("\n".join(rows))
    definition = check(tmp_path / "Gun_TRAIN.tsv")
    assert not definition.input.header
    assert (definition.target.key, definition.input.columns) == ("0", ("1", "2", "3", "4"))


def test_a_table_of_images_without_header_and_with_spaces(tmp_path):
    save_images(tmp_path / "cells" / "images")
    files = sorted((tmp_path / "cells").rglob("*.png"))
    rows = [f"{f.relative_to(tmp_path / 'cells')}   {i % 3}  mono" for i, f in enumerate(files)]
    for file in files:
        file.rename(file.parent.parent / f"{file.parent.name}{file.name}")
    rows = [row.replace("cat/", "cat").replace("dog/", "dog") for row in rows]
    (tmp_path / "cells" / "labels.csv").write_text("\n".join(rows))
    definition = check(tmp_path / "cells")
    assert (definition.target.source, definition.target.path) == ("csv", ("cells/labels.csv",))
    assert (definition.target.file_column, definition.target.label_column) == ("0", "1")


def test_folders_of_training_and_validation_alone(tmp_path):
    for split in ("train", "valid"):
        save_images(tmp_path / "pets" / split)
    save_images(tmp_path / "pets" / "more")
    assert "of no split: `pets/more/cat/0.png`" in propose(tmp_path / "pets")
    splits = check(tmp_path / "pets").splits
    assert (splits.train, splits.val, splits.test) == (("pets/train",), ("pets/valid",), 0.2)


def test_a_folder_without_a_known_format_lists_these(tmp_path):
    (tmp_path / "notes.xyz").write_text("x")
    with pytest.raises(DataError, match=r"Known endings: .*\.arff, \.ts"):
        propose(tmp_path)


@pytest.mark.parametrize("names", [("x", "y"), ("signals", "labels"), ("labels", "zebra")])
def test_a_folder_of_an_array_and_its_outputs_is_read_as_such(names, tmp_path):
    (tmp_path / "data").mkdir()
    for name in names:
        values = labels(N) if name in ("y", "labels") else rng().normal(size=(N, 9))
        np.save(tmp_path / "data" / f"{name}.npy", values)
    definition = check(tmp_path / "data")
    assert len(definition.input.path) == len(definition.target.path) == 1


def test_numbered_arrays_beside_one_of_outputs_are_named(tmp_path):
    (tmp_path / "data").mkdir()
    for i in range(6):
        np.save(tmp_path / "data" / f"x_{i}.npy", rng().normal(size=(10, 9)))
    np.save(tmp_path / "data" / "labels.npy", labels(N))
    definition = check(tmp_path / "data")
    assert definition.input.path[:2] == ("data/x_0.npy", "data/x_1.npy")
    assert definition.target.path == ("data/labels.npy",)
