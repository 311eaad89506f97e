"""Energy distance: SciPy's on the line, and laws."""

import pytest
import torch
from scipy.stats import energy_distance

from tests.support.shapes import normal
from trainables.distances.energy import energy
from trainables.distances.euclidean import distance_of_means


def test_on_the_line_it_is_the_square_of_scipys():
    x, y = normal(9, 1, seed=0), 2 * normal(14, 1, seed=1)
    assert energy(x, y).item() == pytest.approx(energy_distance(x[:, 0], y[:, 0]) ** 2)


def test_equal_samples_are_at_zero_with_a_gradient_and_in_any_order():
    x = normal(20, 3, seed=0).float()
    y = x.flip(0).requires_grad_()
    value = energy(x, y)
    (gradient,) = torch.autograd.grad(value, y)
    assert value.item() == pytest.approx(0, abs=1e-7)
    assert gradient.abs().max() < 1e-6


def test_its_unit_is_that_of_the_features_whatever_the_place():
    x, y = normal(7, 3, seed=0), normal(5, 3, seed=1)
    torch.testing.assert_close(energy(4 * x + 1, 4 * y + 1), 4 * energy(x, y))


def test_far_apart_it_is_twice_the_distance_of_the_means():
    x, y = normal(7, 3, seed=0), normal(5, 3, seed=1) + 1e6
    assert energy(x, y).item() == pytest.approx(2 * distance_of_means(x, y).item(), rel=1e-5)


def test_samples_of_one_mean_and_another_shape_are_apart_as_the_means_are_not():
    x = torch.tensor([[-1.0], [1.0]])
    assert distance_of_means(x, 3 * x).item() == 0
    assert energy(x, 3 * x).item() == pytest.approx(2 * 3 - 1 - 3)


@pytest.mark.slow
def test_its_bias_is_the_spread_of_each_sample_over_its_size():
    x, y = normal(8_000, 1, seed=0), normal(8_000, 1, seed=1)
    of_batches = torch.stack([energy(a, b) for a, b in zip(x.split(4), y.split(4), strict=True)])
    spread = 2 / torch.pi**0.5  # E|x - x'| of two standard normal numbers
    assert of_batches.mean().item() == pytest.approx(spread / 4 + spread / 4, rel=0.05)
