"""Dependence of an OTDD on the samples it is taken of: its mean and deviation over subsets.

Subsets are disjoint on both sides, of equal size and the same for all trials. The first of them is
what a stage that records OTDD measures after each epoch, where that takes as many samples.
"""

from dataclasses import dataclass

import numpy as np
import torch

from trainables.distances.otdd import otdd, prepare
from trainables.models.cross_modal import CrossModalModel
from trainables.sources.source import Source
from trainables.stages.measurements import classes, mean_tokens, source_order, target_order
from trainables.tasks.task import Task

__all__ = ["Spread", "otdd_spread"]

SUBSETS = 3


@dataclass(frozen=True, kw_only=True)
class Spread:
    """OTDD of the official scale, with exact transport."""

    mean: float
    std: float  # over the subsets, with one degree of freedom less
    n: int  # samples of each modality in a subset


@torch.no_grad()
def otdd_spread(
    model: CrossModalModel, task: Task, source: Source, *, most: int, subsets: int = SUBSETS
) -> Spread:
    """Return the distance of embedded target samples from the source, over subsets of `most`
    samples at most; leaves the model as it was.

    Raises:
        DataError: No class of a subset has two samples.
        NonFiniteLoss: Embedded samples are not finite.
    """
    n = min(most, len(task.train) // subsets, len(source) // subsets)
    labels, values = classes(task), []
    orders = target_order(task), source_order(source)
    for i in range(subsets):
        drawn, chosen = (order[i * n : (i + 1) * n].sort().values for order in orders)
        target = mean_tokens(model, task.train.x, drawn)
        side = prepare(source.features[chosen].to(target), source.labels[chosen])
        values.append(otdd(side, target, labels[drawn]).value.item())
    return Spread(mean=float(np.mean(values)), std=float(np.std(values, ddof=1)), n=n)
