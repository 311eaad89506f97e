"""MMD: its definition, laws, closed forms between normals, and ORCA's mixture of kernels."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import rbf_kernel
from torch import Tensor

from tests.support.shapes import normal
from trainables.distances.mmd import gram, mmd, pooled_bandwidth
from trainables.errors import DataError

KERNELS = ("rbf_mix", "rbf_single", "imq", "linear")


def mmd_at(x: Tensor, y: Tensor, bandwidth: float, **settings) -> Tensor:
    """The MMD with b at a value, not found from the samples."""
    scale = bandwidth / pooled_bandwidth(x, y, "mean").item()
    return mmd(x, y, bandwidth_scale=scale, **settings)


samples = st.builds(normal, st.integers(2, 8), st.just(3), st.integers(0, 2**16))


def official(x: Tensor, y: Tensor) -> Tensor:
    """ORCA's loss, over equal numbers of samples, by its definition."""
    pooled = torch.cat([x, y])
    squared = (pooled[:, None] - pooled[None]).square().sum(2)
    n = len(pooled)
    bandwidth = squared.detach().sum() / (n**2 - n)
    kernels = sum((-squared / (bandwidth * 2.0 ** (i - 2))).exp() for i in range(5))
    half = len(x)
    xx, yy, xy = kernels[:half, :half], kernels[half:, half:], kernels[:half, half:]
    return (xx + yy - xy - xy.T).mean()


@given(samples, st.integers(0, 2**16))
def test_the_default_is_the_official_mixture_with_its_gradient(x, seed):
    y = (1 + 2 * normal(len(x), 3, seed)).requires_grad_()
    ours, theirs = mmd(x, y), official(x, y)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, y), torch.autograd.grad(theirs, y))


def test_the_bandwidth_follows_the_samples_but_passes_no_gradient():
    x, y = normal(5, 3, seed=0), normal(6, 3, seed=1).requires_grad_()
    mean = pooled_bandwidth(x, y, "mean")
    assert not mean.requires_grad
    assert pooled_bandwidth(x, 3 * y, "mean") > mean
    pairs = torch.pdist(torch.cat([x, y.detach()])).square()
    torch.testing.assert_close(mean, pairs.mean())
    torch.testing.assert_close(pooled_bandwidth(x, y, "median"), pairs.median())


@given(samples, samples, st.sampled_from(KERNELS))
def test_it_is_a_symmetric_nonnegative_function_of_sets(x, y, kernel):
    value = mmd(x, y, kernel=kernel)
    assert value >= -1e-12
    torch.testing.assert_close(value, mmd(y, x, kernel=kernel))
    torch.testing.assert_close(value, mmd(x.flip(0), y, kernel=kernel))
    assert mmd(x, x, kernel=kernel).abs() < 1e-12


@given(samples, samples, st.sampled_from(KERNELS))
def test_every_kernel_matrix_is_positive_semidefinite(x, y, kernel):
    pooled = torch.cat([x, y])
    values = gram(pooled, pooled, kernel=kernel, bandwidth=1.5)
    assert torch.linalg.eigvalsh(values).min() > -1e-10


@pytest.mark.parametrize(
    ("scale", "expected"), [(0.5, 0.00489), (1.0, 0.03497), (2.0, 0.07472), (4.0, 0.04470)]
)
def test_the_unbiased_estimate_has_the_mean_of_the_closed_form_between_normals(scale, expected):
    d, shift, deviations = 4, 1.0, (1.0, 1.3)

    def mean_kernel(variance: float, apart: float) -> float:
        width = variance + scale**2
        return (scale**2 / width) ** (d / 2) * math.exp(-(apart**2) / (2 * width))

    first, second = (deviation**2 for deviation in deviations)
    closed = mean_kernel(2 * first, 0) + mean_kernel(2 * second, 0)
    closed -= 2 * mean_kernel(first + second, shift)
    draws = torch.stack(
        [
            mmd_at(
                deviations[0] * normal(60, d, seed),
                deviations[1] * normal(60, d, seed + 1000) + shift / math.sqrt(d),
                bandwidth=2.0 * scale**2,
                kernel="rbf_single",
                unbiased=True,
            )
            for seed in range(60)
        ]
    )
    assert closed == pytest.approx(expected, abs=2e-5)
    assert (draws.mean() - closed).abs() < 3 * draws.std() / math.sqrt(len(draws))


@pytest.mark.slow
def test_of_equal_distributions_the_unbiased_estimate_is_zero_on_average_and_the_biased_one_not():
    pairs = [(normal(40, 4, seed), normal(40, 4, seed + 1000)) for seed in range(100)]
    settings = {"kernel": "rbf_single", "bandwidth": 2.0}
    unbiased = torch.stack([mmd_at(x, y, unbiased=True, **settings) for x, y in pairs])
    biased = torch.stack([mmd_at(x, y, **settings) for x, y in pairs])
    assert unbiased.mean().abs() < 3 * unbiased.std() / 10
    assert 0.3 < (unbiased < 0).double().mean() < 0.8
    floor = 2 * (1 - (1 / 3) ** 2) / 40  # 2 (1 - E k) / n, with v = 2
    assert biased.min() > 0
    assert biased.mean().item() == pytest.approx(floor, rel=0.05)


def test_kernels_are_their_formulas():
    x, y = normal(4, 3, seed=0), normal(5, 3, seed=1)
    squared = torch.cdist(x, y).square()
    single = gram(x, y, kernel="rbf_single", bandwidth=2.0)
    torch.testing.assert_close(single, torch.from_numpy(rbf_kernel(x, y, gamma=0.5)))
    torch.testing.assert_close(gram(x, y, kernel="imq", bandwidth=2.0), 2 / (2 + squared))
    mixed = gram(x, y, kernel="rbf_mix", bandwidth=2.0, num_kernels=2)
    torch.testing.assert_close(mixed, (-squared).exp() + (-squared / 2).exp())


def test_the_bandwidth_scale_multiplies_the_bandwidth():
    x, y = normal(4, 3, seed=0), normal(5, 3, seed=1)
    b = pooled_bandwidth(x, y, "mean")
    pooled = torch.cat([x, y])
    values = gram(pooled, pooled, kernel="imq", bandwidth=3 * b)
    expected = values[:4, :4].mean() + values[4:, 4:].mean() - 2 * values[:4, 4:].mean()
    torch.testing.assert_close(mmd(x, y, kernel="imq", bandwidth_scale=3.0), expected)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("unbiased", [False, True])
def test_gradients_are_those_of_finite_differences(kernel, unbiased):
    x, y = normal(4, 3, seed=0), normal(3, 3, seed=1).requires_grad_()
    settings = {"kernel": kernel, "bandwidth": 2.0, "unbiased": unbiased}
    assert torch.autograd.gradcheck(lambda y: mmd_at(x, y, **settings), y)


def test_collapsed_features_are_at_zero_with_a_zero_gradient():
    y = torch.ones(4, 3, requires_grad=True)
    value = mmd(torch.ones(5, 3), y)
    (gradient,) = torch.autograd.grad(value, y)
    assert value.item() == 0
    assert gradient.abs().max().item() == 0


def test_a_median_of_zero_is_refused_with_the_way_out():
    x = torch.cat([torch.zeros(9, 2), torch.ones(1, 2)])
    with pytest.raises(DataError, match="Take the `mean`"):
        mmd(x, torch.zeros(9, 2), bandwidth="median")
    assert torch.isfinite(mmd(x, torch.zeros(9, 2)))


@pytest.mark.parametrize(
    ("n", "settings"),
    [(0, {}), (1, {"unbiased": True}), (4, {"bandwidth_scale": 0.0}), (4, {"num_kernels": 0})],
)
def test_what_has_no_mmd_is_refused(n, settings):
    with pytest.raises(ValueError, match="needs"):
        mmd(torch.zeros(n, 2), torch.ones(4, 2), **settings)
