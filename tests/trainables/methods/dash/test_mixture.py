"""A mixture of convolutions is one convolution."""

import math
from collections import Counter

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from tests.support.plain_mixture import direct_sum
from trainables.methods.dash.mixture import Operations, mixed_convolution

SIZES, DILATIONS = (3, 5, 7, 9), (1, 3, 7, 15)  # the paper's, in 2D


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def assert_equal(x: Tensor, operations: Operations, *, separable: bool, stride: int) -> None:
    channels = x.shape[1]
    outputs, inputs = (channels, 1) if separable else (4, channels)
    kernels = drawn(outputs, inputs, sum(operations.taps), seed=1)
    weights = drawn(len(operations.all), seed=2)
    given = (x, kernels, weights)
    ours, theirs = (
        mixed_convolution(*given, operations, stride=stride),
        direct_sum(*given, operations, stride),
    )
    scale = theirs.abs().max().item()
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-5)
    direction = drawn(*ours.shape, seed=3).detach()
    for our, their in zip(
        torch.autograd.grad((ours * direction).sum(), given),
        torch.autograd.grad((theirs * direction).sum(), given),
        strict=True,
    ):
        scale = their.abs().max().item()
        torch.testing.assert_close(our / scale, their / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("grid", [(37,), (16, 11)])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dilation", DILATIONS)
def test_one_operation_is_the_convolution_with_its_gradients(
    size, dilation, grid, separable, stride
):
    operations = Operations(sizes=(size,), dilations=(dilation,), dimensions=len(grid))
    assert_equal(drawn(2, 3, *grid), operations, separable=separable, stride=stride)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("grid", [(64,), (5,), (1,), (19, 24), (8, 8), (1, 3)])
def test_all_operations_are_the_direct_sum_with_its_gradients(grid, separable):
    operations = Operations(sizes=SIZES, dilations=DILATIONS, dimensions=len(grid))
    assert_equal(drawn(2, 3, *grid), operations, separable=separable, stride=1)


def test_strides_take_the_outputs_of_the_direct_sum():
    operations = Operations(sizes=(3, 5), dilations=(1, 4), dimensions=2)
    assert_equal(drawn(2, 3, 9, 12), operations, separable=False, stride=2)


class Calls(TorchDispatchMode):
    """Counter of PyTorch's operators."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


def cost(operations: Operations, how) -> tuple[Counter[str], int]:
    """Return the calls of a step, and the operations of its matrix products and convolutions."""
    x, kernels = drawn(2, 4, 24, 24), drawn(4, 4, sum(operations.taps), seed=1)
    weights = drawn(len(operations.all), seed=2)
    how(x, kernels, weights, operations).sum().backward()  # what is computed once a process
    with Calls() as calls, FlopCounterMode(display=False) as flops:
        how(x, kernels, weights, operations).sum().backward()
    return calls.counts, flops.get_total_flops()


def test_the_cost_does_not_grow_with_the_number_of_operations():
    one = Operations(sizes=(9,), dilations=(1,), dimensions=2)
    sixteen = Operations(sizes=SIZES, dilations=(1, 1, 1, 1), dimensions=2)
    assert len(sixteen.all) == 16 * len(one.all)
    calls, flops = zip(*(cost(each, mixed_convolution) for each in (one, sixteen)), strict=True)
    assert calls[0] == calls[1]
    assert flops[0] == flops[1]
    calls, flops = zip(*(cost(each, direct_sum) for each in (one, sixteen)), strict=True)
    assert calls[1]["aten.convolution.default"] == 16 * calls[0]["aten.convolution.default"]
    assert flops[1] > 8 * flops[0]


def test_fields_are_those_of_dilated_kernels():
    operations = Operations(sizes=(3, 5), dilations=(1, 7), dimensions=2)
    assert [each.field for each in operations.all] == [3, 15, 5, 29]
    assert operations.taps == (9, 9, 25, 25)
    assert len(operations.offsets()) == sum(operations.taps)
    assert math.isclose(operations.offsets().float().mean().item(), 0.0, abs_tol=1e-6)
