import numpy as np
import pytest

from tests.support import real_data
from tests.support.published.nasbench360 import write_satellite
from trainables.errors import DataError
from trainables.spec import DataSpec
from trainables.tasks.importing import import_task
from trainables.tasks.loading import load_task
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


@pytest.mark.filterwarnings("ignore:Missing constructor for R class")
def test_real_series_are_imported(tmp_path):
    """Two indices of vegetation at 23 times, one after the other, are 46 numbers too."""
    path = real_data.need("satellite_modis/cerrado_2classes.rda")
    rdata = pytest.importorskip("rdata")
    (samples,) = rdata.read_rda(path).values()
    x = np.stack([s[["NDVI", "EVI"]].to_numpy().T.ravel() for s in samples["time_series"]])
    kinds, y = np.unique(samples["label"].to_numpy(dtype=str), return_inverse=True)
    order = np.random.default_rng(0).permutation(len(y))
    folder = write_satellite(tmp_path / "published", x[order], 1 + y[order], test=146)
    import_task("nasbench360/satellite", [folder], tmp_path)
    task = load_task("nasbench360/satellite", DataSpec(), tmp_path)
    assert kinds.tolist() == ["Cerrado", "Pasture"]
    assert [len(s) for s in (task.train, task.val, task.test)] == [540, 60, 146]
    assert np.abs(task.train.x[:]).max() < 1.1
    assert 0.3 < task.baselines["majority"] < 0.7
