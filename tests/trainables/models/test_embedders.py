"""Token counts as published, tokens that see their own points alone, and both initialisations."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainables.models.embedders import (
    GridEmbedder,
    SequenceEmbedder,
    points_per_token,
    repeat_channels,
)
from trainables.seeding import generator

PUBLISHED = [  # ORCA's 1D tasks: points, most tokens, points a token, tokens
    (46, 512, 1, 46),
    (1000, 64, 20, 50),
    (1000, 512, 2, 500),
    (256, 512, 1, 256),
    (1024, 512, 2, 512),
    (1024, 256, 4, 256),
    (1024, 32, 32, 32),
    (3072, 128, 24, 128),
]


def sequence(channels=1, length=64, max_tokens=16, *, init="pretrained_copy", width=8, seed=0):
    norm = nn.LayerNorm(width)
    nn.init.normal_(norm.weight, generator=generator(1))
    positions = torch.randn(600, width, generator=generator(2))
    return SequenceEmbedder(
        (channels, length),
        max_tokens=max_tokens,
        width=width,
        positions=positions,
        norm=norm,
        init=init,
        generator=generator(seed),
    )


@pytest.mark.parametrize(("length", "most", "points", "tokens"), PUBLISHED)
def test_token_counts_are_the_published_ones(length, most, points, tokens):
    assert points_per_token(length, most) == points
    embedder = sequence(1, length, most)
    assert embedder(torch.zeros(1, 1, length)).shape == (1, tokens, 8)
    assert embedder.padding == 0


@pytest.mark.parametrize("most", [1, 32, 128, 512])
def test_no_length_exceeds_the_limit_or_wastes_more_than_half_of_it(most):
    for length in range(1, 4097):
        tokens = math.ceil(length / points_per_token(length, most))
        fullest = math.ceil(length / math.ceil(length / most))
        assert tokens <= most
        assert 2 * tokens >= fullest


def test_a_prime_length_does_not_collapse_to_one_token():
    assert points_per_token(997, 512) == 2
    assert sequence(1, 997, 512)(torch.zeros(1, 1, 997)).shape[1] == 499


@given(
    length=st.integers(2, 60), most=st.integers(1, 20), data=st.data(), channels=st.integers(1, 3)
)
def test_a_token_sees_its_own_points_alone(length, most, data, channels):
    embedder = sequence(channels, length, most)
    at = data.draw(st.integers(0, length - 1))
    x = torch.randn(1, channels, length, generator=generator(3))
    changed = x.clone()
    changed[..., at] += 1
    different = (embedder(x) != embedder(changed)).any(-1)[0].nonzero().flatten().tolist()
    assert different == [at // points_per_token(length, most)]


def test_sequence_embedder_is_convolution_norm_and_positions():
    embedder = sequence(2, 6, 3)
    x = torch.randn(1, 2, 6, generator=generator(3))
    stretches = x.unflatten(-1, (3, 2)).permute(0, 2, 1, 3).flatten(2)
    projected = stretches @ embedder.projection.weight.flatten(1).T + embedder.projection.bias
    torch.testing.assert_close(embedder(x), embedder.norm(projected) + embedder.positions)


def test_copy_takes_norm_and_positions_and_random_keeps_positions_alone():
    copied, fresh = sequence(), sequence(init="random")
    assert not torch.equal(copied.norm.weight, torch.ones(8))
    assert torch.equal(fresh.norm.weight, torch.ones(8))
    assert torch.equal(copied.positions, fresh.positions)
    assert torch.equal(copied.projection.weight, fresh.projection.weight)
    assert not torch.equal(copied.projection.weight, sequence(seed=1).projection.weight)
    bound = math.sqrt(2) * math.sqrt(6 / (1 * 4 + 8 * 4))
    assert copied.projection.weight.abs().max() <= bound


@pytest.fixture
def pretrained():
    embedder = GridEmbedder(3, 8, patch=4, grid=(6, 6), norm=nn.LayerNorm(8))
    for parameter in embedder.parameters():
        nn.init.normal_(parameter, generator=generator(4))
    return embedder


def test_three_channels_copied_are_the_pretrained_embedder(pretrained):
    copy = GridEmbedder.like(pretrained, 3, init="pretrained_copy", generator=generator(0))
    x = torch.randn(2, 3, 11, 17, generator=generator(5))
    assert torch.equal(copy(x), pretrained(x))
    assert copy.projection.weight.data_ptr() != pretrained.projection.weight.data_ptr()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 57])
def test_channels_repeat_in_turn(channels):
    weight = torch.randn(5, 3, 2, 2, generator=generator(0))
    repeated = repeat_channels(weight, channels)
    assert repeated.shape == (5, channels, 2, 2)
    for channel in range(channels):
        assert torch.equal(repeated[:, channel], weight[:, channel % 3])


def test_random_grid_embedder_is_small_noise_and_a_plain_norm(pretrained):
    fresh = GridEmbedder.like(pretrained, 2, init="random", generator=generator(0))
    assert fresh.projection.weight.abs().max() <= 0.04
    assert fresh.projection.weight.std().item() == pytest.approx(0.0176, rel=0.15)
    assert not fresh.projection.bias.any()
    assert torch.equal(fresh.norm.weight, torch.ones(8))


@pytest.mark.parametrize(
    "shape", [(3, 32, 32), (1, 85, 85), (1, 16, 52), (1, 96, 102), (57, 64, 64)]
)
def test_every_resolution_becomes_the_same_grid_row_by_row(pretrained, shape):
    embedder = GridEmbedder.like(pretrained, shape[0], init="random", generator=generator(0))
    assert embedder(torch.zeros(2, *shape)).shape == (2, 36, 8)


def test_tokens_are_in_raster_order(pretrained):
    x = torch.zeros(1, 3, 24, 24)
    x[:, :, 4:8, 8:12] = 1  # patch of row 1, column 2
    tokens, blank = pretrained(x), pretrained(torch.zeros_like(x))
    assert (tokens != blank).any(-1)[0].nonzero().flatten().tolist() == [1 * 6 + 2]
