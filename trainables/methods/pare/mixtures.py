"""Mixtures of target and source tokens: the number of source tokens, their weight, and the mixing.

A mixture of epoch ep has

    k(ep) = floor(k0 [1 - (1 - r) p(ep / E)]),   ep = 0, ..., E - 1

source tokens. r is the share of k0 that remains at the end, and p is the progress from 0 to 1:

    linear    p(t) = t
    cosine    p(t) = (1 - cos pi t) / 2
    step      p(t) = 0, 1/2 and 1 in the first, second and last third of the epochs
    constant  p(t) = 0

Cai et al., ICML 2024 (PaRe): linear, with r = 0. Their code has int(begin - end ep / E), which is
linear with r = 1 - end / begin. This module computes in fractions, so that rounding cannot change a
floor. In epochs 67 and 68 of FSD50K's hundred the floats of their code give 994 and 979 tokens,
where the formula gives 995 and 980.

Each sample has its own mixture. No tensor is changed in place.

    replace   chosen source tokens replace the target tokens at chosen places (PaRe; Cai et al.,
              ICML 2024)
    blend     m = (1 - w) t + w s inside a segment or rectangle, and t outside of it. w = 1 is
              CutMix (Yun et al., ICCV 2019). w < 1 on all tokens of the shorter sample is Mixup
              (Zhang et al., ICLR 2018), here between modalities.

Shapes: b = samples; n = target tokens; s = source tokens; d = their width; k = replaced tokens.
"""

from fractions import Fraction
from math import cos, floor, pi
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from trainables.tasks.store.device_rows import moved

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
    """Target places that are mixed, and the index of the source token for each place."""

    inside: Bool[Tensor, "b n"]
    origin: Int64[Tensor, "b n"]


def replace(
    target: Float[Tensor, "b n d"],
    source: Float[Tensor, "b s d"],
    *,
    places: Int64[Tensor, "b k"],
    chosen: Int64[Tensor, "b k"],
) -> Float[Tensor, "b n d"]:
    """Replace the target tokens at `places` by the `chosen` source tokens, in order."""
    values = _tokens_at(source, chosen)
    return target.scatter(1, places[..., None].expand_as(values), values)


def blend(
    target: Float[Tensor, "b n d"],
    source: Float[Tensor, "b s d"],
    region: Region,
    *,
    weight: float = 1.0,
) -> Float[Tensor, "b n d"]:
    """Return target tokens that are mixed with source tokens inside the region.

    Args:
        target: Target tokens.
        source: Source tokens.
        region: Places that are mixed, and their source tokens.
        weight: Weight of a source token inside the region, in [0, 1].
    """
    inside, origin = (moved(part, target.device) for part in region)
    mixed = torch.lerp(target, _tokens_at(source, origin), weight)
    return torch.where(inside[..., None], mixed, target)


def random_stretches(
    length: int, *, targets: int, sources: int, batch: int, generator: torch.Generator
) -> Region:
    """Draw a segment of `length` neighbouring tokens for each sample, and one of the source.

    The two segments are at the same place if both modalities have as many tokens. Otherwise the
    place of the source segment is drawn separately.

    Args:
        length: Tokens of a segment.
        targets: Tokens of a target sample.
        sources: Tokens of a source sample.
        batch: Number of samples.
        generator: Generator on the CPU.
    """

    def starts(tokens: int) -> Tensor:
        return torch.randint(tokens - length + 1, (batch, 1), generator=generator)

    start = starts(targets)
    source_start = start if sources == targets else starts(sources)
    step = torch.arange(targets) - start
    # Outside of the segment nothing is read: the clamp only keeps these indices valid.
    return Region((step >= 0) & (step < length), (step + source_start).clamp(0, sources - 1))


def rectangle_of(tokens: int, grid: tuple[int, int]) -> tuple[int, int]:
    """Return the rows and columns of a rectangle with nearly the proportions of the grid.

    The rectangle has at most `tokens` tokens, few fewer than that, and at least one. It fits into
    the grid.

    Args:
        tokens: Largest number of tokens in the rectangle.
        grid: Rows and columns of tokens.
    """
    rows, columns = grid
    height = round(rows * (tokens / (rows * columns)) ** 0.5)
    # At most as many rows as tokens, so that at least one column remains.
    height = min(max(1, height), rows, tokens)
    return height, min(columns, tokens // height)


def random_rectangles(
    size: tuple[int, int], *, grid: tuple[int, int], batch: int, generator: torch.Generator
) -> Region:
    """Draw a rectangle of `size` for each sample, at the same place in target and source.

    Args:
        size: Rows and columns of the rectangle.
        grid: Rows and columns of tokens.
        batch: Number of samples.
        generator: Generator on the CPU.
    """
    (height, width), (rows, columns) = size, grid
    top = torch.randint(rows - height + 1, (batch, 1), generator=generator)
    left = torch.randint(columns - width + 1, (batch, 1), generator=generator)
    places = torch.arange(rows * columns)
    down, right = places // columns - top, places % columns - left
    inside = (down >= 0) & (down < height) & (right >= 0) & (right < width)
    return Region(inside, places.expand(batch, -1))


def _tokens_at(tokens: Float[Tensor, "b s d"], indices: Int64[Tensor, "b k"]) -> Tensor:
    return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[2]))


FINEST = 1_000_000  # largest denominator when a decimal number is converted to a fraction


def count_tokens(k0: int | float, most: int) -> int:
    """Return k0 as a number of tokens.

    An integer k0 is the number itself. A decimal k0 is a share of `most`, and a share above 0 is at
    least one token.
    """
    if isinstance(k0, int) or k0 == 0:
        return int(k0)
    return max(1, round(k0 * most))


def tokens_at(epoch: int, epochs: int, *, first: int, end_share: float, schedule: str) -> int:
    """Return k(ep) by the formula of the module.

    Args:
        epoch: Epoch, counted from 0.
        epochs: Number of epochs E.
        first: Number of tokens in epoch 0.
        end_share: Share r of `first` that remains after the last epoch.
        schedule: Name of the progress p.
    """
    lost = (1 - _exact(end_share)) * _progress(Fraction(epoch, epochs), schedule)
    return floor(first * (1 - lost))


def source_weight(mode: str, *, k: int, first: int, num_tokens: int, fixed: float) -> float:
    """Return lambda, the weight of the source's loss on a mixture, in [0, 1].

    `k_over_k0` is 1 in the first epoch (the paper). `k_over_n` is the share of source tokens in the
    mixture (the official code). `fixed` returns the argument `fixed`.

    Args:
        mode: `k_over_k0`, `k_over_n` or `fixed`.
        k: Source tokens in a mixture of this epoch.
        first: Source tokens in a mixture of the first epoch.
        num_tokens: Tokens N of a mixture.
        fixed: Weight in the mode `fixed`.
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
    # The decimal that was written, not the float next to it: a floor just below a whole number
    # would lose a token.
    return Fraction(number).limit_denominator(FINEST)
