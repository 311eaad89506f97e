"""CIFAR-10's binary layout: a byte of label, then the red, green and blue planes."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.support import real_data
from trainables.errors import DataError
from trainables.sources.cifar10 import BATCHES, RECORD_BYTES, find_cifar10_fault, load_cifar10


def write_batches(folder: Path, *, records: int = 4, seed: int = 0) -> np.ndarray:
    """Write five batches of random records, and return them, uint8 [5 * records, 3073]."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    rows = random.integers(0, 256, (5 * records, RECORD_BYTES), dtype=np.uint8)
    rows[:, 0] = random.integers(0, 10, len(rows))
    for name, batch in zip(BATCHES, np.split(rows, 5), strict=True):
        (folder / name).write_bytes(batch.tobytes())
    return rows


def root(home: Path) -> Path:
    return home / "proxies" / "cifar10"


@pytest.mark.parametrize("nested", ["", "cifar-10-batches-bin"])
def test_a_record_is_a_label_and_three_planes_row_by_row(tmp_path, nested):
    rows = write_batches(root(tmp_path) / nested)
    proxy = load_cifar10(tmp_path)
    assert proxy.images.shape == (20, 3, 32, 32)
    assert proxy.images.dtype == np.uint8
    assert proxy.labels.tolist() == rows[:, 0].tolist()
    record, channel, y, x = 13, 2, 5, 31
    assert proxy.images[record, channel, y, x] == rows[record, 1 + channel * 1024 + y * 32 + x]


def test_real_images_come_back_as_they_were(tmp_path):
    with np.load(real_data.need("cifar10_subset_6000.npz")) as arrays:
        x, y = arrays["x_train"], arrays["y_train"]
    planes = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    records = np.concatenate([y.astype(np.uint8)[:, None], planes], axis=1)
    root(tmp_path).mkdir(parents=True)
    for name, batch in zip(BATCHES, np.split(records, 5), strict=True):
        (root(tmp_path) / name).write_bytes(batch.tobytes())
    proxy = load_cifar10(tmp_path)
    np.testing.assert_array_equal(proxy.images.transpose(0, 2, 3, 1), x)
    np.testing.assert_array_equal(proxy.labels, y)
    np.testing.assert_allclose((proxy.images / 255).mean((0, 2, 3)), proxy.mean, atol=0.02)


def test_the_pickled_version_is_recognised_and_not_opened(tmp_path):
    (root(tmp_path) / "cifar-10-batches-py").mkdir(parents=True)
    assert "pickled and not opened" in find_cifar10_fault(tmp_path)


def test_a_missing_batch_is_named(tmp_path):
    write_batches(root(tmp_path))
    (root(tmp_path) / "data_batch_3.bin").unlink()
    assert "lacks data_batch_3.bin" in find_cifar10_fault(tmp_path)


@pytest.mark.parametrize("kept", [0, 1, RECORD_BYTES - 1, 4 * RECORD_BYTES - 1])
def test_a_batch_that_is_cut_short_is_named(tmp_path, kept):
    write_batches(root(tmp_path))
    os.truncate(root(tmp_path) / "data_batch_5.bin", kept)
    with pytest.raises(DataError, match=rf"data_batch_5\.bin is cut short.* is {kept}\."):
        load_cifar10(tmp_path)


def test_a_label_above_nine_names_the_record(tmp_path):
    rows = write_batches(root(tmp_path))
    rows[6, 0] = 10
    (root(tmp_path) / "data_batch_2.bin").write_bytes(rows[4:8].tobytes())
    with pytest.raises(DataError, match=r"record 2 of .*data_batch_2\.bin has 10"):
        load_cifar10(tmp_path)
