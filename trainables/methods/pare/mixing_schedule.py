"""How many tokens of a mixture are the source's in each epoch, and what weight that gives its loss.

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
"""

from fractions import Fraction
from math import cos, floor, pi

__all__ = ["count_tokens", "source_weight", "tokens_at"]

FINEST = 1_000_000  # denominator up to which a decimal number is read as the fraction that it means


def count_tokens(k0: int | float, most: int) -> int:
    """Returns k0 as a count: an integer is one, a decimal number is a share of the `most` there
    may be. A share above 0 is a token or more."""
    if isinstance(k0, int) or k0 == 0:
        return int(k0)
    return max(1, round(k0 * most))


def tokens_at(epoch: int, epochs: int, *, first: int, end_share: float, schedule: str) -> int:
    """Returns k(ep), from `first` in epoch 0 towards `end_share` of it after the last one."""
    lost = (1 - _exact(end_share)) * _progress(Fraction(epoch, epochs), schedule)
    return floor(first * (1 - lost))


def source_weight(mode: str, *, k: int, first: int, num_tokens: int, fixed: float) -> float:
    """Returns lambda, the weight of the source's loss on a mixture, in [0, 1].

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
