import numpy as np
import pytest

from tests.support.published.nasbench360 import write_deepsea
from trainables.errors import DataError
from trainables.spec import DataSpec
from trainables.tasks.importing import import_task
from trainables.tasks.loading import load_task
from trainables.tasks.nas_bench_360.deepsea import read


def published(folder) -> tuple[np.ndarray, np.ndarray]:
    """Return sequence and features of all parts, one after another."""
    with np.load(folder / "deepsea_filtered.npz") as arrays:
        parts = ("train", "val", "test")
        return tuple(np.concatenate([arrays[f"{k}_{p}"] for p in parts]) for k in "xy")


@pytest.mark.parametrize("dtype", ["float32", "uint8", "bool", "int64"])
def test_bases_come_first_and_every_sequence_has_its_features(tmp_path, dtype):
    folder = write_deepsea(tmp_path, dtype=dtype)
    x, y = published(folder)
    for data in read([folder], tmp_path).splits.values():
        assert data.x.dtype == np.uint8
        np.testing.assert_array_equal(data.x, x[data.sample_id].transpose(0, 2, 1))
        np.testing.assert_array_equal(data.y, y[data.sample_id])


def test_reading_a_few_at_a_time_changes_nothing(tmp_path, monkeypatch):
    folder = write_deepsea(tmp_path)
    whole = read([folder], tmp_path).splits["train"].x.copy()
    monkeypatch.setattr("trainables.tasks.nas_bench_360.deepsea.CHUNK", 7)
    np.testing.assert_array_equal(read([folder], tmp_path).splits["train"].x, whole)


def test_the_official_validation_set_trains_too_and_the_test_set_stays(tmp_path):
    splits = read([write_deepsea(tmp_path)], tmp_path).splits
    assert {name: len(data.y) for name, data in splits.items()} == {
        "train": 45,
        "val": 5,
        "test": 30,
    }
    assert sorted(splits["test"].sample_id) == list(range(50, 80))


def test_the_imported_sequences_are_read_as_numbers(tmp_path):
    folder = write_deepsea(tmp_path / "published")
    import_task("nasbench360/deepsea", [folder], tmp_path)
    task = load_task("nasbench360/deepsea", DataSpec(), tmp_path)
    sequences = task.train.x[np.arange(3)]
    assert sequences.dtype == np.float32
    np.testing.assert_array_equal(sequences.sum(axis=1), np.ones((3, 1000)))
    assert task.output_shape == (36,)
    assert task.baselines == {"prior": 0.5}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"y_val": np.zeros((10, 35))}, r"y_val must be \[n, 36\], but is \[10, 35\]"),
        ({"x_val": np.zeros((9, 1000, 4))}, r"x_val must be \[10, 1000, 4\].*is float64\[9, 1000"),
        ({"x_train": np.full((40, 1000, 4), 0.5)}, "x_train must be of 0 and 1"),
        ({"x_train": np.full((40, 1000, 4), np.nan)}, "x_train must be of 0 and 1"),
        ({"x_train": np.asfortranarray(np.zeros((40, 1000, 4)))}, "row by row"),
    ],
)
def test_arrays_that_are_not_deepsea_s_are_refused(tmp_path, change, fault):
    path = write_deepsea(tmp_path) / "deepsea_filtered.npz"
    with np.load(path) as arrays:
        stored = dict(arrays) | change
    np.savez_compressed(path, **stored)
    with pytest.raises(DataError, match=fault):
        read([path], tmp_path)


def test_a_file_that_is_damaged_or_lacks_an_array_is_named(tmp_path):
    path = write_deepsea(tmp_path) / "deepsea_filtered.npz"
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"deepsea_filtered\.npz: .*Fetch"):
        read([path], tmp_path)
    np.savez(path, x_train=np.zeros(3))
    with pytest.raises(DataError, match=r"filtered\.npz: it has no member y_train\.npy"):
        read([path], tmp_path)
