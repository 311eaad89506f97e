"""The digits, with their ink as masks."""

import numpy as np
from sklearn.datasets import load_digits as read_digits

from trainables.sources import digits
from trainables.sources.digits import load_digits
from trainables.sources.digits_ink import find_digits_ink_fault, load_digits_ink


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
