import numpy as np
import pytest

from trainables.tasks.store.standardising import STD_OFFSET, Standardiser


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
