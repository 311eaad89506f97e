"""Mixtures of target and source tokens: how many tokens, with what weight, and how they are mixed.

The source's tokens in a mixture of epoch ep are as many as

    k(ep) = floor(k0 [1 - (1 - r) p(ep / E)]),   ep = 0, ..., E - 1

with r the share of k0 that is left at the end, and p the progress from 0 to 1:

    linear    p(t) = t
    cosine    p(t) = (1 - cos pi t) / 2
    step      p(t) = 0, 1/2 and 1 in the first, second and last third of the epochs
    constant  p(t) = 0

Cai et al., ICML 2024 (PaRe): linear, with r = 0. Their code has int(begin - end ep / E), which is
linear with r = 1 - end / begin. All is computed in fractions, so that no rounding moves a floor:
in epochs 67 and 68 of FSD50K's hundred their floats give 994 and 979 tokens, where the formula has
995 and 980.

A mixture is made sample by sample; none is written in place.

    replace   tokens at chosen places are replaced by chosen source tokens (PaRe; Cai et al., ICML
              2024)
    blend     m = (1 - w) t + w s inside a stretch or rectangle, and t outside of it: with w = 1
              cutmix (Yun et al., ICCV 2019), with w < 1 on all that the source covers mixup (Zhang
              et al., ICLR 2018), here between modalities

Shapes: b = samples; n = target tokens; s = source tokens; d = their width; k = replaced tokens.
"""

from fractions import Fraction
from math import cos, floor, pi
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

__all__ = [
    "Region",
    "blend",
    "count_tokens",
    "random_rectangles",
    "random_stretches",
    "rectangle_of",
    "replace",
    "source_weight",
    "tokens_at",
]


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
    """Return target tokens, those at `places` replaced by the `chosen` source tokens, in order."""
    values = _tokens_at(source, chosen)
    return target.scatter(1, places[..., None].expand_as(values), values)


def blend(
    target: Float[Tensor, "b n d"],
    source: Float[Tensor, "b s d"],
    region: Region,
    *,
    weight: float = 1.0,
) -> Float[Tensor, "b n d"]:
    """Return target tokens, mixed inside the region with the source's, which weigh `weight`."""
    inside, origin = (part.to(target.device) for part in region)
    mixed = torch.lerp(target, _tokens_at(source, origin), weight)
    return torch.where(inside[..., None], mixed, target)


def random_stretches(
    length: int, *, targets: int, sources: int, batch: int, generator: torch.Generator
) -> Region:
    """Draw a stretch of `length` neighbouring tokens for each sample, and as long a one of the
    source: the same where both have as many tokens, else drawn for itself."""

    def starts(tokens: int) -> Tensor:
        return torch.randint(tokens - length + 1, (batch, 1), generator=generator)

    start = starts(targets)
    source_start = start if sources == targets else starts(sources)
    step = torch.arange(targets) - start
    return Region((step >= 0) & (step < length), (step + source_start).clamp(0, sources - 1))


def rectangle_of(tokens: int, grid: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of a rectangle in the grid's proportions that holds at most
    `tokens`, at least 1 and at most all of the grid's, and few less."""
    rows, columns = grid
    height = round(rows * (tokens / (rows * columns)) ** 0.5)
    height = min(max(1, height), rows, tokens)
    return height, min(columns, tokens // height)


def random_rectangles(
    size: tuple[int, int], *, grid: tuple[int, int], batch: int, generator: torch.Generator
) -> Region:
    """Draw a rectangle of `size` for each sample, at the same place in target and source."""
    (height, width), (rows, columns) = size, grid
    top = torch.randint(rows - height + 1, (batch, 1), generator=generator)
    left = torch.randint(columns - width + 1, (batch, 1), generator=generator)
    places = torch.arange(rows * columns)
    down, right = places // columns - top, places % columns - left
    inside = (down >= 0) & (down < height) & (right >= 0) & (right < width)
    return Region(inside, places.expand(batch, -1))


def _tokens_at(tokens: Float[Tensor, "b s d"], indices: Int64[Tensor, "b k"]) -> Tensor:
    return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[2]))


FINEST = 1_000_000  # denominator up to which a decimal number is read as the fraction that it means


def count_tokens(k0: int | float, most: int) -> int:
    """Return k0 as a count: an integer is one, a decimal number is a share of the `most` there
    may be. A share above 0 is a token or more."""
    if isinstance(k0, int) or k0 == 0:
        return int(k0)
    return max(1, round(k0 * most))


def tokens_at(epoch: int, epochs: int, *, first: int, end_share: float, schedule: str) -> int:
    """Return k(ep), from `first` in epoch 0 towards `end_share` of it after the last one."""
    lost = (1 - _exact(end_share)) * _progress(Fraction(epoch, epochs), schedule)
    return floor(first * (1 - lost))


def source_weight(mode: str, *, k: int, first: int, num_tokens: int, fixed: float) -> float:
    """Return lambda, the weight of the source's loss on a mixture, in [0, 1].

    `k_over_k0` is 1 in the first epoch (the paper), `k_over_n` the source's share of the mixture's
    tokens (the official code), and `fixed` is what it is given.
    """
    if mode == "fixed":
        return fixed
    return k / (first if mode == "k_over_k0" else num_tokens)


def _progress(time: Fraction, schedule: str) -> Fraction:
    if schedule == "constant":
        return Fraction(0)
    if schedule == "step":
        return Fraction(min(floor(3 * time), 2), 2)
    return time if schedule == "linear" else _exact((1 - cos(pi * time)) / 2)


def _exact(number: float) -> Fraction:
    return Fraction(number).limit_denominator(FINEST)
