"""DASH's mixture of convolutions against the same sum, one convolution after the other.

A step of one layer, forward and backward, on one thread: as in the search of a task in 2D on a grid
of 64 x 64 points, and of one in 1D with 1000 points. Depthwise layers are those of the search where
channels are equal; full ones are the others.
"""

import time
from collections.abc import Callable

import pytest
import torch

from tests.support.figures import compare
from tests.support.plain_mixture import direct_sum
from trainables.methods.dash.mixture import Operations, mixed_convolution

pytestmark = [pytest.mark.benchmark, pytest.mark.usefixtures("one_thread")]

ROUNDS = 3
SIZES = {1: (3, 7, 11, 15, 19), 2: (3, 5, 7, 9)}
DILATIONS = (1, 3, 7, 15)
GRIDS = {1: (1000,), 2: (64, 64)}
CHANNELS = 32


def seconds(how: Callable[..., torch.Tensor], operations: Operations, separable: bool) -> float:
    """Return the least time of a step."""
    rng = torch.Generator().manual_seed(0)
    taps, inputs = sum(operations.taps), 1 if separable else CHANNELS
    x = torch.randn(4, CHANNELS, *GRIDS[operations.dimensions], generator=rng).requires_grad_()
    kernels = (torch.randn(CHANNELS, inputs, taps, generator=rng) * 0.01).requires_grad_()
    weights = torch.softmax(torch.randn(len(operations.all), generator=rng), 0).requires_grad_()
    found = []
    for _ in range(ROUNDS + 1):
        began = time.process_time()
        how(x, kernels, weights, operations).square().mean().backward()
        found.append(time.process_time() - began)
    return min(found[1:])


@pytest.mark.parametrize("separable", [True, False], ids=["depthwise", "full"])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_the_mixture_costs_what_one_operation_costs(dimensions, separable):
    every = Operations(sizes=SIZES[dimensions], dilations=DILATIONS, dimensions=dimensions)
    largest = Operations(
        sizes=SIZES[dimensions][-1:], dilations=DILATIONS[-1:], dimensions=dimensions
    )
    ours, one = (seconds(mixed_convolution, each, separable) for each in (every, largest))
    theirs = seconds(direct_sum, every, separable)
    kind = f"{dimensions}D, {'depthwise' if separable else 'full'}"
    what, unit = f"mixture of {len(every.all)} convolutions, {kind}", "ms"
    compare(what, 1e3 * ours, 1e3 * one, peer="the largest alone", unit=unit, goal="< 2")
    goal = "< 1" if separable else "< 1.5"
    compare(what, 1e3 * ours, 1e3 * theirs, peer="one by one", unit=unit, goal=goal)
    assert ours < 2 * one
    assert ours < theirs * (1 if separable else 1.5)  # many kernels are many transforms
