"""Distances of mixtures from target and source, for increasing shares of source tokens.

    to_source(k) = OTDD(m_k, source),   to_target(k) = OTDD(m_k, target)

m_k are target samples in which k tokens are those of a source sample. Mixtures keep the target's
classes. If mixtures lie between the modalities, the first distance decreases with k and the second
increases. Cai et al., "Enhancing Cross-modal Fine-Tuning with Gradually Intermediate Modality
Generation", ICML 2024 (PaRe), figure 1.

Tokens are replaced as in PaRe after exploration: the k target tokens with the lowest scores by the
k source tokens with the highest scores, in the order of their places. The distances compare mean
tokens. The source consists of exactly the samples that are mixed in. With k = N, all tokens, the
mixtures are the source's samples with classes of the target.

Shapes: n = pairs of samples; b = a batch of them; t = target tokens; s = source tokens; d = their
width; k = shares.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from trainables.distances.otdd import otdd, prepare
from trainables.methods.pare.mixtures import replace
from trainables.methods.pare.selection import ranking
from trainables.models.cross_modal import CrossModalModel
from trainables.seeding import generator
from trainables.sources.source import Source
from trainables.stages.measurements import batches, classes, mean_tokens, source_order, target_order
from trainables.tasks.task import Task
from trainables.training.evaluation import evaluating, gather

SHARES = tuple(i / 10 for i in range(11))

Scorer = Callable[[Tensor], Tensor]  # tokens [b, n, d] -> scores [b, n]


class SamplePairs(NamedTuple):
    """Indices of paired target and source samples, and their classes."""

    target: Int64[Tensor, " n"]
    source: Int64[Tensor, " n"]
    target_classes: Int64[Tensor, " n"]
    source_classes: Int64[Tensor, " n"]


@dataclass(frozen=True, kw_only=True)
class Intermediate:
    """Distances by the share of source tokens, relative to the largest possible number of them."""

    share: Float64[np.ndarray, " k"]
    to_source: Float64[np.ndarray, " k"]
    to_target: Float64[np.ndarray, " k"]

    @property
    def falls(self) -> float:
        """The share of the steps at which the distance from the source does not increase."""
        return float((np.diff(self.to_source) <= 0).mean())

    @property
    def rises(self) -> float:
        """The share of the steps at which the distance from the target does not decrease."""
        return float((np.diff(self.to_target) >= 0).mean())


def intermediate(
    model: CrossModalModel,
    task: Task,
    source: Source,
    scorer: Scorer,
    *,
    most: int,
    shares: Sequence[float] = SHARES,
) -> Intermediate:
    """Measure the distances of mixtures at each share. The model is unchanged afterwards.

    Args:
        model: Model whose embedder makes the target tokens.
        task: Task of the target samples.
        source: Source of the other samples.
        scorer: Scores of tokens.
        most: Largest number of pairs.
        shares: Shares of source tokens, in [0, 1].

    Raises:
        DataError: No class of a side has two samples.
        NonFiniteLoss: Embedded samples are not finite.
    """
    pairs = pair(task, source, most)
    target = mean_tokens(model, task.train.x, pairs.target)
    mixtures = mixture_means(model, task, source, pairs, scorer, shares=shares)
    labels = pairs.target_classes.to(target.device)
    ends = (
        prepare(source.features[pairs.source].to(target), pairs.source_classes.to(target.device)),
        prepare(target, labels),
    )
    to_source, to_target = (
        np.array([otdd(end, mixed, labels).value.item() for mixed in mixtures]) for end in ends
    )
    return Intermediate(share=np.array(shares, float), to_source=to_source, to_target=to_target)


def pair(task: Task, source: Source, most: int) -> SamplePairs:
    """Draw equally many samples of each modality, at most `most`, the same for all trials."""
    n = min(most, len(task.train), len(source))
    target, chosen = target_order(task)[:n], source_order(source)[:n]
    return SamplePairs(target, chosen, classes(task)[target], source.labels[chosen])


@torch.no_grad()
def mixture_means(
    model: CrossModalModel,
    task: Task,
    source: Source,
    pairs: SamplePairs,
    scorer: Scorer,
    *,
    shares: Sequence[float],
) -> Float32[Tensor, "k n d"]:
    """Return the mean tokens of each pair's mixture at each share."""
    device, parts = next(model.parameters()).device, []
    places = batches(task.train.x, torch.arange(len(pairs.target)))
    with evaluating(model.embedder):
        for at in places:
            target = model.embed(gather(task.train.x, pairs.target[at].numpy(), device)).float()
            tokens = source.batch(pairs.source[at])[0].to(device)
            scores, source_scores = scorer(target), scorer(tokens)
            # Tokens are exchanged one for one, so the shorter sequence limits their number.
            most = min(target.shape[1], tokens.shape[1])
            mixtures = (
                mixture(target, tokens, scores, source_scores, k=round(share * most)).mean(1)
                for share in shares
            )
            parts.append(torch.stack(list(mixtures)))
    return torch.cat(parts, dim=1)


def mixture(
    target: Float[Tensor, "b t d"],
    source: Float[Tensor, "b s d"],
    scores: Float[Tensor, "b t"],
    source_scores: Float[Tensor, "b s"],
    *,
    k: int,
) -> Float[Tensor, "b t d"]:
    """Replace the `k` target tokens with the lowest scores by the `k` best source tokens."""
    # The ranking falls, so that its last k places have the lowest scores.
    places = ranking(scores)[:, scores.shape[1] - k :].sort(dim=1).values
    chosen = ranking(source_scores)[:, :k].sort(dim=1).values
    return replace(target, source, places=places, chosen=chosen)


def random_scores(seed: int) -> Scorer:
    """Return a random scorer, which selects all tokens with the same probability."""
    # Drawn on the CPU, so that a GPU has the same scores.
    rng = generator(seed, "random-scores")
    return lambda tokens: torch.rand(tokens.shape[:2], generator=rng).to(tokens.device)
