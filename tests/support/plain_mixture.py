"""The mixture of convolutions by its definition: one convolution after the other."""

import torch
from torch import Tensor

from trainables.methods.dash.mixture import Operations, convolution


def direct_sum(
    x: Tensor, kernels: Tensor, weights: Tensor, operations: Operations, stride: int = 1
) -> Tensor:
    """Return what `mixed_convolution` returns, with PyTorch's convolutions."""
    found = []
    parts = torch.split(kernels, operations.taps, dim=2)
    for weight, taps, each in zip(weights, parts, operations.all, strict=True):
        kernel = taps.unflatten(2, (each.size,) * operations.dimensions)
        found.append(weight * convolution(x, kernel, each, stride=stride))
    return torch.stack(found).sum(0)
