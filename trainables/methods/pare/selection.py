"""Scores of tokens, and selections of k: the highest scores, or a differentiable random subset.

One scorer is used for target and source:

    gate           sigmoid of a linear map of the token (PaRe; Cai et al., ICML 2024)
    gate_mlp       sigmoid of a perceptron with one hidden layer (a variant in their code)
    attn_received  log of the attention that a token receives, averaged over the queries:
                   log mean_i softmax_j(q_i . k_j / sqrt(d)); quadratic in the tokens
    attn_window    the same, but tokens attend only within windows of a grid
    attn_query     log of the attention from one learned query; linear in the tokens

Attention scores of a sample are logs of shares that sum to 1. Gate scores are in (0, 1). The
weights of a gate are initialised with a standard deviation of 0.0176, as all new layers here. PaRe
uses PyTorch's 1 / sqrt(3 D), which is 0.051 for Swin-B and 0.021 for RoBERTa. Both give tokens the
same ranks. During exploration the Gumbel noise, with a standard deviation of 1.28, dominates both.

A random subset is

    keys = scores + g,  g ~ Gumbel(0, 1);   subset = the k highest keys

It is a draw without replacement: the probability of each next token is proportional to the exp of
its score (Kool et al., "Stochastic Beams and Where to Find Them", ICML 2019). The mask of the
subset consists of ones and zeros. Its straight-through gradient is that of a relaxation:

    straight_through_subset   sigmoid((key - threshold) / temperature), threshold = the k-th key
    relaxed_subset            sum of k softmaxes; each one suppresses the tokens that the previous
                              ones took (Xie and Ermon, "Reparameterizable Subset Sampling via
                              Continuous Relaxations", IJCAI 2019). PaRe's code uses it.

The second takes k sequential steps, the first takes one.

Shapes: b = samples; n = tokens; k = selected tokens; D = width of a token; d = width of queries and
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
    """Order of the tokens, selected ones first, and the differentiable mask of the selection."""

    order: Int64[Tensor, "b n"]
    mask: Float[Tensor, "b n"]  # 1 for selected tokens, else 0


def gumbel_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw samples of Gumbel(0, 1) on the CPU."""
    return -torch.empty(shape).exponential_(generator=generator).log()


def ranking(scores: Float[Tensor, "b n"]) -> Int64[Tensor, "b n"]:
    """Return the tokens' indices from the highest score to the lowest; ties keep their order."""
    return scores.detach().argsort(dim=1, descending=True, stable=True)


def straight_through_subset(keys: Float[Tensor, "b n"], k: int, *, temperature: float) -> Subset:
    """Select the k highest keys. The gradient is that of a sigmoid around the threshold.

    Args:
        keys: Scores, with Gumbel noise for a random subset.
        k: Number of selected tokens.
        temperature: Temperature of the sigmoid. It changes only the gradient.
    """
    order = ranking(keys)
    # k is 0 where all target tokens give way and none stays. The threshold is then the highest key.
    threshold = keys.detach().gather(1, order[:, max(k, 1) - 1, None])
    return _straight_through(((keys - threshold) / temperature).sigmoid(), order, k)


def relaxed_subset(keys: Float[Tensor, "b n"], k: int, *, temperature: float) -> Subset:
    """Select the k largest values of a sum of k softmaxes. The gradient is that of the sum.

    Args:
        keys: Scores, with Gumbel noise for a random subset.
        k: Number of selected tokens and of softmaxes.
        temperature: Temperature of the softmaxes.
    """
    smallest = torch.finfo(keys.dtype).tiny
    total = taken = torch.zeros_like(keys)
    # Each turn multiplies exp(key) by the share of the token that is not yet taken.
    for _ in range(k):
        keys = keys + (1 - taken).clamp_min(smallest).log()
        taken = (keys / temperature).softmax(dim=1)
        total = total + taken
    return _straight_through(total, ranking(total), k)


def _straight_through(soft: Tensor, order: Tensor, k: int) -> Subset:
    hard = torch.zeros_like(soft).scatter(1, order[:, :k], 1.0)
    # The difference is exactly 0, so that the mask has exact ones and zeros, and the gradient of
    # `soft`.
    return Subset(order, hard + (soft - soft.detach()))


FAR_BELOW = -1e9  # a log that acts as minus infinity, but has a finite gradient


class Gate(nn.Module):
    """Scorer of single tokens: a linear map, or a perceptron with `hidden` units."""

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
    """Scorer by the attention that a token receives from all tokens, or those of its window."""

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        window: int | None = None,
        grid: tuple[int, int] | None = None,
    ) -> None:
        """Initialise the projections to queries and keys.

        Args:
            width: Width D of a token.
            hidden: Width d of queries and keys.
            window: Side of a window in tokens; None: all tokens attend to each other. Windows at
                the right and lower edges are smaller if the side does not divide the grid.
            grid: Rows and columns of the tokens; None: one row.
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
        # The grid is padded to whole windows; padded tokens are masked and then removed.
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
    """Scorer by the attention of one learned query."""

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
    """Make the scorer called `name`.

    Args:
        name: Name in the table of the module.
        width: Width D of a token.
        hidden: Width of hidden units, or of queries and keys.
        window: Side of a window in tokens, for `attn_window`.
        grid: Rows and columns of the tokens, for `attn_window`; None: one row.
        generator: Generator of the initial weights, on the CPU.
    """
    makers: Mapping[str, Callable[[], nn.Module]] = {
        "gate": lambda: Gate(width),
        "gate_mlp": lambda: Gate(width, hidden),
        "attn_received": lambda: ReceivedAttention(width, hidden),
        "attn_window": lambda: ReceivedAttention(width, hidden, window=window, grid=grid),
        "attn_query": lambda: QueryAttention(width, hidden),
    }
    # Layers with memory would draw their first weights from PyTorch's global generator.
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
        queries: q [b, n, d].
        keys: k [b, n, d].
        absent: Tokens [b, n] that neither give nor receive attention. Their own scores are
            undefined.
        tokens: Number of tokens that give attention; None: n.
    """
    logits = queries @ keys.transpose(1, 2) / sqrt(queries.shape[2])
    if absent is not None:
        logits = logits.masked_fill(absent[:, None, :], FAR_BELOW)
    shares = logits.log_softmax(dim=2)
    if absent is not None:
        # An absent token has a softmax of its own, whose shares must not count.
        shares = shares.masked_fill(absent[:, :, None], FAR_BELOW)
    # Divided by all tokens of the sample, so that the shares of all windows together sum to 1.
    return shares.logsumexp(dim=1) - log(tokens or keys.shape[1])
