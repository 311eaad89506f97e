"""Mixtures of target and source tokens, sample by sample; none is written in place.

replace   tokens at chosen places give way to chosen source tokens (PaRe; Cai et al., ICML 2024)
blend     m = (1 - w) t + w s inside a stretch or rectangle, and t outside of it: with w = 1 cutmix
          (Yun et al., ICCV 2019), with w < 1 on all that the source covers mixup (Zhang et al.,
          ICLR 2018), here between modalities

Shapes: b = samples; n = target tokens; s = source tokens; d = their width; k = replaced tokens.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

__all__ = ["Region", "blend", "random_rectangles", "random_stretches", "rectangle_of", "replace"]


class Region(NamedTuple):
    """Target places that the source takes part in, and the source token that each would have."""

    inside: Bool[Tensor, "b n"]
    origin: Int64[Tensor, "b n"]


def replace(
    target: Float[Tensor, "b n d"],
    source: Float[Tensor, "b s d"],
    *,
    places: Int64[Tensor, "b k"],
    chosen: Int64[Tensor, "b k"],
) -> Float[Tensor, "b n d"]:
    """Returns target tokens, those at `places` replaced by the `chosen` source tokens, in order."""
    values = _tokens_at(source, chosen)
    return target.scatter(1, places[..., None].expand_as(values), values)


def blend(
    target: Float[Tensor, "b n d"],
    source: Float[Tensor, "b s d"],
    region: Region,
    *,
    weight: float = 1.0,
) -> Float[Tensor, "b n d"]:
    """Returns target tokens, mixed inside the region with the source's, which weigh `weight`."""
    inside, origin = (part.to(target.device) for part in region)
    mixed = torch.lerp(target, _tokens_at(source, origin), weight)
    return torch.where(inside[..., None], mixed, target)


def random_stretches(
    length: int, *, targets: int, sources: int, batch: int, generator: torch.Generator
) -> Region:
    """Draws a stretch of `length` neighbouring tokens for each sample, and as long a one of the
    source: the same where both have as many tokens, else drawn for itself."""

    def starts(tokens: int) -> Tensor:
        return torch.randint(tokens - length + 1, (batch, 1), generator=generator)

    start = starts(targets)
    source_start = start if sources == targets else starts(sources)
    step = torch.arange(targets) - start
    return Region((step >= 0) & (step < length), (step + source_start).clamp(0, sources - 1))


def rectangle_of(tokens: int, grid: tuple[int, int]) -> tuple[int, int]:
    """Returns rows and columns of a rectangle in the grid's proportions that holds at most
    `tokens`, at least 1 and at most all of the grid's, and few less."""
    rows, columns = grid
    height = round(rows * (tokens / (rows * columns)) ** 0.5)
    height = min(max(1, height), rows, tokens)
    return height, min(columns, tokens // height)


def random_rectangles(
    size: tuple[int, int], *, grid: tuple[int, int], batch: int, generator: torch.Generator
) -> Region:
    """Draws a rectangle of `size` for each sample, at the same place in target and source."""
    (height, width), (rows, columns) = size, grid
    top = torch.randint(rows - height + 1, (batch, 1), generator=generator)
    left = torch.randint(columns - width + 1, (batch, 1), generator=generator)
    places = torch.arange(rows * columns)
    down, right = places // columns - top, places % columns - left
    inside = (down >= 0) & (down < height) & (right >= 0) & (right < width)
    return Region(inside, places.expand(batch, -1))


def _tokens_at(tokens: Float[Tensor, "b s d"], indices: Int64[Tensor, "b k"]) -> Tensor:
    return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[2]))
