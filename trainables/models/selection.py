"""Choosing k of n tokens by their scores: the highest, or a random subset that learns.

    keys = scores + g,  g ~ Gumbel(0, 1);   subset = the k highest keys

is a draw without replacement in which each next token has a probability proportional to the exp of
its score (Kool et al., "Stochastic Beams and Where to Find Them", ICML 2019). Its mask is made of
ones and zeros, and passes the gradient of a relaxation straight through to the scores:

    straight_through_subset   sigmoid((key - threshold) / temperature), threshold = the k-th key
    relaxed_subset            the sum of k softmaxes, each of which leaves out what the ones before
                              it took (Xie and Ermon, "Reparameterizable Subset Sampling via
                              Continuous Relaxations", IJCAI 2019), which PaRe's code runs

The second takes k steps one after another, the first takes one.

Shapes: b = samples; n = tokens; k = chosen ones.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["Subset", "gumbel_noise", "ranking", "relaxed_subset", "straight_through_subset"]


class Subset(NamedTuple):
    """Tokens in order, the chosen ones first, and which were chosen, with a gradient."""

    order: Int64[Tensor, "b n"]
    mask: Float[Tensor, "b n"]  # 1 for the chosen, else 0


def gumbel_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draws from Gumbel(0, 1), on the CPU."""
    return -torch.empty(shape).exponential_(generator=generator).log()


def ranking(scores: Float[Tensor, "b n"]) -> Int64[Tensor, "b n"]:
    """Returns the tokens' indices from the highest score to the lowest; ties keep their order."""
    return scores.detach().argsort(dim=1, descending=True, stable=True)


def straight_through_subset(keys: Float[Tensor, "b n"], k: int, *, temperature: float) -> Subset:
    """Chooses the k highest keys; a key has the gradient of a sigmoid around the threshold."""
    order = ranking(keys)
    threshold = keys.detach().gather(1, order[:, max(k, 1) - 1, None])
    return _straight_through(((keys - threshold) / temperature).sigmoid(), order, k)


def relaxed_subset(keys: Float[Tensor, "b n"], k: int, *, temperature: float) -> Subset:
    """Chooses the k largest of k softmaxes' sum, whose gradient it has."""
    smallest = torch.finfo(keys.dtype).tiny
    total = taken = torch.zeros_like(keys)
    for _ in range(k):
        keys = keys + (1 - taken).clamp_min(smallest).log()
        taken = (keys / temperature).softmax(dim=1)
        total = total + taken
    return _straight_through(total, ranking(total), k)


def _straight_through(soft: Tensor, order: Tensor, k: int) -> Subset:
    hard = torch.zeros_like(soft).scatter(1, order[:, :k], 1.0)
    return Subset(order, hard + (soft - soft.detach()))
