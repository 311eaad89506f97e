"""The controls: the same each time, and of no use to anyone who would learn from them."""

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import cross_val_score

from trainables.sources.noise import load_noise, load_noise_words


def test_noise_is_the_same_each_time(tmp_path):
    first, again = load_noise(tmp_path), load_noise(tmp_path)
    for name in ("images", "labels", "masks"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.content_hash == again.content_hash
    assert load_noise_words(tmp_path) == load_noise_words(tmp_path)


def test_normalised_pixels_are_standard_normal(tmp_path):
    proxy = load_noise(tmp_path)
    pixels = (proxy.images[:20] / 255 - proxy.mean[0]) / proxy.std[0]
    step = 1 / 255 / proxy.std[0]  # of a byte; spread evenly over it, pixels are continuous
    spread = np.random.default_rng(0).uniform(-step / 2, step / 2, pixels.shape)
    assert kstest((pixels + spread).ravel(), "norm").pvalue > 0.01


def test_neither_labels_nor_masks_can_be_told_from_pixels(tmp_path):
    proxy = load_noise(tmp_path)
    coarse = proxy.images.reshape(2000, 3, 8, 4, 8, 4).mean((3, 5)).reshape(2000, -1)
    scores = cross_val_score(RidgeClassifier(), coarse, proxy.labels, cv=5)
    assert scores.mean() == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / 2000))
    pixels = proxy.images.mean(1).ravel()
    assert abs(np.corrcoef(pixels, proxy.masks.ravel())[0, 1]) < 4 / np.sqrt(pixels.size)
    assert proxy.masks.mean() == pytest.approx(0.5, abs=0.01)


def test_words_come_in_runs_of_a_label_and_do_not_tell_it(tmp_path):
    proxy = load_noise_words(tmp_path)
    assert all(len(set(line)) == 1 for line in proxy.labels)
    vocabulary = sorted({word for line in proxy.sentences for word in line})
    counts = np.array([[line.count(word) for word in vocabulary] for line in proxy.sentences])
    labels = np.array([line[0] for line in proxy.labels])
    assert np.bincount(labels).min() >= 90
    scores = cross_val_score(RidgeClassifier(), counts, labels, cv=5)
    assert scores.mean() == pytest.approx(1 / 8, abs=4 * np.sqrt(7 / 64 / 1000))
