"""The digits that scikit-learn ships."""

import numpy as np
from sklearn.datasets import load_digits as read_digits

from trainables.sources import digits
from trainables.sources.digits import find_digits_ink_fault, load_digits, load_digits_ink


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


def test_a_mask_is_where_scikit_learns_grey_is_above_half(tmp_path):
    proxy, grey = load_digits_ink(tmp_path), read_digits().images
    np.testing.assert_array_equal(proxy.masks, grey > 8)
    assert proxy.masks.dtype == np.uint8
    assert 0.2 < proxy.masks.mean() < 0.5


def test_images_and_labels_are_those_of_the_digits(tmp_path):
    proxy, plain = load_digits_ink(tmp_path), load_digits(tmp_path)
    np.testing.assert_array_equal(proxy.images, plain.images)
    np.testing.assert_array_equal(proxy.labels, plain.labels)
    assert proxy.content_hash != plain.content_hash


def test_what_keeps_the_digits_keeps_their_ink(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    assert "scikit-learn is not installed" in find_digits_ink_fault(tmp_path)
