"""Moments in blocks against NumPy's in memory."""

import numpy as np
import pytest

from trainables.tasks.store.statistics import (
    STD_OFFSET,
    Standardiser,
    channel_statistics,
    mean_and_std,
    mean_of,
)


def samples(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(3, 5, shape).astype(np.float32)


@pytest.fixture(autouse=True, params=[100, 2**26])
def block_bytes(request, monkeypatch):
    monkeypatch.setattr("trainables.tasks.store.arrays.BLOCK_BYTES", request.param)


@pytest.mark.parametrize("shape", [(300, 1, 16), (50, 2, 8, 8), (1, 1, 9)])
def test_moments_of_each_point_have_numpy_s_bits(shape):
    rows = samples(*shape)
    mean, std = mean_and_std(rows)
    assert mean.tobytes() == rows.mean(axis=0, dtype=np.float64).tobytes()
    assert std.tobytes() == rows.std(axis=0, dtype=np.float64).tobytes()
    assert mean_of(rows).tobytes() == mean.tobytes()


def test_statistics_are_those_of_each_channel():
    rows = samples(200, 3, 4, 4)
    statistics = channel_statistics(rows)
    for name, values in statistics.items():
        expected = getattr(rows.astype(np.float64), name)(axis=(0, 2, 3))
        np.testing.assert_allclose(values, expected, rtol=1e-13)


def test_a_constant_channel_does_not_vary():
    statistics = channel_statistics(np.full((70, 1, 5), 0.1, dtype=np.float32))
    assert statistics["std"] == [0.0]
    assert statistics["min"] == statistics["max"] == statistics["mean"]


def test_training_samples_have_mean_zero_and_deviation_one_at_each_point():
    rows = np.random.default_rng(0).normal(3, 2, size=(50, 1, 6)).astype(np.float32)
    standardise = Standardiser.of(rows.mean(0, dtype=np.float64), rows.std(0, dtype=np.float64))
    standard = standardise(rows)
    assert standard.dtype == np.float32
    assert standard.mean(0) == pytest.approx(0, abs=1e-5)
    assert standard.std(0) == pytest.approx(1, abs=1e-4)
    assert standardise.rule["mean"] == standardise.shift.tolist()
    assert standardise.rule["scale"] == standardise.scale.tolist()


def test_a_point_that_never_varies_stays_finite():
    standardise = Standardiser.of(np.full(3, 2.0), np.zeros(3))
    assert standardise.scale == pytest.approx(STD_OFFSET)
    assert standardise(np.full((4, 3), 2.0, dtype=np.float32)).tolist() == [[0, 0, 0]] * 4
