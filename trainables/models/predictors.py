"""Predictors: maps from the body's features to the task's outputs (Shen et al., ICML 2023, ORCA).

classification  mean over the features -> Linear(E, classes); of label sets: labels
regression      the same, in units of the mean and the standard deviation of each training output
orca_pool, 1D   averages of the E features of a token, one for each of its k points; no parameters
orca_pool, 2D   1 x 1 convolution and pixel shuffle to an image of 3 channels (SimMIM's decoder; Xie
                et al., CVPR 2022), then averages over channels and pixels
linear          a linear map from each token to its interval or patch, cut or resized, in units of
                the mean and the standard deviation of the training targets

ORCA standardises the targets of NAS-Bench-360's Darcy flow at each point. There orca_pool predicts
standardised values, and `Decoded` restores their unit before loss and metric. In all other tasks
orca_pool predicts the targets as they are.

Shapes: M = features, E = their width, C = output channels; L, or H and W = output points.
"""

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from trainables.models.backbone import Backbone

__all__ = [
    "ClassPredictor",
    "Decoded",
    "GridDecoder",
    "GridLinear",
    "InUnitsOf",
    "SequenceLinear",
    "SequencePool",
    "dense_predictor",
]

SPREAD = 0.02  # standard deviation of new weights, as in transformers


class ClassPredictor(nn.Module):
    """Predictor of one number for each class, label or output.

    The numbers are logits of exclusive classes, logits of labels that may occur together, or
    outputs of a regression.
    """

    def __init__(self, width: int, num_classes: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = _linear(width, num_classes, generator)

    def forward(self, features: Float[Tensor, "b m e"]) -> Float[Tensor, "b classes"]:
        logits: Tensor = self.linear(features.mean(1))
        return logits


class SequencePool(nn.Module):
    """Predictor [B, M, E] -> [B, C, L] by averaging, without parameters."""

    def __init__(self, num_tokens: int, output_shape: tuple[int, int]) -> None:
        super().__init__()
        self.channels, self.length = output_shape
        self.points = math.ceil(self.length / num_tokens)

    def forward(self, features: Float[Tensor, "b m e"]) -> Float[Tensor, "b c l"]:
        # [B, M, E] -> [B, M, C k]: each token predicts the C channels of its own k points. The last
        # one may have points beyond L.
        stretches = functional.adaptive_avg_pool1d(features, self.channels * self.points)
        outputs: Tensor = rearrange(stretches, "b m (c k) -> b c (m k)", c=self.channels)
        return outputs[..., : self.length]


class SequenceLinear(nn.Module):
    """Predictor [B, M, E] -> [B, C, L] by a learned linear map from a token to its k points."""

    def __init__(
        self,
        width: int,
        num_tokens: int,
        output_shape: tuple[int, int],
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.channels, self.length = output_shape
        points = math.ceil(self.length / num_tokens)
        self.linear = _linear(width, self.channels * points, generator)

    def forward(self, features: Float[Tensor, "b m e"]) -> Float[Tensor, "b c l"]:
        stretches = self.linear(features)
        outputs: Tensor = rearrange(stretches, "b m (c k) -> b c (m k)", c=self.channels)
        return outputs[..., : self.length]


class GridDecoder(nn.Module):
    """Predictor [B, M, E] -> [B, C, H, W] through an image of 3 channels.

    The image has the resolution of the embedder's input.

    Args:
        width: E.
        grid: Rows and columns of the features.
        output_shape: C, H and W.
        stride: Pixels of the embedder's image per feature, in each direction.
    """

    COLOURS = 3

    def __init__(
        self,
        width: int,
        grid: tuple[int, int],
        output_shape: tuple[int, int, int],
        *,
        stride: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.grid, self.stride = grid, stride
        self.channels, self.size = output_shape[0], output_shape[1:]
        self.linear = _linear(width, self.COLOURS * stride**2, generator)

    def forward(self, features: Float[Tensor, "b m e"]) -> Float[Tensor, "b c h w"]:
        image = rearrange(
            self.linear(features),
            "b (r q) (c y x) -> b (r y q x) c",
            r=self.grid[0],
            c=self.COLOURS,
            y=self.stride,
        )
        # Averages over the last axis: 3 colours become C channels.
        image = functional.adaptive_avg_pool1d(image, self.channels)
        image = rearrange(image, "b (h w) c -> b c h w", h=self.grid[0] * self.stride)
        pooled: Tensor = functional.adaptive_avg_pool2d(image, self.size)
        return pooled


class GridLinear(nn.Module):
    """Predictor [B, M, E] -> [B, C, H, W] by a learned linear map from a token to its patch."""

    def __init__(
        self,
        width: int,
        grid: tuple[int, int],
        output_shape: tuple[int, int, int],
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.channels, self.size = output_shape[0], output_shape[1:]
        self.patch = tuple(math.ceil(n / m) for n, m in zip(self.size, grid, strict=True))
        self.linear = _linear(width, self.channels * math.prod(self.patch), generator)

    def forward(self, features: Float[Tensor, "b m e"]) -> Float[Tensor, "b c h w"]:
        image: Tensor = rearrange(
            self.linear(features),
            "b (r q) (c y x) -> b c (r y) (q x)",
            r=self.grid[0],
            c=self.channels,
            y=self.patch[0],
        )
        if image.shape[2:] == self.size:
            return image
        return functional.interpolate(image, self.size, mode="bilinear", align_corners=False)


class InUnitsOf(nn.Module):
    """mean + std * predictor(features), so that one learning rate fits targets of any scale."""

    def __init__(self, predictor: nn.Module, *, mean: float, std: float) -> None:
        super().__init__()
        self.predictor, self.mean, self.std = predictor, mean, std

    def forward(self, features: Float[Tensor, "b ..."]) -> Tensor:
        outputs: Tensor = self.predictor(features)
        return self.mean + self.std * outputs


class Decoded(nn.Module):
    """shift + scale * predictor(features), with a shift and a scale for each point or output."""

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        predictor: nn.Module,
        *,
        shift: Float[Tensor, "..."],
        scale: Float[Tensor, "..."],
    ) -> None:
        super().__init__()
        self.predictor = predictor
        self.register_buffer("shift", shift, persistent=False)  # a property of the data
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, features: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        outputs: Tensor = self.predictor(features)
        return self.shift + self.scale * outputs


def dense_predictor(
    backbone: Backbone,
    head: str,
    output_shape: tuple[int, ...],
    *,
    num_tokens: int,
    generator: torch.Generator,
) -> nn.Module:
    """Return the predictor called `head` for a task with dense outputs.

    Args:
        backbone: The backbone, which has the grid and width of the features.
        head: `orca_pool` or `linear`.
        output_shape: Shape of the output of one sample, [C, L] or [C, H, W].
        num_tokens: Number of tokens of one target sample.
        generator: Source of random weights.
    """
    width = backbone.feature_width
    if backbone.dimension == "1d":
        channels, length = output_shape
        if head == "orca_pool":
            return SequencePool(num_tokens, (channels, length))
        return SequenceLinear(width, num_tokens, (channels, length), generator=generator)
    assert backbone.feature_grid is not None, "a 2D backbone has a grid"
    channels, height, columns = output_shape
    shape = (channels, height, columns)
    if head == "orca_pool":
        return GridDecoder(
            width, backbone.feature_grid, shape, stride=backbone.stride, generator=generator
        )
    return GridLinear(width, backbone.feature_grid, shape, generator=generator)


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear map. All its random weights come from `generator`."""
    # Without memory at first: a new layer would draw weights from PyTorch's global generator.
    linear = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    nn.init.trunc_normal_(
        linear.weight, std=SPREAD, a=-2 * SPREAD, b=2 * SPREAD, generator=generator
    )
    nn.init.zeros_(linear.bias)
    return linear
