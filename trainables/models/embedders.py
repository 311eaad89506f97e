"""Embedders of target data (Shen et al., "Cross-Modal Fine-Tuning: Align then Refine", ICML 2023).

An embedder is a convolution whose kernel equals its stride. Each token therefore depends on its own
interval or patch alone.

Sequence: zero-pad right to N k -> Conv1d(C -> D, k) -> LayerNorm -> + positions.
Grid:     resize (bilinear) -> Conv2d(C -> D, patch) -> LayerNorm or + positions, as the backbone.

A method may put a network in front, whose features are further channels: `FeatureEmbedder`.

Shapes: C = channels, L = points, N = tokens, D = width of a token, k = points per token.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from trainables.errors import ConfigError

__all__ = [
    "FeatureEmbedder",
    "GridEmbedder",
    "SequenceEmbedder",
    "points_per_token",
    "repeat_channels",
    "resize_positions",
]


def points_per_token(length: int, max_tokens: int) -> int:
    """Return k, the number of points per token.

    ORCA takes the smallest divisor of `length` that gives at most `max_tokens` tokens. A prime
    length would then give a single token. Where ceil(length / max_tokens) points give more than
    twice as many tokens as the divisor, this function therefore returns that number, and the
    embedder pads the sequence.
    """
    padded = math.ceil(length / max_tokens)
    divisor = next(k for k in range(padded, length + 1) if length % k == 0)
    return divisor if 2 * (length // divisor) >= math.ceil(length / padded) else padded


def repeat_channels(
    weight: Float[Tensor, "d c p p"], channels: int
) -> Float[Tensor, "d channels p p"]:
    """Return the weight of a patch convolution with its channels repeated cyclically.

    `channels` is the number of input channels of the result.
    """
    copies = math.ceil(channels / weight.shape[1])
    return weight.repeat(1, copies, 1, 1)[:, :channels].clone()


def resize_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Interpolate the positions [n, D] of a square grid to `grid`: [rows * columns, D]."""
    side = math.isqrt(len(positions))
    if (side, side) == grid:
        return positions
    table = positions.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resized = functional.interpolate(table, grid, mode="bicubic", align_corners=False)
    return resized.flatten(2).transpose(1, 2)[0]


class SequenceEmbedder(nn.Module):
    """Embedder of sequences [B, C, L] as tokens [B, N, D].

    Args:
        shape: C and L.
        max_tokens: Largest N.
        width: D.
        positions: Position table of the backbone. Its first N rows are copied under both values of
            `init`, as in ORCA. None: the backbone's embedder adds no positions.
        norm: Norm of the backbone. `pretrained_copy` copies it; `random` starts from the identity.
            None: the backbone's embedder has no norm.
        init: `pretrained_copy` or `random`.
        generator: Source of the random weights of the convolution.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        max_tokens: int,
        width: int,
        positions: Float[Tensor, "most d"] | None,
        norm: nn.LayerNorm | None,
        init: str,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        channels, length = shape
        kernel = points_per_token(length, max_tokens)
        num_tokens = math.ceil(length / kernel)
        self.padding = num_tokens * kernel - length
        # Without memory at first: a new layer would draw weights from PyTorch's global generator.
        self.projection = nn.Conv1d(
            channels, width, kernel_size=kernel, stride=kernel, device="meta"
        ).to_empty(device="cpu")
        _set_to_zero(self.projection)
        nn.init.xavier_uniform_(self.projection.weight, gain=math.sqrt(2), generator=generator)
        if norm is None:
            self.norm: nn.Module = nn.Identity()
        else:
            self.norm = _copy_of(norm) if init == "pretrained_copy" else _fresh_like(norm)
        self.positions = (
            None if positions is None else nn.Parameter(positions[:num_tokens].detach().clone())
        )

    def forward(self, x: Float[Tensor, "b c l"]) -> Float[Tensor, "b n d"]:
        patches = self.projection(functional.pad(x, (0, self.padding)))
        tokens: Tensor = self.norm(patches.transpose(1, 2))
        return tokens if self.positions is None else tokens + self.positions


class GridEmbedder(nn.Module):
    """Embedder of grids [B, C, H, W] of any H and W as tokens [B, N, D], row by row."""

    def __init__(
        self,
        channels: int,
        width: int,
        *,
        patch: int,
        grid: tuple[int, int],
        norm: nn.LayerNorm | None = None,
        positions: Float[Tensor, "n d"] | None = None,
    ) -> None:
        """Build the module without setting the weights of the projection; `like` sets them.

        Args:
            channels: C.
            width: D.
            patch: Side of a patch in pixels.
            grid: Rows and columns of the tokens.
            norm: Norm to copy; None: no norm.
            positions: Position table to copy; None: no positions.
        """
        super().__init__()
        self.size = (grid[0] * patch, grid[1] * patch)
        self.grid = grid
        # As in 1D, a new layer must not draw from PyTorch's global generator.
        self.projection = nn.Conv2d(
            channels, width, kernel_size=patch, stride=patch, device="meta"
        ).to_empty(device="cpu")
        self.norm = nn.Identity() if norm is None else _copy_of(norm)
        self.positions = None if positions is None else nn.Parameter(positions.detach().clone())

    @classmethod
    def like(
        cls, source: "GridEmbedder", channels: int, *, init: str, generator: torch.Generator
    ) -> "GridEmbedder":
        """Return an embedder of `channels` channels in the shape of a pretrained one.

        `pretrained_copy` repeats the weights of `source` along the channels. `random` draws them
        from N(0, 0.02^2), truncated at two standard deviations, and sets the norm to the identity.
        Both copy the positions, as in 1D.

        Args:
            source: The pretrained embedder.
            channels: C of the new embedder.
            init: `pretrained_copy` or `random`.
            generator: Source of random weights.
        """
        norm = source.norm if isinstance(source.norm, nn.LayerNorm) else None
        embedder = cls(
            channels,
            source.projection.out_channels,
            patch=source.projection.kernel_size[0],
            grid=source.grid,
            norm=norm,
            positions=source.positions,
        )
        projection = embedder.projection
        if init == "pretrained_copy":
            weight = repeat_channels(source.projection.weight, channels)
            bias = source.projection.bias
            projection.load_state_dict(
                # The new convolution has a bias, even where the pretrained one has none.
                {"weight": weight, "bias": torch.zeros(len(weight)) if bias is None else bias}
            )
        else:
            _set_to_zero(projection)
            nn.init.trunc_normal_(projection.weight, std=0.02, a=-0.04, b=0.04, generator=generator)
            embedder.norm = nn.Identity() if norm is None else _fresh_like(norm)
        return embedder

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        if x.shape[2:] != self.size:
            x = functional.interpolate(x, self.size, mode="bilinear", align_corners=False)
        tokens: Tensor = self.norm(self.projection(x).flatten(2).transpose(1, 2))
        return tokens if self.positions is None else tokens + self.positions


class FeatureEmbedder(nn.Module):
    """A plain embedder of the inputs and of a network's features [B, F, *grid] of them.

    The convolution of the plain one has F more channels, with weights of zero at first: the tokens
    are then those of the plain embedder.

    Args:
        plain: Embedder of the inputs, which is changed. Its convolution is `projection`.
        network: Network of inputs [B, C, *grid].
        shape: [C, *grid].

    Raises:
        ConfigError: The plain embedder has no such convolution.
    """

    def __init__(self, plain: nn.Module, network: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network, self.plain = network, plain
        narrow = getattr(plain, "projection", None)
        if not isinstance(narrow, nn.Conv1d | nn.Conv2d):
            raise ConfigError(
                "the embedder of this backbone has no convolution that could read more channels: "
                "name another under backbones."
            )
        with torch.no_grad():
            features = network(torch.zeros(1, *shape)).shape[1]
        added = torch.zeros(len(narrow.weight), features, *narrow.kernel_size)
        narrow.weight = nn.Parameter(torch.cat([narrow.weight.detach(), added], 1))
        narrow.in_channels += features

    def forward(self, x: Float[Tensor, "b c ..."]) -> Float[Tensor, "b n d"]:
        tokens: Tensor = self.plain(torch.cat([x, self.network(x)], 1))
        return tokens


def _set_to_zero(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


def _fresh_like(norm: nn.LayerNorm) -> nn.LayerNorm:
    return nn.LayerNorm(norm.normalized_shape, eps=norm.eps, bias=norm.bias is not None)


def _copy_of(norm: nn.LayerNorm) -> nn.LayerNorm:
    copy = _fresh_like(norm)
    copy.load_state_dict(norm.state_dict())
    return copy
