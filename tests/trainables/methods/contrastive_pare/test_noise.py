"""Noisy views: how many, of what variance and correlation, and on what they depend."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trainables.methods.contrastive_pare.noise import Units, Views, correlation
from trainables.seeding import generator

PLAIN = Units(torch.zeros(()), torch.ones(()))


def views(**settings) -> Views:
    small = {"num_scales": 3, "sigma_min": 0.05, "sigma_max": 0.2, "steps": 4}
    return Views(**{**small, **settings})


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize(("scales", "steps"), [(1, 1), (3, 4), (5, 2)])
def test_n_samples_have_n_k_t_views_and_n_more_where_they_are_views_themselves(
    scales, steps, clean
):
    every = views(num_scales=scales, steps=steps, include_clean=clean)
    assert len(every) == scales * steps + clean
    states = {(k, t) for k in range(scales) for t in range(1, steps + 1)}
    places = [every.place(number) for number in range(len(every))]
    assert sorted(places) == sorted(states | ({(0, 0)} if clean else set()))


def test_scales_are_geometric_and_a_single_one_is_the_largest():
    assert views().sigmas == pytest.approx((0.05, 0.1, 0.2))
    assert views(num_scales=1).sigmas == (0.2,)
    assert views(sigma_min=0.2).sigmas == (0.2, 0.2, 0.2)


def test_a_view_is_the_recursion_written_out():
    every, x = views(), normal(1, 2, 5)
    for scale in range(3):
        sigma, rng = every.sigmas[scale], generator(7, "noise", 11, scale)
        state = x.clone()
        for t in range(4):
            fresh = torch.empty(2, 5).normal_(generator=rng)
            state = math.sqrt(1 - sigma**2) * state + sigma * fresh
            view = every.perturb(x, PLAIN, [11], [scale * 4 + t], seed=7)
            torch.testing.assert_close(view, state)


@pytest.mark.parametrize(("sigma", "steps"), [(0.5, 5), (0.2, 4), (0.05, 1)])
def test_variance_is_kept_and_correlation_falls_as_the_formula_says(sigma, steps):
    every, n = views(num_scales=1, sigma_max=sigma, steps=steps), 200_000
    x = normal(1, n)
    view = every.perturb(x, PLAIN, [0], [steps - 1], seed=0)
    left = (1 - sigma**2) ** (steps / 2)
    assert view.var().item() == pytest.approx(1, abs=0.02)
    assert correlation(x, view, PLAIN).item() == pytest.approx(left, abs=0.005)
    assert every.signal([steps - 1]).item() == pytest.approx(left)


@pytest.mark.parametrize("step", [1, 2, 5])
def test_a_state_of_the_chain_has_the_marginal_of_the_closed_form(step):
    every = views(num_scales=1, sigma_max=0.5, steps=5)
    noise = every.noise([3], [step - 1], (20_000,), seed=0)
    spread = math.sqrt(1 - (1 - 0.5**2) ** step)
    assert stats.kstest(noise[0].numpy() / spread, "norm").pvalue > 0.01


@given(st.permutations(range(12)), st.integers(1, 12))
@settings(deadline=None, max_examples=25, derandomize=True)
def test_a_view_depends_on_no_other_and_on_no_order(order, size):
    every, shape = views(), (3, 7)
    samples, numbers = [5 * i for i in order], order
    together = every.noise(samples, numbers, shape, seed=0)
    apart = torch.cat(
        [
            every.noise(samples[start : start + size], numbers[start : start + size], shape, seed=0)
            for start in range(0, 12, size)
        ]
    )
    assert torch.equal(together, apart)
    in_order = every.noise([5 * i for i in range(12)], range(12), shape, seed=0)
    assert torch.equal(together, in_order[torch.tensor(order)])


def test_seed_sample_and_scale_decide_the_noise():
    every = views(sigma_min=0.2)  # equal scales: what differs is chance alone
    first = every.noise([0], [0], (8,), seed=0)
    others = [
        every.noise([0], [0], (8,), seed=1),
        every.noise([1], [0], (8,), seed=0),
        every.noise([0], [4], (8,), seed=0),
    ]
    assert all(not torch.allclose(first, other) for other in others)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    assert torch.equal(every.noise([0], [0], (8,), seed=0), first)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_perturbing_in_given_units_is_perturbing_what_has_been_standardised():
    every, x = views(), 100 + 5 * normal(12, 2, 9)
    units = Units(torch.tensor([[100.0], [90.0]]), torch.tensor([[5.0], [0.5]]))
    standard = (x - units.mean) / units.std
    expected = units.mean + units.std * every.perturb(standard, PLAIN, range(12), range(12), seed=0)
    view = every.perturb(x, units, range(12), range(12), seed=0)
    torch.testing.assert_close(view, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("sigma", [1e-2, 1e-4])
def test_noise_that_vanishes_leaves_the_sample(sigma):
    every, x = views(sigma_min=sigma / 4, sigma_max=sigma), normal(12, 2, 9)
    view = every.perturb(x, PLAIN, range(12), range(12), seed=0)
    assert (view - x).abs().max() < 10 * sigma
    assert not torch.equal(view, x)


def test_the_sample_itself_is_a_view_bit_for_bit():
    every, x = views(include_clean=True), normal(3, 2, 5)
    units = Units(torch.tensor([[0.3], [7.0]]), torch.tensor([[2.0], [0.1]]))
    assert torch.equal(every.perturb(x, units, range(3), [12] * 3, seed=0), x)


def test_what_never_varies_is_left_alone_and_out_of_the_correlation():
    x = normal(6, 2, 500)
    x[:, 1] = 3
    units = Units(torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [0.0]]))
    view = views().perturb(x, units, range(6), [11] * 6, seed=0)
    torch.testing.assert_close(view[:, 1], x[:, 1])
    assert not torch.allclose(view[:, 0], x[:, 0], atol=0.1)
    first = Units(*(u[0] for u in units))
    expected = correlation(x[:, 0], view[:, 0], first)
    torch.testing.assert_close(correlation(x, view, units), expected)


def test_correlation_is_pearsons_and_zero_where_nothing_varies():
    x = normal(4, 100)
    x = (x - x.mean()) / x.std(correction=0)
    y = x + normal(4, 100, seed=1)
    y = y - y.mean()
    expected = stats.pearsonr(x.flatten().numpy(), y.flatten().numpy()).statistic
    assert correlation(x, y, PLAIN).item() == pytest.approx(expected, abs=1e-5)
    assert correlation(x, 0 * x, PLAIN).item() == 0
    assert correlation(x, y, Units(torch.zeros(()), torch.zeros(()))).item() == 0
