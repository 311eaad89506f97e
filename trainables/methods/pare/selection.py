"""Scores of tokens, and the choice of k by them: the highest, or a random subset that learns.

One scorer serves target and source:

    gate           sigmoid of a linear map of the token alone (PaRe; Cai et al., ICML 2024)
    gate_mlp       sigmoid of a perceptron with one hidden layer (a variant in their code)
    attn_received  log of the attention that a token receives, averaged over all that could give it:
                   log mean_i softmax_j(q_i . k_j / sqrt(d)); quadratic in the tokens
    attn_window    the same where tokens attend within windows of a grid alone
    attn_query     log of the attention that one learned query gives; linear in the tokens

Attention scores of a sample are logs of shares that sum to 1. A gate's lie in (0, 1). Its weights
start with a standard deviation of 0.0176, as all fresh ones here; PaRe's with PyTorch's 1 /
sqrt(3 D), which is 0.051 of Swin-B and 0.021 of RoBERTa. Tokens have the same ranks at either, and
while it explores the Gumbel noise, of 1.28, outweighs both.

A random subset,

    keys = scores + g,  g ~ Gumbel(0, 1);   subset = the k highest keys

is a draw without replacement in which each next token has a probability proportional to the exp of
its score (Kool et al., "Stochastic Beams and Where to Find Them", ICML 2019). Its mask is made of
ones and zeros, and passes the gradient of a relaxation straight through to the scores:

    straight_through_subset   sigmoid((key - threshold) / temperature), threshold = the k-th key
    relaxed_subset            the sum of k softmaxes, each of which leaves out what the ones before
                              it took (Xie and Ermon, "Reparameterizable Subset Sampling via
                              Continuous Relaxations", IJCAI 2019), which PaRe's code runs

The second takes k steps one after another, the first takes one.

Shapes: b = samples; n = tokens; k = chosen ones; D = width of a token; d = width of queries and
keys.
"""

from collections.abc import Callable, Mapping
from math import log, sqrt
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from trainables.models.predictors import SPREAD

__all__ = [
    "Gate",
    "QueryAttention",
    "ReceivedAttention",
    "Subset",
    "gumbel_noise",
    "make_scorer",
    "ranking",
    "relaxed_subset",
    "straight_through_subset",
]


class Subset(NamedTuple):
    """Tokens in order, the chosen ones first, and which were chosen, with a gradient."""

    order: Int64[Tensor, "b n"]
    mask: Float[Tensor, "b n"]  # 1 for the chosen, else 0


def gumbel_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw from Gumbel(0, 1), on the CPU."""
    return -torch.empty(shape).exponential_(generator=generator).log()


def ranking(scores: Float[Tensor, "b n"]) -> Int64[Tensor, "b n"]:
    """Return the tokens' indices from the highest score to the lowest; ties keep their order."""
    return scores.detach().argsort(dim=1, descending=True, stable=True)


def straight_through_subset(keys: Float[Tensor, "b n"], k: int, *, temperature: float) -> Subset:
    """Choose the k highest keys; a key has the gradient of a sigmoid around the threshold."""
    order = ranking(keys)
    threshold = keys.detach().gather(1, order[:, max(k, 1) - 1, None])
    return _straight_through(((keys - threshold) / temperature).sigmoid(), order, k)


def relaxed_subset(keys: Float[Tensor, "b n"], k: int, *, temperature: float) -> Subset:
    """Choose the k largest of k softmaxes' sum, whose gradient it has."""
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


FAR_BELOW = -1e9  # a log that is as good as minus infinity, but for its gradient


class Gate(nn.Module):
    """Scores a token by itself: by a linear map, or with `hidden` units in between."""

    def __init__(self, width: int, hidden: int | None = None) -> None:
        super().__init__()
        self.inner = nn.Identity() if hidden is None else nn.Linear(width, hidden)
        self.outer = nn.Linear(hidden or width, 1)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n"]:
        inner = self.inner(tokens)
        if isinstance(self.inner, nn.Linear):
            inner = inner.relu()
        scores: Tensor = self.outer(inner).sigmoid().squeeze(2)
        return scores


class ReceivedAttention(nn.Module):
    """Scores a token by the attention it receives, from all tokens or from those of its window."""

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        window: int | None = None,
        grid: tuple[int, int] | None = None,
    ) -> None:
        """Args:
        window: Tokens a side; windows at the far edges are smaller where it is no divisor.
        grid: Rows and columns of the tokens; None: one row of however many there are.
        """
        super().__init__()
        self.queries, self.keys = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.window, self.grid = window, grid

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n"]:
        queries, keys = self.queries(tokens), self.keys(tokens)
        if self.window is None:
            return _received(queries, keys)
        return self._within_windows(queries, keys, self.window)

    def _within_windows(self, queries: Tensor, keys: Tensor, side: int) -> Tensor:
        batch, tokens = queries.shape[:2]
        rows, columns = self.grid or (1, tokens)
        height, width = min(side, rows), min(side, columns)
        margin = (0, -columns % width, 0, -rows % height)  # right and below
        split = "b (r y) (q x) -> (b r q) (y x)"

        def windows(values: Tensor) -> Tensor:
            image = rearrange(values, "b (h w) d -> b d h w", h=rows)
            padded = functional.pad(image, margin)
            return rearrange(padded, "b d (r y) (q x) -> (b r q) (y x) d", y=height, x=width)

        real = functional.pad(torch.ones(batch, rows, columns, device=queries.device), margin)
        absent = rearrange(real, split, y=height, x=width) == 0
        scores = _received(windows(queries), windows(keys), absent, tokens)
        image = rearrange(
            scores,
            "(b r q) (y x) -> b (r y) (q x)",
            b=batch,
            r=real.shape[1] // height,
            y=height,
        )
        return image[:, :rows, :columns].flatten(1)


class QueryAttention(nn.Module):
    """Scores a token by the attention of one learned query."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, 1, bias=False)
        self.keys = nn.Linear(width, hidden)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n"]:
        keys = self.keys(tokens)
        scores: Tensor = (self.query(keys).squeeze(2) / sqrt(keys.shape[2])).log_softmax(dim=1)
        return scores


def make_scorer(
    name: str,
    width: int,
    *,
    hidden: int,
    window: int,
    grid: tuple[int, int] | None,
    generator: torch.Generator,
) -> nn.Module:
    """Make the scorer called `name` for tokens of this width, its weights from `generator`."""
    makers: Mapping[str, Callable[[], nn.Module]] = {
        "gate": lambda: Gate(width),
        "gate_mlp": lambda: Gate(width, hidden),
        "attn_received": lambda: ReceivedAttention(width, hidden),
        "attn_window": lambda: ReceivedAttention(width, hidden, window=window, grid=grid),
        "attn_query": lambda: QueryAttention(width, hidden),
    }
    with torch.device("meta"):
        scorer = makers[name]()
    scorer.to_empty(device="cpu")
    for path, parameter in scorer.named_parameters():
        if parameter.ndim == 1:
            nn.init.zeros_(parameter)
        else:
            std = 1.0 if path.startswith("query.") else SPREAD
            nn.init.trunc_normal_(parameter, std=std, a=-2 * std, b=2 * std, generator=generator)
    return scorer


def _received(
    queries: Float[Tensor, "b n d"],
    keys: Float[Tensor, "b n d"],
    absent: Tensor | None = None,
    tokens: int | None = None,
) -> Float[Tensor, "b n"]:
    """Return log of the sum over i of softmax_j(q_i . k_j / sqrt(d)), divided by `tokens`.

    Args:
        absent: Tokens [b, n] that neither give nor receive; their own scores say nothing.
        tokens: That give attention in all; None: the n there are.
    """
    logits = queries @ keys.transpose(1, 2) / sqrt(queries.shape[2])
    if absent is not None:
        logits = logits.masked_fill(absent[:, None, :], FAR_BELOW)
    shares = logits.log_softmax(dim=2)
    if absent is not None:
        shares = shares.masked_fill(absent[:, :, None], FAR_BELOW)
    return shares.logsumexp(dim=1) - log(tokens or keys.shape[1])
