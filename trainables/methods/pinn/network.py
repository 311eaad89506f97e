"""Networks of coordinates, one for each sample, with their derivatives.

    u(s, x) = W_L tanh(... tanh(W_1 f(s, x) + b_1) ...) + b_L

f are the features of the coordinates: 2 s - 1, and 2 x - 1 or, for a periodic equation, cosines and
sines of 2 pi k x for k = 1..waves. The latter make the boundary condition exact (Dong and Ni, J.
Comput. Phys. 435, 2021).

Derivatives are carried forward with the values. For a = tanh(z),

    a_s = (1 - a^2) z_s,    a_x = (1 - a^2) z_x,    a_xx = (1 - a^2) (z_xx - 2 a z_x^2).

One backward pass then gives the gradient of a loss of derivatives.

Shapes: b = networks; p = points; f = features; "" = scalar. A jet is [4, ..., p, f]: value, d/ds,
d/dx, d^2/dx^2.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

from trainables.methods.pinn.equations import Derivatives


def num_features(waves: int) -> int:
    """Return the number of features; `waves` is 0 if the equation is not periodic."""
    return 1 + (2 * waves or 1)


def features(s: Float[Tensor, " p"], x: Float[Tensor, " p"], waves: int) -> Float[Tensor, "4 p f"]:
    """Return the jet of the features at points (s, x)."""
    zero, one = torch.zeros_like(s), torch.ones_like(s)
    of_time = torch.stack([2 * s - 1, 2 * one, zero, zero])[..., None]
    if not waves:
        return torch.cat([of_time, torch.stack([2 * x - 1, zero, 2 * one, zero])[..., None]], -1)
    rate = 2 * pi * torch.arange(1, waves + 1, device=x.device, dtype=x.dtype)
    angle = x[:, None] * rate
    cos, sin, nothing = angle.cos(), angle.sin(), torch.zeros_like(angle)
    of_cos = torch.stack([cos, nothing, -rate * sin, -(rate**2) * cos])
    of_sin = torch.stack([sin, nothing, rate * cos, -(rate**2) * sin])
    return torch.cat([of_time, of_cos, of_sin], -1)


def draw_weights(inputs: int, width: int, layers: int) -> list[Tensor]:
    """Draw weights [in, out] and biases [out] by Glorot's rule, from PyTorch's global generator.

    Args:
        inputs: Number of features.
        width: Width of each hidden layer.
        layers: Number of hidden layers.
    """
    sizes = [inputs, *[width] * layers, 1]
    found: list[Tensor] = []
    for rows, columns in pairwise(sizes):
        found.append(torch.nn.init.xavier_normal_(torch.empty(rows, columns)))
        found.append(torch.zeros(columns))
    return found


def derivatives_at(
    weights: Sequence[Float[Tensor, "b ..."]], jet: Float[Tensor, "4 p f"]
) -> Derivatives:
    """Return u and its derivatives, each [b, p], of many networks at the same points.

    Args:
        weights: Weights [b, in, out] and biases [b, out], in turns.
        jet: Features of the points, with their derivatives.
    """
    points = jet.shape[1]
    rows = jet.flatten(0, 1).expand(len(weights[0]), -1, -1)  # [b, 4 p, f]
    last = len(weights) // 2 - 1
    for layer in range(last + 1):
        matrix, bias = weights[2 * layer], weights[2 * layer + 1]
        z, z_s, z_x, z_xx = torch.split(rows @ matrix, points, dim=1)
        # A constant has no derivative, so that the bias is added to the value alone.
        z = z + bias[:, None]
        if layer == last:
            break
        a = z.tanh()
        slope = 1 - a * a
        # The chain rule of the module's docstring. The four parts pass through the next layer in
        # one product.
        rows = torch.cat([a, slope * z_s, slope * z_x, slope * (z_xx - 2 * a * z_x * z_x)], dim=1)
    return Derivatives(*(part[..., 0] for part in (z, z_s, z_x, z_xx)))
