"""A target task: what it is (`TaskInfo`, plain data) and what one trains on (`Task`, arrays)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from trainables.tasks.store.statistics import Standardiser, mean_and_std

Kind = Literal["dense", "classification", "multilabel"]
SPLITS = ("train", "val", "test")
MASKED_SAMPLES = 256  # that a unit is taken from, since those that count have to be copied


@runtime_checkable
class Rows(Protocol):
    """Samples that are read by their indices: an array, or what makes them when they are asked."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __len__(self) -> int: ...
    def __getitem__(self, indices: Any, /) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """What is known of a task without opening its data."""

    name: str  # "pdebench/advection_1d", "pdebench/burgers_1d@hard", "…/shallow_water_2d@orca"
    title: str  # "Advection 1D"
    dimension: Literal["1d", "2d"]
    kind: Kind
    metric: str  # "nrmse": lower is better, as every metric here
    loss: str  # a name in `trainables.training.losses.LOSSES`
    samples: int  # as published, all splits
    resolution: int  # grid points a side as the papers feed it
    channels: tuple[int, int]  # in, out (classes or labels, where these are predicted)
    protocol: str  # how numbers on this task compare; stored beside every metric
    earlier_protocol: str = ""  # the same in former words, in which stored data are described
    recipe: Mapping[str, Any] = field(default_factory=dict)  # published `refine` settings
    equation: str = ""
    grid: tuple[int, ...] = ()  # points a side, where the sides differ
    test_samples: int = 0  # of `samples`: the published test set; 0 where there is none
    stored: Literal["float32", "float16", "uint8"] = "float32"  # inputs on disk
    packed: tuple[int, ...] = ()  # the shape of one x on disk, where it is another
    mask: Literal["known", "ignored"] | None = None  # what 1 in y's last channel says of a point
    compat_metric: str | None = None  # the official number, where it is another than `metric`
    decoded: bool = False  # ORCA's head predicts outputs that are standardised at each point
    recurring: str = ""  # why one input may be in two splits, where the protocol has it so

    @property
    def benchmark(self) -> str:
        """The name's first part."""
        return self.name.partition("/")[0]

    @property
    def stored_protocol(self) -> str:
        """The protocol as stored data state it: their hash covers it, so that its words stay."""
        return self.earlier_protocol or self.protocol

    @property
    def metrics(self) -> tuple[str, ...]:
        """What the test split is scored by: `metric`, and ORCA's beside it where it differs."""
        return (self.metric,) if self.compat_metric is None else (self.metric, self.compat_metric)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one x as published: [c_in, *grid]."""
        sides = self.grid or (self.resolution,) * int(self.dimension[0])
        return (self.channels[0], *sides)


@dataclass(frozen=True, kw_only=True)
class Publication:
    """Files that a task was published as."""

    files: str  # as one writes them in a shell
    address: str  # to fetch them from
    licence: str
    megabytes: int  # to fetch, about


@dataclass(frozen=True, kw_only=True)
class Split:
    """Inputs [n, c_in, *grid] and outputs, read-only and mapped.

    Outputs are fields [n, c_out, *grid], labels [n] (int64), or label sets [n, k] of 0 and 1. Where
    `TaskInfo.mask` says so, a field has one more channel, of 0 and 1.
    """

    x: Rows
    y: np.ndarray
    groups: np.ndarray | None = None  # int64 [n]: parts of one thing, to be scored together
    sample_id: np.ndarray | None = None  # int64 [n]: in the order of the published files

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task with its data: `train`, `val` and `test` share no sample."""

    info: TaskInfo
    train: Split
    val: Split
    test: Split
    data_source: Literal["generated", "official"]
    content_hash: str  # of the data and all that made them
    baselines: Mapping[str, float]  # test metric of trivial predictors: "mean", "identity"

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.train.x.shape[1:]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one prediction: a field's [c_out, *grid], or one logit a label."""
        return (self.info.channels[1], *self.train.y.shape[2:])

    @property
    def output_unit(self) -> tuple[float, float]:
        """Mean and standard deviation of the training outputs that a field's prediction is of.

        They are (0, 1) for pixels that hold or do not, of which the prediction is a logit.
        """
        y = self.train.y
        if self.info.mask == "ignored":
            return 0.0, 1.0
        if self.info.mask == "known":
            y = y[:MASKED_SAMPLES]  # a random subset, as any prefix is
            y = y[:, :-1][y[:, -1:] > 0]
        return float(y.mean()), float(y.std()) or 1.0

    @property
    def output_standard(self) -> Standardiser:
        """Standardisation of a field at each of its points, by the training outputs there."""
        return Standardiser.of(*mean_and_std(self.train.y))
