"""The digits that scikit-learn ships."""

import numpy as np
from sklearn.datasets import load_digits as read_digits

from trainables.sources.digits import load_digits


def test_digits_are_scikit_learns_on_the_scale_of_bytes(tmp_path):
    proxy = load_digits(tmp_path)
    grey = read_digits().images
    assert proxy.images.shape == (1797, 3, 8, 8)
    assert proxy.images.dtype == np.uint8
    assert proxy.labels.dtype == np.int64
    assert proxy.images.max() == 255
    for channel in range(3):
        np.testing.assert_allclose(proxy.images[:, channel] / 255, grey / 16, atol=0.5 / 255)
    np.testing.assert_array_equal(proxy.labels, read_digits().target)


def test_normalised_digits_have_mean_zero_and_variance_one(tmp_path):
    proxy = load_digits(tmp_path)
    pixels = (proxy.images[:, 0] / 255 - proxy.mean[0]) / proxy.std[0]
    np.testing.assert_allclose([pixels.mean(), pixels.std()], [0, 1], atol=1e-9)
