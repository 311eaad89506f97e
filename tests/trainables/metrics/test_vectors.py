import numpy as np
import pytest
from sklearn import metrics as reference

from tests.support.measured_pairs import value
from trainables.errors import DataError

RNG = np.random.default_rng(0)
THEIRS = {
    "rmse": reference.root_mean_squared_error,
    "mae": reference.mean_absolute_error,
    "one_minus_r2": lambda y, p: 1 - reference.r2_score(y, p),
}
SCALES = np.array([1e-6, 1.0, 1e5])


def vectors(n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets of k outputs on several scales, and predictions near them."""
    target = RNG.normal(3, 1, size=(n, k)) * SCALES[:k]
    return target + 0.5 * RNG.normal(size=(n, k)) * SCALES[:k], target


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 7, 50])
def test_values_are_those_of_scikit_learn_whatever_the_batches(name, outputs, batch):
    prediction, target = vectors(50, outputs)
    expected = THEIRS[name](target, prediction)
    assert value(name, prediction, target, batch=batch) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", THEIRS)
def test_constant_outputs_count_as_in_scikit_learn(name):
    prediction, target = vectors(20, 2)
    target[:, 1] = 0.1
    for constant in (0.1, 0.3):
        prediction[:, 1] = constant
        expected = THEIRS[name](target, prediction)
        assert value(name, prediction, target, batch=7) == pytest.approx(expected, rel=1e-12)


def test_a_large_offset_does_not_cancel_the_spread():
    prediction, target = (array[:, 1:] for array in vectors(40, 2))
    shifted = value("one_minus_r2", prediction + 1e9, target + 1e9, batch=3)
    assert shifted == pytest.approx(THEIRS["one_minus_r2"](target, prediction), rel=1e-4)


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_prediction_that_is_not_finite_is_not_hidden(name, number):
    prediction, target = vectors(10, 2)
    prediction[3, 1] = number
    assert not np.isfinite(value(name, prediction, target, batch=7))
    target[:, 1] = 2.0
    assert name == "one_minus_r2" or not np.isfinite(value(name, prediction, target, batch=7))
    if np.isnan(number):
        assert np.isnan(value(name, prediction, target, batch=7))


def test_r2_needs_two_samples():
    with pytest.raises(DataError, match="two samples"):
        value("one_minus_r2", np.zeros((1, 2)), np.ones((1, 2)))
