import pickle

import numpy as np
import pytest

from trainables.tasks.store.pair_features import PairFeatures
from trainables.tasks.store.stored_rows import StoredRows, present

SCALING = {"mean": [10.0, 20.0], "std": [2.0, 4.0]}


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_rows_are_standardised_by_channel_as_they_are_read(dtype):
    array = np.arange(48).reshape(4, 2, 2, 3).astype(dtype)
    rows = StoredRows(array, SCALING)
    read = rows[np.array([2, 0])]
    mean, std = (np.array(SCALING[key]).reshape(2, 1, 1) for key in ("mean", "std"))
    np.testing.assert_allclose(read, (array[[2, 0]] - mean) / std, rtol=1e-6)
    assert read.dtype == rows.dtype == np.float32
    assert (rows.shape, len(rows)) == (array.shape, 4)


def test_one_row_and_a_slice_are_read_alike():
    array = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)
    rows = StoredRows(array, SCALING)
    np.testing.assert_array_equal(rows[1], rows[np.array([1])][0])
    np.testing.assert_array_equal(rows[:2], rows[np.array([0, 1])])


def test_without_a_scaling_values_stay_as_they_are():
    array = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)
    np.testing.assert_array_equal(StoredRows(array)[np.arange(3)], array)


def test_what_is_float32_already_is_presented_as_it_is():
    array = np.zeros((2, 1, 4), dtype=np.float32)
    assert present(array, {}) is array
    assert isinstance(present(array.astype(np.uint8), {}), StoredRows)
    assert isinstance(present(array, {"input_scaling": {"mean": [0.0], "std": [1.0]}}), StoredRows)


def test_packed_pairs_are_presented_as_pair_features():
    packed = np.zeros((2, 3 + 1 + 2 * 8, 8), dtype=np.float16)
    assert present(packed, {"pair_features": {"num_maps": 2}}).shape == (2, 8, 8, 8)
    assert isinstance(present(packed, {"pair_features": {"num_maps": 2}}), PairFeatures)


def test_rows_pickle():
    rows = StoredRows(np.arange(24, dtype=np.uint8).reshape(3, 2, 4), SCALING)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(rows))[:], rows[:])
