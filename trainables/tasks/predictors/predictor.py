"""The base of predictors without a network, and their score on a split.

Shapes: n = samples, c = channels.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from trainables.errors import TrainableError
from trainables.metrics import METRICS, mean_of_groups
from trainables.tasks.store.arrays import release
from trainables.tasks.store.normalisation import Normalisation
from trainables.tasks.store.rows import PickedRows
from trainables.tasks.store.split import Split
from trainables.tasks.task import Task, TaskInfo

BATCH, BATCH_BYTES = 256, 2**26  # maximal size of a block of outputs
MAX_JUDGED = 1000  # validation samples that choose


class CannotApply(TrainableError):
    """A predictor does not fit a task. The message is the reason."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The facts about a task that a predictor may use, besides its training and validation data."""

    info: TaskInfo
    is_generated: bool = False  # by the solver of the task's problem
    normalisation: Normalisation = field(default_factory=Normalisation)

    @classmethod
    def of(cls, task: Task) -> "Setting":
        """Return the setting of a task."""
        return cls(
            info=task.info,
            is_generated=task.data_source == "generated" and "generator" in task.manifest,
            normalisation=Normalisation.of(task.manifest) if task.manifest else Normalisation(),
        )


class Predictor(ABC):
    """Base of predictors without a network. An instance serves one task.

    A predictor gets what a method gets: the inputs and the training split. The validation split is
    for choosing. It never sees the random numbers of a generated sample.
    """

    name: ClassVar[str]
    in_floor: ClassVar[bool] = True  # False: it solves the equation, so it is no bar for learning
    most_judged: ClassVar[int | None] = None  # test samples, if each takes long
    reads_inputs: ClassVar[bool] = True

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    @abstractmethod
    def fit(self, train: Split, val: Split) -> "Predictor":
        """Learn from the training split, choose by the validation split, and return the predictor.

        Raises:
            CannotApply: The predictor does not fit the task.
        """

    @abstractmethod
    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the predictions for inputs [n, c_in, *grid].

        They are fields [n, c_out, *grid], vectors [n, k], or logits [n, k] of classes and labels.
        """

    def score(self, split: Split) -> float:
        """Return the task's metric on a split.

        Raises:
            DataError: The metric is not defined on the split.
        """
        # Inputs may take gigabytes, which a constant does not read.
        if not self.reads_inputs:
            split = replace(split, x=np.zeros((len(split), 1), np.float32))
        return score(self.setting.info.metric, self.predict, split)


def score(metric: str, predict: Callable[[np.ndarray], np.ndarray], split: Split) -> float:
    """Return a metric of predictions on a split, whose samples are read in blocks.

    Raises:
        DataError: The metric is not defined on the split.
    """
    total = METRICS[metric]()
    parts: list[tuple[Tensor, Tensor]] = []
    for rows in batches(split.y):
        prediction = torch.tensor(predict(np.asarray(split.x[rows])))
        parts.append((prediction, torch.tensor(split.y[rows])))
        if isinstance(split.x, np.ndarray):
            release(split.x)
        # Samples of a group may lie in several blocks, so that only ungrouped ones count at once.
        if split.groups is None:
            total.update(*parts.pop())
    if split.groups is not None:
        groups = torch.tensor(split.groups)
        total.update(*(mean_of_groups(torch.cat(p), groups) for p in zip(*parts, strict=True)))
    return total.compute()


def batches(y: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the numbers of samples in blocks of bounded size."""
    step = min(BATCH, max(1, BATCH_BYTES // y[:1].nbytes))
    for start in range(0, len(y), step):
        yield np.arange(start, min(start + step, len(y)))
        release(y)


def head(split: Split, samples: int = MAX_JUDGED) -> Split:
    """Return the first samples of a split; the whole split if its samples are scored in groups."""
    if split.groups is not None or len(split) <= samples:
        return split
    # A slice of inputs may convert them all at once, where `PickedRows` reads them as needed.
    return Split(x=PickedRows([split.x], np.arange(samples)), y=split.y[:samples])
