import pickle

import numpy as np
import pytest

from trainables.tasks.store.rows import PairFeatures, StoredRows, pack, present
from trainables.tasks.store.split import Rows

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


R, M, L, SIDE, START = 4, 3, 6, 10, 2


@pytest.fixture
def proteins():
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(R, L - n)), rng.normal(size=(M, L - n, L - n))) for n in range(3)]


@pytest.fixture
def features(proteins) -> PairFeatures:
    packed = np.stack([pack(*protein, side=SIDE, start=START) for protein in proteins])
    return PairFeatures(packed, num_maps=M)


def image_by_definition(residues: np.ndarray, maps: np.ndarray) -> np.ndarray:
    image = np.zeros((2 * R + M, SIDE, SIDE))
    for i in range(residues.shape[1]):
        for j in range(residues.shape[1]):
            for c in range(R):
                image[2 * c, START + i, START + j] = residues[c, j]
                image[2 * c + 1, START + i, START + j] = residues[c, i]
            image[2 * R :, START + i, START + j] = maps[:, i, j]
    return image


def test_an_image_is_what_the_definition_says(proteins, features):
    for row, protein in enumerate(proteins):
        np.testing.assert_allclose(features[row], image_by_definition(*protein), rtol=1e-6)


def test_rows_are_read_by_indices_as_from_an_array(features):
    whole = np.stack([features[row] for row in range(3)])
    for indices in (np.array([2, 0]), np.array([1, 1]), slice(0, 2), [True, False, True]):
        np.testing.assert_array_equal(features[indices], whole[indices])


def test_it_has_the_shape_and_type_of_what_it_yields(features):
    images = features[np.arange(3)]
    assert isinstance(features, Rows)
    assert features.shape == images.shape == (len(features), 2 * R + M, SIDE, SIDE)
    assert features.dtype == images.dtype == np.float32


def test_only_what_is_asked_for_is_unpacked(proteins):
    packed = np.stack([pack(*protein, side=SIDE, start=START) for protein in proteins])
    packed[1:] = np.nan
    assert np.isfinite(PairFeatures(packed, num_maps=M)[np.array([0])]).all()


def test_a_protein_that_does_not_fit_is_refused(proteins):
    with pytest.raises(ValueError, match="broadcast"):
        pack(*proteins[0], side=SIDE, start=SIDE - L + 1)
