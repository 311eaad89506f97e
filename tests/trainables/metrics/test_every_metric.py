"""Laws of every metric: of batches, of numbers that are not finite, and of no samples."""

import math

import pytest

from tests.support.measured_pairs import KINDS, pair, value
from trainables.errors import DataError
from trainables.metrics import METRICS

every_metric = pytest.mark.parametrize("name", METRICS)


@every_metric
@pytest.mark.parametrize("batch", [1, 5])
def test_the_value_of_a_split_does_not_depend_on_its_batches(name, batch):
    batches = value(name, *pair(KINDS[name]), batch=batch)
    assert batches == pytest.approx(value(name, *pair(KINDS[name])), rel=1e-9)


@every_metric
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_prediction_that_is_not_finite_shows(name, bad):
    prediction, target = pair(KINDS[name])
    prediction = prediction.clone()
    prediction[1] = bad
    assert not math.isfinite(value(name, prediction, target))


@pytest.mark.parametrize("name", [n for n, kind in KINDS.items() if kind != "class"])
@pytest.mark.parametrize("samples", [1, 12])
def test_a_target_that_is_nan_shows_and_is_not_taken_for_zero_or_absent(name, samples):
    prediction, target = pair(KINDS[name])
    target = target.clone()
    values = target[:, :1] if KINDS[name] in ("known", "masked") else target  # not the masks
    values[:samples] = math.nan
    assert math.isnan(value(name, prediction, target))


@every_metric
def test_there_is_no_value_without_samples(name):
    with pytest.raises(DataError, match=f"`{name}` (of no samples|needs pixels)"):
        METRICS[name]().compute()
