import numpy as np
import pytest

from trainables.tasks.store.pair_features import PairFeatures, pack
from trainables.tasks.task import Rows

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
