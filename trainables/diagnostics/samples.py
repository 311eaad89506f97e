"""The samples that distances between modalities are taken of, and how they are embedded.

They are drawn by the data's seed: the same in all epochs, trials and methods, so that what is found
on them compares.

Shapes: n = samples of a modality; d = width of a token.
"""

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from trainables.models.cross_modal import CrossModalModel
from trainables.seeding import generator
from trainables.sources.source import Source, balanced_order
from trainables.tasks.store.split import Rows
from trainables.tasks.task import Task
from trainables.training.evaluation import evaluating, rows_at_once, take
from trainables.training.pseudo_labels import target_labels

__all__ = ["classes", "mean_tokens", "source_order", "target_order"]

SEED = 0  # the data's, not the trial's
CLUSTERS = 10  # pseudo-labels where the task has no classes, whatever a stage trains with


def source_order(source: Source) -> Int64[Tensor, " n"]:
    """Returns all source samples by chance, of which each head is as even as the classes allow."""
    return balanced_order(source.labels, generator=generator(SEED, "measured-source"))


def target_order(task: Task) -> Int64[Tensor, " n"]:
    """Returns all training samples by chance."""
    return torch.randperm(len(task.train), generator=generator(SEED, "measured-target"))


def classes(task: Task) -> Int64[Tensor, " n"]:
    """Returns the class, or pseudo-label, of each training sample."""
    return torch.from_numpy(target_labels(task, CLUSTERS))


def batches(inputs: Rows, drawn: Int64[Tensor, " n"]) -> tuple[Int64[Tensor, " b"], ...]:
    """Parts the drawn samples into as many as are read at once."""
    return torch.split(drawn, rows_at_once(inputs))


@torch.no_grad()
def mean_tokens(
    model: CrossModalModel, inputs: Rows, drawn: Int64[Tensor, " n"]
) -> Float32[Tensor, "n d"]:
    """Returns the mean token of each drawn target sample, in single precision."""
    device = next(model.parameters()).device
    with evaluating(model.embedder):
        return torch.cat([
            model.embed(take(inputs, batch.numpy(), device)).mean(1)
            for batch in batches(inputs, drawn)
        ])  # fmt: skip
