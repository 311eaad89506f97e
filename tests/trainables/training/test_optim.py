"""Schedules against their formula, and what the optimisers are made of."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainables.errors import ConfigError
from trainables.training.optim import (
    clip_gradients,
    learning_rate_factor,
    make_optimizer,
    set_learning_rate,
)


def test_the_factor_rises_from_zero_to_one_and_falls_to_zero():
    factors = [learning_rate_factor(s, warmup_steps=4.0, decay_steps=12.0) for s in range(13)]
    assert factors[:5] == [0, 0.25, 0.5, 0.75, 1]
    assert factors[5:] == pytest.approx([7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0])


def test_without_warm_up_the_first_step_has_the_peak_rate():
    assert learning_rate_factor(0, warmup_steps=0.0, decay_steps=10.0) == 1


@given(
    st.integers(0, 10_000), st.floats(0, 1000, allow_nan=False), st.floats(0, 5000, allow_nan=False)
)
@settings(deadline=None, derandomize=True)
def test_the_factor_stays_between_zero_and_one(step, warmup, decay):
    assert 0 <= learning_rate_factor(step, warmup_steps=warmup, decay_steps=decay) <= 1


def test_past_its_end_the_decay_stays_at_zero():
    assert learning_rate_factor(13, warmup_steps=4.0, decay_steps=12.0) == 0
    assert learning_rate_factor(1000, warmup_steps=4.0, decay_steps=12.0) == 0


def test_a_decay_that_ends_before_the_warm_up_does_leaves_the_rate_at_its_peak():
    assert learning_rate_factor(6, warmup_steps=5.0, decay_steps=3.0) == 1


def test_the_rate_is_set_in_every_group():
    a, b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [a]}, {"params": [b], "lr": 3.0}], lr=1.0)
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_an_optimizer_holds_what_is_trainable_and_decays_all_of_it(name):
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    optimizer = make_optimizer(name, layer.parameters(), lr=0.1, weight_decay=0.5)
    (group,) = optimizer.param_groups
    assert [id(p) for p in group["params"]] == [id(layer.weight)]
    assert (group["lr"], group["weight_decay"]) == (0.1, 0.5)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_second_moment_decays_as_in_the_published_recipes(name):
    (group,) = make_optimizer(name, nn.Linear(1, 1).parameters(), lr=0.1).param_groups
    assert group["betas"] == (0.9, 0.98)


def test_adamw_decays_weights_and_adam_their_gradient():
    def after_a_step(name: str) -> float:
        weight = nn.Parameter(torch.tensor([2.0]))
        optimizer = make_optimizer(name, [weight], lr=0.1, weight_decay=0.5)
        weight.grad = torch.zeros(1)
        optimizer.step()
        return weight.item()

    assert after_a_step("adamw") == pytest.approx(2 - 0.1 * 0.5 * 2)
    assert after_a_step("adam") == pytest.approx(2 - 0.1)  # the sign of the decay's gradient


def test_momentum_is_of_sgd():
    weight = nn.Parameter(torch.zeros(1))
    optimizer = make_optimizer("sgd", [weight], lr=1.0, momentum=0.5)
    for _ in range(2):
        weight.grad = torch.ones(1)
        optimizer.step()
    assert weight.item() == pytest.approx(-(1 + 1.5))


def test_nothing_to_train_is_an_error_that_names_the_settings():
    layer = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(ConfigError, match=r"`freeze`.*`finetune`"):
        make_optimizer("adamw", layer.parameters(), lr=0.1)


@pytest.mark.parametrize(("cap", "expected"), [(None, 5.0), (10.0, 5.0), (1.0, 1.0)])
def test_clipping_returns_the_norm_before_it(cap, expected):
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    assert clip_gradients([weight], cap).item() == pytest.approx(5)
    assert weight.grad.norm().item() == pytest.approx(expected, rel=1e-5)


def test_clipping_treats_a_complex_gradient_as_pairs_and_keeps_the_bits_of_real_ones():
    weight = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    weight.grad = torch.tensor([3 + 4j, 12j])
    assert clip_gradients([weight], 1.3).item() == pytest.approx(13)
    torch.testing.assert_close(weight.grad, torch.tensor([0.3 + 0.4j, 1.2j]))

    rng = torch.Generator().manual_seed(0)
    ours, theirs = (nn.ParameterList([torch.zeros(7, 5), torch.zeros(11)]) for _ in range(2))
    for one, other in zip(ours, theirs, strict=True):
        one.grad = torch.randn(one.shape, generator=rng)
        other.grad = one.grad.clone()
    assert torch.equal(clip_gradients(ours, 0.5), nn.utils.clip_grad_norm_(theirs, 0.5))
    assert all(torch.equal(one.grad, other.grad) for one, other in zip(ours, theirs, strict=True))
