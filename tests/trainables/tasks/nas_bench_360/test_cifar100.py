import pickle
import tarfile

import numpy as np
import pytest

from tests.support.published.nasbench360 import write_cifar100
from trainables.errors import DataError
from trainables.spec import DataSpec
from trainables.tasks.importing import import_task
from trainables.tasks.loading import load_task
from trainables.tasks.nas_bench_360.cifar100 import read

MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)


def published(root, part: str) -> tuple[np.ndarray, np.ndarray]:
    batch = pickle.loads((root / part).read_bytes())
    return batch["data"], np.array(batch["fine_labels"])


def as_binary(root, folder) -> None:
    folder.mkdir()
    for part in ("train", "test"):
        pixels, fine = published(root, part)
        records = np.column_stack([fine // 5, fine, pixels]).astype(np.uint8)
        (folder / f"{part}.bin").write_bytes(records.tobytes())


def test_every_image_comes_back_with_its_label_standardised_by_channel(tmp_path):
    root = write_cifar100(tmp_path)
    import_task("nasbench360/cifar100", [root], tmp_path)
    task = load_task("nasbench360/cifar100", DataSpec(), tmp_path)
    pixels, labels = published(root, "test")
    colours = pixels.reshape(-1, 3, 1024) / 255
    expected = (colours - np.reshape(MEAN, (3, 1))) / np.reshape(STD, (3, 1))
    order = np.lexsort(expected.reshape(len(labels), -1).T[:3])
    found = task.test.x[np.arange(40)].reshape(40, -1)
    place = np.lexsort(found.T[:3])
    np.testing.assert_allclose(found[place], expected.reshape(40, -1)[order], atol=1e-5)
    np.testing.assert_array_equal(task.test.y[place], labels[order])


@pytest.mark.slow
def test_a_tenth_of_each_class_validates(tmp_path):
    splits = read([write_cifar100(tmp_path, train=2000)], tmp_path).splits
    assert np.bincount(splits["val"].y).tolist() == [2] * 100
    assert np.bincount(splits["train"].y).tolist() == [18] * 100


def test_sample_ids_are_places_in_the_published_files(tmp_path):
    root = write_cifar100(tmp_path)
    splits = read([root], tmp_path).splits
    train, test = published(root, "train"), published(root, "test")
    pixels, labels = (np.concatenate(parts) for parts in zip(train, test, strict=True))
    for data in splits.values():
        np.testing.assert_array_equal(data.x.reshape(-1, 3072), pixels[data.sample_id])
        np.testing.assert_array_equal(data.y, labels[data.sample_id])


@pytest.mark.slow
def test_the_binary_version_and_the_archive_hold_the_same(tmp_path):
    root = write_cifar100(tmp_path)
    as_binary(root, tmp_path / "cifar-100-binary")
    with tarfile.open(tmp_path / "cifar-100-python.tar.gz", "w:gz") as archive:
        archive.add(root, "cifar-100-python")
    first = read([root], tmp_path).splits
    for files in (tmp_path / "cifar-100-binary", tmp_path / "cifar-100-python.tar.gz"):
        splits = read([files], tmp_path).splits
        for split, data in splits.items():
            np.testing.assert_array_equal(data.x, first[split].x)
            np.testing.assert_array_equal(data.y, first[split].y)


def test_what_is_damaged_is_named(tmp_path):
    root = write_cifar100(tmp_path)
    as_binary(root, tmp_path / "binary")
    path = tmp_path / "binary" / "test.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"test\.bin: it is cut short at byte \d+.* of 3074"):
        read([tmp_path / "binary"], tmp_path)
    (root / "train").write_bytes(pickle.dumps({"data": 1}))
    with pytest.raises(DataError, match="train must hold `data` and `fine_labels`"):
        read([root], tmp_path)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"fine_labels": [100] * 400}, r"labels of train must lie in 0\.\.99"),
        ({"fine_labels": [0] * 399}, "3072 bytes of pixels for each of 399 labels"),
        ({"data": np.zeros((400, 3072))}, r"but they are float64\[400, 3072\]"),
    ],
)
def test_values_that_are_not_cifar_s_are_refused(tmp_path, change, fault):
    root = write_cifar100(tmp_path)
    batch = pickle.loads((root / "train").read_bytes()) | change
    (root / "train").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(DataError, match=fault):
        read([root], tmp_path)
