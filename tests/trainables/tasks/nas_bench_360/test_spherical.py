import gzip
import pickle

import numpy as np
import pytest

from tests.support.published.nasbench360 import write_spherical
from trainables.errors import DataError
from trainables.spec import DataSpec
from trainables.tasks.importing import import_task
from trainables.tasks.loading import load_task
from trainables.tasks.nas_bench_360.spherical import read


def published(folder) -> dict:
    with gzip.open(folder / "s2_cifar100.gz") as file:
        return pickle.load(file)


def test_images_come_back_in_the_unit_interval_with_their_labels(tmp_path):
    folder = write_spherical(tmp_path / "published")
    import_task("nasbench360/spherical", [folder / "s2_cifar100.gz"], tmp_path)
    task = load_task("nasbench360/spherical", DataSpec(), tmp_path)
    assert task.input_shape == (3, 60, 60)
    ids = read([folder], tmp_path).splits["test"].sample_id - 210
    stored = published(folder)["test"]
    expected = stored["images"][ids].astype(np.float32) / 255
    np.testing.assert_allclose(task.test.x[np.arange(20)], expected, atol=1e-7)
    np.testing.assert_array_equal(task.test.y, stored["labels"][ids])


def test_some_of_each_class_validate(tmp_path):
    splits = read([write_spherical(tmp_path)], tmp_path).splits
    assert np.bincount(splits["val"].y).tolist() == [1] * 100


@pytest.mark.parametrize(
    ("stored", "fault"),
    [
        ([1, 2], "it must hold `train`"),
        ({"train": {"images": np.zeros((2, 3, 60, 60))}}, "it must hold `train`"),
        (
            {"train": {"images": np.zeros((2, 3, 60, 60)), "labels": np.arange(2)}},
            r"an image uint8\[3, 60, 60\] for each of 2 labels, but they are float64",
        ),
        (
            {"train": {"images": np.zeros((2, 3, 60, 60), np.uint8), "labels": [0, 100]}},
            "labels of train must lie in",
        ),
    ],
)
def test_another_layout_is_refused(tmp_path, stored, fault):
    with gzip.open(tmp_path / "s2_cifar100.gz", "wb") as file:
        pickle.dump(stored, file)
    with pytest.raises(DataError, match=fault):
        read([tmp_path], tmp_path)
