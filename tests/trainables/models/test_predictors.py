"""Predictors have the task's shape, whatever it is, and put each token's output in its place."""

import pytest
import torch
from torch.nn import functional

from trainables.models.predictors import (
    ClassPredictor,
    GridDecoder,
    GridLinear,
    SequenceLinear,
    SequencePool,
)
from trainables.seeding import generator

WIDTH = 24


def features(tokens, batch=2):
    return torch.randn(batch, tokens, WIDTH, generator=generator(0))


@pytest.mark.parametrize("value", [-1.5, 0.0, 2.0])
@pytest.mark.parametrize("shape", [(1, 32), (1, 29), (3, 16), (2, 100)])
def test_pooled_constant_features_give_the_constant(shape, value):
    predictor = SequencePool(8, shape)
    constant = torch.full((2, 8, WIDTH), value)
    torch.testing.assert_close(predictor(constant), torch.full((2, *shape), value))


def test_sequence_pool_has_no_parameters():
    assert not list(SequencePool(8, (1, 32)).parameters())


def test_sequence_pool_averages_the_features_of_a_token_in_order():
    x = features(8)
    expected = functional.adaptive_avg_pool1d(x, 4).flatten(1).unsqueeze(1)
    assert torch.equal(SequencePool(8, (1, 32))(x), expected)


@pytest.mark.parametrize("head", ["pool", "linear"])
@pytest.mark.parametrize("shape", [(1, 32), (2, 32), (3, 30)])
def test_a_token_predicts_its_own_stretch_of_every_channel(head, shape):
    predictor = (
        SequencePool(8, shape)
        if head == "pool"
        else SequenceLinear(WIDTH, 8, shape, generator=generator(1))
    )
    x = features(8, 1)
    changed = x.clone()
    changed[:, 3] += torch.randn(WIDTH, generator=generator(2))
    different = predictor(x) != predictor(changed)
    assert different.any(1)[0].nonzero().flatten().tolist() == [12, 13, 14, 15]
    assert different[0].any(-1).all()


def grid_predictor(head, shape, grid=(7, 7)):
    if head == "decoder":
        return GridDecoder(WIDTH, grid, shape, stride=8, generator=generator(1))
    return GridLinear(WIDTH, grid, shape, generator=generator(1))


@pytest.mark.parametrize("head", ["decoder", "linear"])
@pytest.mark.parametrize(
    "shape", [(1, 85, 85), (1, 128, 128), (1, 512, 512), (4, 64, 64), (2, 5, 9)]
)
def test_grid_outputs_have_the_shape_of_the_task(head, shape):
    predictor = grid_predictor(head, shape)
    assert predictor(features(49)).shape == (2, *shape)


@pytest.mark.parametrize("head", ["decoder", "linear"])
def test_a_token_predicts_its_own_patch(head):
    predictor = grid_predictor(head, (1, 56, 56))
    x = features(49, 1)
    changed = x.clone()
    changed[:, 2 * 7 + 5] += 1
    different = (predictor(x) != predictor(changed))[0, 0].nonzero()
    assert different.min(0).values.tolist() == [16, 40]
    assert different.max(0).values.tolist() == [23, 47]


def test_the_decoder_is_a_pointwise_convolution_and_a_pixel_shuffle():
    predictor = grid_predictor("decoder", (3, 56, 56))
    x = features(49)
    image = x.transpose(1, 2).unflatten(-1, (7, 7))
    weight, bias = predictor.linear.weight[..., None, None], predictor.linear.bias
    expected = functional.pixel_shuffle(functional.conv2d(image, weight, bias), 8)
    torch.testing.assert_close(predictor(x), expected)


def test_one_channel_is_the_mean_of_the_decoders_three():
    three, one = grid_predictor("decoder", (3, 56, 56)), grid_predictor("decoder", (1, 56, 56))
    x = features(49)
    torch.testing.assert_close(one(x), three(x).mean(1, keepdim=True))


def test_classes_are_a_linear_map_of_the_mean():
    predictor = ClassPredictor(WIDTH, 5, generator=generator(1))
    x = features(49)
    assert predictor(x).shape == (2, 5)
    torch.testing.assert_close(predictor(x), predictor.linear(x).mean(1))


def test_weights_come_from_the_generator_alone():
    one = ClassPredictor(WIDTH, 5, generator=generator(1)).state_dict()
    torch.rand(1)
    same = ClassPredictor(WIDTH, 5, generator=generator(1)).state_dict()
    other = ClassPredictor(WIDTH, 5, generator=generator(2)).state_dict()
    assert torch.equal(one["linear.weight"], same["linear.weight"])
    assert not torch.equal(one["linear.weight"], other["linear.weight"])
    assert not one["linear.bias"].any()
