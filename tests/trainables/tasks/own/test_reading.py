import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.support.own_data import define, in_order, labels, read
from trainables.errors import DataError, TaskDataError
from trainables.tasks.own.reading import OwnReader
from trainables.tasks.store.split import SPLITS
from trainables.tasks.store.store import Store, write_store

N = 40


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def refused(folder, definition, match, key=None):
    with pytest.raises(DataError, match=match) as caught:
        read(folder, definition)
    if key is not None:
        assert isinstance(caught.value, TaskDataError)
        assert caught.value.key == key


@pytest.mark.parametrize(
    ("layout", "shape", "axes"),
    [
        ("NL", (N, 9), None),
        ("NCL", (N, 3, 9), (0, 1, 2)),
        ("NLC", (N, 9, 3), (0, 2, 1)),
        ("NHW", (N, 6, 7), None),
        ("NCHW", (N, 3, 6, 7), (0, 1, 2, 3)),
        ("NHWC", (N, 6, 7, 3), (0, 3, 1, 2)),
    ],
)
def test_each_layout_becomes_channels_first(layout, shape, axes, tmp_path, rng):
    x = rng.normal(size=shape)
    np.savez(tmp_path / "data.npz", x=x, y=labels(N))
    input_ = {"path": "data.npz", "key": "x", "layout": layout}
    imported = read(tmp_path, define(input=input_))
    expected = x[:, None] if axes is None else x.transpose(axes)
    np.testing.assert_array_equal(in_order(imported, "x"), expected.astype(np.float32))
    np.testing.assert_array_equal(in_order(imported, "y"), labels(N))
    assert imported.description["channels"] == expected.shape[1]


def test_statistics_are_those_of_the_training_split_alone(tmp_path, rng):
    x = rng.normal(5.0, 3.0, size=(N, 2, 50))
    np.savez(tmp_path / "data.npz", x=x, y=labels(N))
    ncl = {"path": "data.npz", "key": "x", "layout": "NCL"}
    imported = read(tmp_path, define(input=ncl))
    scaling, train = imported.description["input_scaling"], imported.splits["train"].x
    np.testing.assert_allclose(scaling["mean"], train.mean(axis=(0, 2), dtype=float), rtol=1e-6)
    np.testing.assert_allclose(scaling["std"], train.std(axis=(0, 2), dtype=float), rtol=1e-6)
    plain = read(tmp_path, define(input=ncl, standardize=False)).description
    assert "input_scaling" not in plain
    assert plain["standardised"] is False
    write_store(tmp_path / "store", imported.splits, imported.description)
    stored = Store(tmp_path / "store").train.x[np.arange(len(train))]
    assert abs(stored.mean()) < 1e-5
    assert abs(stored.std() - 1) < 1e-2


def test_bytes_of_images_stay_bytes(tmp_path, rng):
    x = rng.integers(0, 256, (N, 8, 9), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", x=x, y=labels(N))
    nhw = {"path": "data.npz", "key": "x", "layout": "NHW"}
    imported = read(tmp_path, define(input=nhw))
    assert imported.splits["train"].x.dtype == np.uint8
    np.testing.assert_array_equal(in_order(imported, "x")[:, 0], x)


@pytest.mark.parametrize("kind", ["i2", "u4", "i8", "f2", "?"])
def test_other_numbers_become_single_precision(kind, tmp_path, rng):
    x = rng.integers(0, 2, (N, 9)).astype(kind)
    np.savez(tmp_path / "data.npz", x=x, y=labels(N))
    assert in_order(read(tmp_path, define()), "x").dtype == np.float32


@pytest.mark.parametrize("rule", ["channels", "magnitude"])
def test_complex_inputs_become_what_the_file_says(rule, tmp_path, rng):
    x = rng.normal(size=(N, 2, 9)) + 1j * rng.normal(size=(N, 2, 9))
    np.savez(tmp_path / "data.npz", x=x, y=labels(N))
    input_ = {"path": "data.npz", "key": "x", "layout": "NCL", "complex": rule}
    parts = [x.real, x.imag] if rule == "channels" else [np.abs(x)]
    found = in_order(read(tmp_path, define(input=input_)), "x")
    np.testing.assert_array_equal(found, np.concatenate(parts, axis=1).astype(np.float32))


@pytest.mark.parametrize("rule", ["mean", "interpolate", "zero"])
def test_missing_values_are_imputed_by_the_rule(rule, tmp_path, rng):
    x = rng.normal(size=(N, 2, 9)) + 4
    x[3, 0, 2] = x[3, 0, 8] = x[7, 1, 0] = np.nan
    np.savez(tmp_path / "data.npz", x=x, y=labels(N))
    input_ = {"path": "data.npz", "key": "x", "layout": "NCL", "missing": rule}
    imported = read(tmp_path, define(input=input_))
    expected = np.nan_to_num(x)
    if rule == "mean":
        mean = np.nanmean(x[imported.splits["train"].sample_id], axis=(0, 2))
        expected = np.where(np.isnan(x), mean[:, None], x)
        scaling = imported.description["input_scaling"]
        np.testing.assert_allclose(scaling["mean"], mean, rtol=1e-6)
    elif rule == "interpolate":
        expected[3, 0, 2], expected[3, 0, 8] = (x[3, 0, 1] + x[3, 0, 3]) / 2, x[3, 0, 7]
        expected[7, 1, 0] = x[7, 1, 1]
    np.testing.assert_allclose(in_order(imported, "x"), expected, rtol=1e-6)
    assert any("3 missing values of 2 samples" in n for n in imported.description["notes"])


def test_padding_is_no_value_to_interpolate_from(tmp_path, rng):
    table = pa.table({"x": [[1.0, 2.0, None], *rng.normal(size=(N - 1, 3)).tolist()],
                      "y": labels(N)})  # fmt: skip
    parquet.write_table(table, tmp_path / "data.parquet")
    input_ = {"path": "data.parquet", "columns": ["x"], "length": 5, "missing": "interpolate"}
    imported = read(tmp_path, define(input=input_))
    assert in_order(imported, "x")[0].tolist() == [[1, 2, 2, 0, 0]]


@pytest.mark.parametrize("scale", [1e-23, 1e-20, 1e20])
def test_inputs_whose_squares_single_precision_does_not_hold_are_refused(scale, tmp_path, rng):
    np.savez(tmp_path / "data.npz", x=scale * rng.normal(size=(N, 9)), y=labels(N))
    refused(tmp_path, define(), "in another unit", ("input", "key"))


def test_a_label_beyond_whole_numbers_is_refused(tmp_path, rng):
    y = np.where(np.arange(N) % 2, 1e30, 2e30)
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(N, 9)), y=y)
    refused(tmp_path, define(), "the label 2e.30 is too large")


def test_a_folder_may_have_a_bracket_in_its_name(tmp_path, rng):
    (tmp_path / "runs [1]").mkdir()
    np.savez(tmp_path / "runs [1]" / "a.npz", x=rng.normal(size=(N, 9)), y=labels(N))
    imported = read(tmp_path, define(input={"path": "runs [1]/*.npz", "key": "x"}))
    assert len(in_order(imported, "x")) == N
    missing = define(input={"path": "runs [1]/b.npz", "key": "x"})
    refused(tmp_path, missing, "there is no such file", ("input", "path"))


@pytest.mark.parametrize("value", [np.inf, 1e300])
def test_numbers_out_of_range_are_never_imputed(value, tmp_path, rng):
    x = rng.normal(size=(N, 9))
    x[5, 1] = value
    np.savez(tmp_path / "data.npz", x=x, y=labels(N))
    input_ = {"path": "data.npz", "key": "x", "missing": "mean"}
    refused(tmp_path, define(input=input_), "sample 5 ")


@pytest.mark.parametrize("length", [6, 12])
def test_a_length_pads_by_zeros_or_cuts(length, tmp_path, rng):
    x = rng.normal(size=(N, 9))
    np.savez(tmp_path / "data.npz", x=x, y=labels(N))
    imported = read(tmp_path, define(input={"path": "data.npz", "key": "x", "length": length}))
    found = in_order(imported, "x")[:, 0]
    expected = np.pad(x, ((0, 0), (0, max(0, length - 9))))[:, :length]
    np.testing.assert_array_equal(found, expected.astype(np.float32))
    said = "40 were padded" if length > 9 else "40 cut"
    assert any(said in note for note in imported.description["notes"])
    # Padding is no part of the statistics.
    train = x[imported.splits["train"].sample_id, :length]
    np.testing.assert_allclose(
        imported.description["input_scaling"]["mean"], [train.mean()], atol=1e-6
    )


@pytest.mark.parametrize(
    ("y", "names"),
    [
        (np.array(["b", "a", "ü"] * 10 + ["a"] * 10), ["a", "b", "ü"]),
        (np.array([7, -2, 100] * 10 + [7] * 10), ["-2", "7", "100"]),
        (np.array([0.0, 1.0] * 20), ["0", "1"]),
        (np.array([True, False] * 20), ["False", "True"]),
    ],
)
def test_names_of_classes_are_sorted_and_kept(y, names, tmp_path, rng):
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(N, 9)), y=y)
    imported = read(tmp_path, define())
    assert imported.description["classes"] == names
    of = np.array(names)[in_order(imported, "y")]
    assert of.tolist() == [str(int(v)) if y.dtype.kind == "f" else str(v) for v in y.tolist()]


def test_one_hot_labels_become_classes(tmp_path, rng):
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(N, 9)), y=np.eye(3)[labels(N)])
    imported = read(tmp_path, define())
    np.testing.assert_array_equal(in_order(imported, "y"), labels(N))


def test_sets_of_labels_and_vectors_of_numbers_are_kept(tmp_path, rng):
    sets, numbers = rng.integers(0, 2, (N, 4)), rng.normal(size=(N, 2))
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(N, 9)), y=sets, z=numbers, s=numbers[:, 0])
    for kind, key, expected in [
        ("multilabel", "y", sets),
        ("regression", "z", numbers),
        ("regression", "s", numbers[:, :1]),
    ]:
        imported = read(tmp_path, define(kind, target={"key": key}))
        np.testing.assert_array_equal(in_order(imported, "y"), expected.astype(np.float32))


def test_fields_have_a_layout_of_their_own(tmp_path, rng):
    x, y = rng.normal(size=(N, 2, 6, 7)), rng.normal(size=(N, 6, 7))
    np.savez(tmp_path / "data.npz", x=x, y=y)
    input_ = {"path": "data.npz", "key": "x", "layout": "NCHW"}
    imported = read(tmp_path, define("dense", input=input_, target={"key": "y", "layout": "NHW"}))
    np.testing.assert_array_equal(in_order(imported, "y")[:, 0], y.astype(np.float32))


def test_files_of_each_split_are_kept_apart(tmp_path, rng):
    parts = {split: rng.normal(size=(n, 9)) for split, n in zip(SPLITS, (20, 6, 7), strict=True)}
    for split, x in parts.items():
        np.savez(tmp_path / f"{split}.npz", x=x, y=labels(len(x)))
    files = {split: f"{split}.npz" for split in SPLITS}
    definition = define(input={"key": "x"}, splits=files)
    assert list(OwnReader(definition).find([tmp_path])) == list(files.values())
    imported = read(tmp_path, definition)
    start = 0
    for split, x in parts.items():
        data = imported.splits[split]
        np.testing.assert_array_equal(data.x[:, 0], x[data.sample_id - start].astype(np.float32))
        start += len(x)


def test_a_validation_share_is_taken_from_the_training_files(tmp_path, rng):
    for split, n in (("train", 30), ("test", 9)):
        np.savez(tmp_path / f"{split}.npz", x=rng.normal(size=(n, 9)), y=labels(n))
    splits = {"train": "train.npz", "test": "test.npz", "val": 0.2}
    imported = read(tmp_path, define(input={"key": "x"}, splits=splits))
    assert {s: len(imported.splits[s].x) for s in SPLITS} == {"train": 24, "val": 6, "test": 9}
    assert imported.splits["test"].sample_id.min() == 30


def test_shares_are_stratified_and_of_a_seed(tmp_path, rng):
    y = np.repeat([0, 1, 2], [50, 30, 20])
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(100, 9)), y=y)
    found = [read(tmp_path, define(splits={"seed": seed})) for seed in (0, 0, 1)]
    counts = {s: np.bincount(found[0].splits[s].y).tolist() for s in SPLITS}
    assert counts == {"train": [35, 21, 14], "val": [5, 3, 2], "test": [10, 6, 4]}
    ids = [each.splits["test"].sample_id.tolist() for each in found]
    assert ids[0] == ids[1] != ids[2]


def test_no_group_is_in_two_splits(tmp_path, rng):
    groups = np.repeat([f"wafer {i}" for i in range(10)], 4)
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(N, 9)), y=labels(N), wafer=groups)
    imported = read(tmp_path, define(splits={"group": "wafer"}))
    of = {s: set(groups[imported.splits[s].sample_id]) for s in SPLITS}
    assert not of["train"] & of["test"]
    assert not of["train"] & of["val"]
    assert not of["val"] & of["test"]
    assert {s: len(g) for s, g in of.items()} == {"train": 7, "val": 1, "test": 2}


def test_a_column_says_the_split(tmp_path, rng):
    column = np.array(["train"] * 25 + ["val"] * 5 + ["test"] * 10)
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(N, 9)), y=labels(N), part=column)
    imported = read(tmp_path, define(splits={"column": "part"}))
    for split in SPLITS:
        found = np.sort(imported.splits[split].sample_id)
        np.testing.assert_array_equal(found, np.flatnonzero(column == split))


def test_several_files_and_globs_are_one_set(tmp_path, rng):
    parts = [rng.normal(size=(n, 9)) for n in (10, 12, 8)]
    for number, x in enumerate(parts):
        np.savez(tmp_path / f"part-{number}.npz", x=x, y=labels(len(x)))
    imported = read(tmp_path, define(input={"path": "part-*.npz", "key": "x"}))
    expected = np.concatenate(parts)[:, None].astype(np.float32)
    np.testing.assert_array_equal(in_order(imported, "x"), expected)


def test_outputs_may_have_files_of_their_own(tmp_path, rng):
    x = rng.normal(size=(N, 9))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "labels.npy", labels(N))
    definition = define(input={"path": "x.npy"}, target={"path": "labels.npy"})
    assert list(OwnReader(definition).find([tmp_path])) == ["x.npy", "labels.npy"]
    imported = read(tmp_path, definition)
    np.testing.assert_array_equal(in_order(imported, "y"), labels(N))
    np.testing.assert_array_equal(in_order(imported, "x")[:, 0], x.astype(np.float32))


def save_splits(path, rng):
    np.savez(
        path,
        X_train=rng.normal(size=(N, 9)),
        y_train=labels(N),
        X_test=rng.normal(size=(15, 9)),
        y_test=labels(15),
    )


def by_arrays(**target):
    return define(
        input={"path": "data.npz", "key": "X_train"},
        target={"key": "y_train", **target},
        splits={"val": 0.25, "test": {"input": "X_test", "target": "y_test"}},
    )


def test_arrays_of_a_split_in_the_same_file_are_this_split(tmp_path, rng):
    save_splits(tmp_path / "data.npz", rng)
    imported = read(tmp_path, by_arrays())
    assert {name: len(split.y) for name, split in imported.splits.items()} == {
        "train": 30,
        "val": 10,
        "test": 15,
    }
    test = imported.splits["test"]
    with np.load(tmp_path / "data.npz") as stored:
        expected = stored["X_test"][test.sample_id - N].astype(np.float32)
    np.testing.assert_array_equal(test.x[:, 0], expected)
    np.testing.assert_array_equal(test.y, labels(15)[test.sample_id - N])


def test_arrays_of_a_split_may_have_a_file_of_outputs(tmp_path, rng):
    save_splits(tmp_path / "data.npz", rng)
    save_splits(tmp_path / "outputs.npz", rng)
    imported = read(tmp_path, by_arrays(path="outputs.npz"))
    assert len(imported.splits["test"].y) == 15


def test_an_array_of_a_split_that_is_not_there_is_refused(tmp_path, rng):
    np.savez(tmp_path / "data.npz", X_train=rng.normal(size=(N, 9)), y_train=labels(N))
    refused(tmp_path, by_arrays(), "no array `X_test`")


def test_a_class_that_is_never_scored_is_named(tmp_path, rng):
    y = np.array(["rare", *["a", "b"] * 20])
    part = np.array(["train"] * 21 + ["val"] * 10 + ["test"] * 10)
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(41, 9)), y=y, split=part)
    notes = read(tmp_path, define(splits={"column": "split"})).description["notes"]
    assert notes == ["1 class with training samples alone, never scored, such as `rare`"]


def test_a_folder_of_very_many_files_is_refused_with_the_limit(monkeypatch, tmp_path):
    monkeypatch.setattr("trainables.tasks.own.files.MAX_FILES", 3)
    for number in range(4):
        (tmp_path / f"{number}.txt").touch()
    refused(
        tmp_path,
        define(input={"path": "."}),
        "more than 3 files and folders are in and below it",
        ("input", "path"),
    )


def test_hidden_files_and_folders_are_not_looked_into(tmp_path):
    (tmp_path / "data" / ".git").mkdir(parents=True)
    for name in ("data/x.npz", "data/.git/other.npz", "data/.x.npz"):
        np.savez(tmp_path / name, x=np.ones((N, 9)) * np.arange(N)[:, None], y=labels(N))
    imported = read(tmp_path, define(input={"path": "data", "key": "x"}))
    assert sum(len(split.sample_id) for split in imported.splits.values()) == N
