"""The wide residual network: fixed kernels have room for all candidates, and no sign of it."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.support.shapes import shape_of
from trainables.methods.dash.mixture import Operation, Operations
from trainables.methods.dash.network import Fixed, Mixed, WideResNet, build, network_of
from trainables.seeding import generator
from trainables.tasks.kinds import Kind
from trainables.tasks.task import TaskShape

GRIDS = {"1d": (24,), "2d": (12, 10)}


def shape(dimension: str, kind: Kind = "dense") -> TaskShape:
    grid = GRIDS[dimension]
    return shape_of((2, *grid), (3, *grid) if kind == "dense" else (3,), kind)


def small(task: TaskShape, sizes: tuple[int, ...] = (3, 7)) -> WideResNet:
    torch.manual_seed(0)
    return build(task, sizes=sizes, width=1, depth=10)


@pytest.mark.parametrize("kind", ["dense", "classification", "multilabel", "regression"])
@pytest.mark.parametrize("dimension", GRIDS)
def test_fields_keep_the_grid_and_other_outputs_are_one_vector_a_sample(dimension, kind):
    task = shape(dimension, kind)
    outputs = small(task)(torch.randn(2, *task.input_shape))
    assert outputs.shape == (2, *task.output_shape)


@pytest.mark.parametrize(("stride", "operation"), [(1, (7, 3)), (2, (5, 2)), (2, (3, 1))])
def test_a_fixed_convolution_is_that_of_pytorch(stride, operation):
    size, dilation = operation
    layer = Fixed(2, 3, stride, dimensions=2, largest=9)
    nn.init.zeros_(layer.weight)
    layer.choose(Operation(size=size, dilation=dilation))
    kernel = torch.randn(3, 2, size, size)
    with torch.no_grad():
        layer.inside.copy_(kernel)
        layer.bias.fill_(0.5)
    x = torch.randn(2, 2, 11, 8)
    expected = functional.conv2d(
        x, kernel, layer.bias, stride=stride, padding=dilation * (size // 2), dilation=dilation
    )
    assert torch.equal(layer(x), expected)


def test_what_lies_around_a_kernel_is_zero_and_has_no_gradient():
    network = small(shape("2d"), sizes=(3, 9))
    network(torch.randn(2, *shape("2d").input_shape)).square().sum().backward()
    for layer in (module for module in network.modules() if isinstance(module, Fixed)):
        around = torch.ones_like(layer.weight, dtype=torch.bool)
        around[:, :, 3:6, 3:6] = False
        assert layer.weight.shape[2:] == (9, 9)
        assert not layer.weight[around].any()
        assert not layer.weight.grad[around].any()
        assert layer.weight[~around].all()


def test_new_kernels_have_the_bound_of_their_own_size():
    network = small(shape("1d"), sizes=(3, 9))
    layer = network.blocks[0].conv_2
    for size in (3, 9):
        network.choose([Operation(size=size, dilation=2)] * 7)
        network.draw(generator(0, "test"))
        bound = math.sqrt(2) * math.sqrt(6 / (size * 32))
        assert 0.9 * bound < layer.weight.abs().max().item() <= bound


@pytest.mark.parametrize("how", ["load_state_dict", "copy_"])
def test_written_operations_are_those_that_are_computed(how):
    task = shape("1d")
    ours, theirs = small(task), small(task)
    theirs.choose([Operation(size=7, dilation=2)] * 7)
    theirs.draw(generator(0, "test"))
    x = torch.randn(2, *task.input_shape)
    assert not torch.equal(ours.eval()(x), theirs.eval()(x))
    if how == "load_state_dict":
        ours.load_state_dict(theirs.state_dict())
    else:
        for mine, other in zip(
            ours.state_dict().values(), theirs.state_dict().values(), strict=True
        ):
            mine.copy_(other)
    assert torch.equal(ours(x), theirs(x))


def test_a_network_is_counted_without_memory():
    with torch.device("meta"):
        on_meta = build(shape("2d"), sizes=(3, 5), width=1, depth=16)
    assert sum(each.numel() for each in on_meta.parameters()) > 1e5


@pytest.mark.parametrize("depth", [10, 16])
def test_a_search_has_one_mixture_for_each_convolution_that_is_trained(depth):
    task = shape("1d")
    operations = Operations(sizes=(3, 5), dilations=(1, 3), dimensions=1)
    searched = network_of(
        task,
        partial(
            Mixed, operations=operations, separable=True, relaxation="softmax", temperature=1.0
        ),
        width=1,
        depth=depth,
        generator=generator(0, "test"),
    )
    trained = build(task, sizes=(3, 5), width=1, depth=depth)
    fixed = [module for module in trained.modules() if isinstance(module, Fixed)]
    assert len(searched.mixed) == len(fixed) == depth - 3
    x = torch.randn(2, *task.input_shape)
    assert searched(x).shape == trained(x).shape


def test_noise_is_added_in_training_alone_and_weights_sum_to_one():
    operations = Operations(sizes=(3, 5), dilations=(1, 3), dimensions=1)
    layer = Mixed(
        2, 2, 1, operations=operations, separable=True, relaxation="gumbel", temperature=0.5
    )
    nn.init.normal_(layer.logits)
    first, second = layer.weights(), layer.weights()
    assert not torch.equal(first, second)
    torch.testing.assert_close(first.sum(), torch.tensor(1.0))
    layer.eval()
    torch.testing.assert_close(layer.weights(), torch.softmax(layer.logits / 0.5, 0))
    assert layer.chosen == operations.all[int(layer.weights().argmax())]
