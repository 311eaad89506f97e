"""Batches of a split, and metrics and loss over a whole split."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from trainables.metrics import METRICS, FromFirst, mean_of_groups
from trainables.models.cross_modal import CrossModalModel
from trainables.tasks.store.device_rows import DeviceRows
from trainables.tasks.store.split import Rows, Split
from trainables.tasks.task import Task
from trainables.training.losses import loss_of
from trainables.training.state import TrainState

EVALUATION_BATCH, EVALUATION_BYTES = 64, 2**28  # limits of the samples read at once


def gather(array: Rows, indices: np.ndarray, device: torch.device) -> Tensor:
    """Copy rows of an array to `device`. A trial reads its own by `TrainState.rows`."""
    return DeviceRows(device)(array, indices)


def rows_at_once(array: Rows) -> int:
    """Return the number of samples to read at once outside of training."""
    sample_bytes: int = array.dtype.itemsize * math.prod(array.shape[1:])
    return min(EVALUATION_BATCH, max(1, EVALUATION_BYTES // sample_bytes))


def shuffled_batches(
    num_samples: int, batch_size: int, generator: torch.Generator
) -> Iterator[np.ndarray]:
    """Yield the indices of one epoch in random order; the last batch may be short."""
    order = torch.randperm(num_samples, generator=generator).numpy()
    for start in range(0, num_samples, batch_size):
        yield order[start : start + batch_size]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and restore its previous mode at the end."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def predictions(
    state: TrainState, model: CrossModalModel, split: Split, drawn: np.ndarray
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield predictions, in float32, and targets of the drawn samples, batch by batch.

    The batches have the size that is read at once. They are smaller after halvings.

    Args:
        state: State that defines precision, device and halvings.
        model: Model in evaluation mode.
        split: Split of the samples.
        drawn: Indices of the samples.
    """
    step = max(1, rows_at_once(split.x) >> state.halvings)
    batches = (drawn[start : start + step] for start in range(0, len(drawn), step))
    for batch in state.rows.ahead((split.x, split.y), batches):
        with state.supervised():
            prediction = model(state.rows(split.x, batch)).float()
        yield prediction, state.rows(split.y, batch)


class Evaluation(NamedTuple):
    """Metric values and loss of a model on a split. Lower is better."""

    value: float  # value of the task's metric
    loss: float  # the task's loss, the mean over samples
    also: Mapping[str, float]  # values of the other requested metrics


@torch.inference_mode()
def evaluate(
    state: TrainState,
    model: CrossModalModel,
    split: Split,
    task: Task,
    *,
    also: Sequence[str] = (),
) -> Evaluation:
    """Evaluate the model over the whole split in one pass, and leave it in training mode.

    If the split has groups, the predictions of each group are averaged before the metrics, so that
    a group counts as one sample. The loss is averaged over samples.

    Args:
        state: State that defines precision, device and halvings.
        model: Model to evaluate.
        split: Split to evaluate on.
        task: The task, for its loss and metric.
        also: Names of further metrics.

    Raises:
        DataError: A metric has no value on this split.
    """
    model.eval()
    metric, loss_function = task.info.metric, loss_of(task)
    totals = {name: METRICS[name]() for name in (metric, *also)}
    # Some official metrics depend on the first published sample, which has the lowest id.
    for total in totals.values():
        if isinstance(total, FromFirst) and split.sample_id is not None:
            row = np.array([split.sample_id.argmin()])
            total.begin(state.rows(split.y, row)[0])
    # Summed on the device, so that no batch makes the host wait for a GPU.
    loss = torch.zeros((), dtype=torch.float64, device=state.device)
    parts: list[tuple[Tensor, Tensor]] = []
    for prediction, target in predictions(state, model, split, np.arange(len(split))):
        loss += loss_function(prediction, target) * len(target)
        if split.groups is None:
            for total in totals.values():
                total.update(prediction, target)
        else:
            # Samples of a group may lie in several batches, so that its mean needs all predictions.
            parts.append((prediction.cpu(), target.cpu()))
    if split.groups is not None:
        groups = torch.from_numpy(np.array(split.groups))
        whole = [mean_of_groups(torch.cat(part), groups) for part in zip(*parts, strict=True)]
        for total in totals.values():
            total.update(*whole)
    model.train()
    others = {name: totals[name].compute() for name in also}
    return Evaluation(totals[metric].compute(), loss.item() / len(split), others)
