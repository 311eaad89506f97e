import numpy as np
import pytest

from tests.support.published.nasbench360 import write_satellite
from trainables.errors import DataError
from trainables.tasks.nas_bench_360.satellite import read


def series(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 46)), 1 + np.arange(n) % 24


def test_series_come_back_as_they_are_with_labels_from_zero(tmp_path):
    x, y = series()
    splits = read([write_satellite(tmp_path, x, y, test=20)], tmp_path).splits
    assert {name: len(data.y) for name, data in splits.items()} == {
        "train": 36,
        "val": 4,
        "test": 20,
    }
    for data in splits.values():
        np.testing.assert_array_equal(data.x[:, 0], x[data.sample_id].astype(np.float32))
        np.testing.assert_array_equal(data.y, y[data.sample_id] - 1)
    assert min(splits["test"].sample_id) == 40


@pytest.mark.parametrize(
    ("stored", "fault"),
    [
        ({"data": np.zeros((3, 46))}, "a dictionary with `data` and `label`"),
        (np.zeros((3, 46)), "a dictionary with `data` and `label`"),
        ({"data": np.zeros((3, 45)), "label": np.ones(3)}, r"must be \[3, 46\].*is \[3, 45\]"),
        ({"data": np.zeros((3, 46)), "label": np.arange(3)}, r"whole numbers of 1\.\.24"),
        ({"data": np.zeros((3, 46)), "label": np.full(3, 25)}, r"whole numbers of 1\.\.24"),
    ],
)
def test_another_layout_is_refused(tmp_path, stored, fault):
    folder = write_satellite(tmp_path, *series(), test=20)
    np.save(folder / "satellite_train.npy", stored)
    with pytest.raises(DataError, match=rf"satellite_train\.npy: .*{fault}"):
        read([folder], tmp_path)
