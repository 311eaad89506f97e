"""The inverse square root as a sum of poles: its accuracy over the interval."""

import numpy as np
import pytest

from trainables.distances.bures import inverse_root_poles


@pytest.mark.parametrize("ratio", [1.0, 1.0 + 1e-15, 3.0, 1e3, 1e6, 1e10, 1e13])
@pytest.mark.parametrize("a", [1e-8, 1.0, 1e5])
def test_the_sum_is_the_inverse_root(a, ratio):
    poles, weights = inverse_root_poles(a, ratio * a)
    x = np.geomspace(a, ratio * a, 500)
    relative = (weights / (x[:, None] + poles)).sum(1) * np.sqrt(x)
    assert np.abs(relative - 1).max() < (2e-12 if ratio < 1e7 else 1e-9)
    assert poles.min() > 0
    assert weights.min() > 0


def test_ten_more_digits_of_range_take_a_few_poles_more():
    assert len(inverse_root_poles(1.0, 1e10)[0]) < 40
    assert len(inverse_root_poles(1.0, 1e300)[0]) < 50


@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_an_interval_that_is_none_is_refused(a, b):
    with pytest.raises(ValueError, match="interval"):
        inverse_root_poles(a, b)
