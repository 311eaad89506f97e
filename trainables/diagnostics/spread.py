"""Sampling error of an OTDD: its mean and standard deviation over subsets of the samples.

Subsets are disjoint on both sides, of equal size, and the same for all trials. The first subset
holds the samples of the OTDD that a stage records after each epoch, if both have the same size.
"""

from dataclasses import dataclass

import numpy as np
import torch

from trainables.distances.otdd import otdd, prepare
from trainables.models.cross_modal import CrossModalModel
from trainables.sources.source import Source
from trainables.stages.measurements import classes, mean_tokens, source_order, target_order
from trainables.tasks.task import Task

SUBSETS = 3


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and deviation of OTDD of the official scale, with exact transport."""

    mean: float
    std: float  # standard deviation over the subsets, with the divisor n - 1
    n: int  # samples of each modality in a subset


@torch.no_grad()
def otdd_spread(
    model: CrossModalModel, task: Task, source: Source, *, most: int, subsets: int = SUBSETS
) -> Spread:
    """Return the distance of embedded target samples from the source over subsets.

    The model is unchanged afterwards.

    Args:
        model: Model whose embedder makes the target tokens.
        task: Task of the target samples.
        source: Source samples.
        most: Largest number of samples in a subset.
        subsets: Number of subsets.

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
        side = prepare(source.features[chosen].to(target), source.labels[chosen].to(target.device))
        values.append(otdd(side, target, labels[drawn].to(target.device)).value.item())
    return Spread(mean=float(np.mean(values)), std=float(np.std(values, ddof=1)), n=n)
