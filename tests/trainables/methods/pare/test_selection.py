"""Selection: which tokens, how often by chance, and what gradient reaches the scores."""

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.methods.pare.selection import (
    gumbel_noise,
    make_scorer,
    ranking,
    relaxed_subset,
    straight_through_subset,
)
from trainables.seeding import generator

SUBSETS = (straight_through_subset, relaxed_subset)
every_subset = pytest.mark.parametrize("subset", SUBSETS)
SCORES = torch.tensor([0.1, -0.7, 1.2, 0.4, 0.0])
DRAWS = 100_000


def keys(batch, tokens, *, seed=0):
    return torch.randn(batch, tokens, generator=generator(seed), dtype=torch.float64)


def inclusion_without_replacement(scores, k):
    """The probability of each token to be among k drawn one after another, by enumeration."""
    weights = scores.double().exp()
    inclusion = torch.zeros_like(weights)
    for drawn in permutations(range(len(scores)), k):
        left, probability = weights.clone(), 1.0
        for token in drawn:
            probability = probability * left[token] / left.sum()
            left[token] = 0
        inclusion[list(drawn)] += probability
    return inclusion


def test_perturbed_scores_are_a_draw_without_replacement():
    expected = inclusion_without_replacement(SCORES, 2)
    noise = gumbel_noise((DRAWS, 5), generator(0))
    mask = straight_through_subset(SCORES + noise, 2, temperature=0.9).mask
    error = (expected * (1 - expected) / DRAWS).sqrt()
    assert expected.sum().item() == pytest.approx(2)
    assert ((mask.double().mean(0) - expected).abs() < 3 * error).all()


def test_noise_has_the_moments_of_gumbel_and_is_its_generators():
    noise = gumbel_noise((DRAWS,), generator(1))
    assert noise.mean().item() == pytest.approx(0.5772, abs=3 * 1.2825 / DRAWS**0.5)
    assert noise.std().item() == pytest.approx(1.2825, rel=0.02)
    assert torch.equal(noise, gumbel_noise((DRAWS,), generator(1)))
    assert not torch.equal(noise, gumbel_noise((DRAWS,), generator(2)))


@given(st.integers(1, 4), st.integers(1, 12), st.data())
def test_the_mask_is_of_ones_at_the_k_highest_keys_and_zeros_elsewhere(batch, tokens, data):
    k = data.draw(st.integers(0, tokens))
    scores = keys(batch, tokens, seed=data.draw(st.integers(0, 99)))
    order, mask = straight_through_subset(scores, k, temperature=0.5)
    for row in range(batch):
        by_hand = sorted(range(tokens), key=lambda token: -scores[row, token].item())
        assert order[row].tolist() == by_hand
        assert set(mask[row].nonzero().flatten().tolist()) == set(by_hand[:k])
    assert mask.sum(1).tolist() == [k] * batch


@every_subset
@pytest.mark.parametrize("k", [0, 1, 3, 6])
def test_a_mask_has_exactly_k_ones_where_the_order_says(subset, k):
    order, mask = subset(keys(4, 6), k, temperature=0.9)
    assert torch.equal(mask, torch.zeros_like(mask).scatter(1, order[:, :k], 1.0))
    assert torch.equal(order.sort(dim=1).values, torch.arange(6).expand(4, -1))


@every_subset
def test_the_gradient_is_finite_reaches_all_keys_and_favours_what_helps(subset):
    scores = keys(3, 8).requires_grad_()
    values = keys(3, 8, seed=1)
    mask = subset(scores, 3, temperature=0.9).mask
    (gradient,) = torch.autograd.grad((mask * values).sum(), scores)
    assert gradient.isfinite().all()
    assert (gradient != 0).all()
    best = values.argmax(1, keepdim=True)
    assert (gradient.gather(1, best) > 0).all()


def test_straight_through_has_the_gradient_of_a_sigmoid_around_the_lowest_chosen_key():
    scores = keys(2, 5).requires_grad_()
    mask = straight_through_subset(scores, 2, temperature=0.7).mask
    (gradient,) = torch.autograd.grad(mask.sum(), scores)
    threshold = scores.detach().sort(dim=1, descending=True).values[:, 1:2]
    soft = ((scores.detach() - threshold) / 0.7).sigmoid()
    torch.testing.assert_close(gradient, soft * (1 - soft) / 0.7)


def test_the_relaxation_is_the_sum_of_k_softmaxes_that_each_leave_out_the_last():
    scores = keys(1, 4).requires_grad_()
    mask = relaxed_subset(scores, 2, temperature=0.8).mask
    (ours,) = torch.autograd.grad(mask[0, 2], scores)
    theirs = scores.detach().requires_grad_()
    first = (theirs / 0.8).softmax(1)
    second = ((theirs + (1 - first).log()) / 0.8).softmax(1)
    (expected,) = torch.autograd.grad((first + second)[0, 2], theirs)
    torch.testing.assert_close(ours, expected)


@every_subset
@pytest.mark.parametrize("temperature", [1e-3, 100.0])
def test_extreme_temperatures_and_far_apart_scores_stay_finite(subset, temperature):
    scores = torch.tensor([[40.0, -40.0, 0.0, 40.0]], requires_grad=True)
    mask = subset(scores, 2, temperature=temperature).mask
    (gradient,) = torch.autograd.grad((mask * torch.arange(4.0)).sum(), scores)
    assert mask.tolist() == [[1.0, 0.0, 0.0, 1.0]]
    assert gradient.isfinite().all()


def test_ties_are_broken_by_position():
    assert ranking(torch.zeros(2, 5)).tolist() == [[0, 1, 2, 3, 4]] * 2


NAMES = ("gate", "gate_mlp", "attn_received", "attn_window", "attn_query")
ATTENTION = NAMES[2:]
WIDTH, HIDDEN = 12, 5
every_scorer = pytest.mark.parametrize("name", NAMES)


def make(name, *, window=3, grid=None, seed=0, spread=1.0):
    """A scorer whose weights are wide enough for its scores to differ."""
    draws = generator(seed)
    scorer = make_scorer(
        name, WIDTH, hidden=HIDDEN, window=window, grid=grid, generator=draws
    ).double()
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter.normal_(std=spread, generator=draws)
    return scorer


def tokens(count, *, batch=2, seed=1):
    return torch.randn(batch, count, WIDTH, generator=generator(seed), dtype=torch.float64)


def by_hand(scorer, x, visible):
    """The mean over queries of softmax attention, where token i sees j if visible[i, j]."""
    queries, keys = scorer.queries(x), scorer.keys(x)
    logits = queries @ keys.transpose(1, 2) / math.sqrt(HIDDEN)
    return logits.masked_fill(~visible, -math.inf).softmax(2).mean(1)


def same_window(rows, columns, side):
    row, column = torch.arange(rows * columns) // columns, torch.arange(rows * columns) % columns
    window = row // side * columns + column // side
    return window[:, None] == window


@every_scorer
@pytest.mark.parametrize("count", [1, 5, 7])
def test_a_sample_gets_a_finite_score_for_each_token_and_a_gradient(name, count):
    scorer, x = make(name), tokens(count).requires_grad_()
    scores = scorer(x)
    assert scores.shape == (2, count)
    assert scores.isfinite().all()
    scores.pow(2).sum().backward()
    for value in (x, *scorer.parameters()):
        assert value.grad is not None
        assert value.grad.isfinite().all()
    alone = scorer(x[1:])
    torch.testing.assert_close(alone, scores[1:])


@pytest.mark.parametrize("name", ["gate", "gate_mlp"])
def test_a_gate_is_a_sigmoid_of_the_token_alone(name):
    scorer, x = make(name, spread=0.3), tokens(6)
    scores = scorer(x)
    assert ((scores > 0) & (scores < 1)).all()
    torch.testing.assert_close(scorer(x.flip(1)), scores.flip(1))
    torch.testing.assert_close(scorer(x[:, 2:3]), scores[:, 2:3])
    hidden = scorer.inner(x).relu() if name == "gate_mlp" else x
    torch.testing.assert_close(scores, (scorer.outer(hidden)[..., 0]).sigmoid())


@pytest.mark.parametrize("name", ATTENTION)
@pytest.mark.parametrize("count", [4, 6, 7])
def test_attention_scores_are_logs_of_shares(name, count):
    torch.testing.assert_close(
        make(name)(tokens(count)).exp().sum(1), torch.ones(2, dtype=torch.float64)
    )


@pytest.mark.parametrize("name", ["attn_received", "attn_query"])
def test_attention_of_all_tokens_knows_no_order(name):
    scorer, x = make(name), tokens(6)
    torch.testing.assert_close(scorer(x.flip(1)), scorer(x).flip(1))


def test_received_attention_is_the_mean_over_queries():
    scorer, x = make("attn_received"), tokens(6)
    expected = by_hand(scorer, x, torch.ones(6, 6, dtype=torch.bool))
    torch.testing.assert_close(scorer(x).exp(), expected)


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("grid", [(6, 6), (4, 6), (5, 3), (1, 7)])
def test_windows_of_any_size_are_attention_masked_to_them(grid, side):
    rows, columns = grid
    scorer, x = make("attn_window", window=side, grid=grid), tokens(rows * columns)
    expected = by_hand(scorer, x, same_window(rows, columns, side))
    torch.testing.assert_close(scorer(x).exp(), expected)


def test_without_a_grid_windows_are_stretches_of_however_many_tokens_there_are():
    scorer = make("attn_window", window=4)
    for count in (3, 8, 10):
        x = tokens(count)
        expected = by_hand(scorer, x, same_window(1, count, 4))
        torch.testing.assert_close(scorer(x).exp(), expected)


def test_scores_that_are_shares_too_small_for_a_number_stay_finite_logs():
    scorer = make("attn_received", spread=30.0)
    scores = scorer(tokens(8))
    assert scores.min() < -800
    assert scores.isfinite().all()


@every_scorer
def test_weights_come_from_the_generator_and_from_nowhere_else(name):
    def weights(seed):
        made = make_scorer(
            name, WIDTH, hidden=HIDDEN, window=3, grid=None, generator=generator(seed)
        )
        return torch.cat([p.detach().flatten() for p in made.parameters()])

    before = torch.random.get_rng_state()
    first = weights(0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))
    assert first.isfinite().all()
