"""Scorers: attention by brute force, windows of any size, and weights from one generator alone."""

import math

import pytest
import torch

from trainables.models.scorers import make_scorer
from trainables.seeding import generator

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


def test_a_window_as_large_as_the_grid_is_attention_of_all_tokens():
    x = tokens(12)
    whole = make("attn_received")(x)
    torch.testing.assert_close(make("attn_window", window=4, grid=(3, 4))(x), whole)


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
