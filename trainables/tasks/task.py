"""A target task: its description (`TaskInfo`) and its data (`Task`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from trainables.errors import ConfigError
from trainables.tasks.kinds import Kind
from trainables.tasks.store.split import Split
from trainables.tasks.store.statistics import Standardiser, mean_and_std

MASKED_SAMPLES = 256  # samples for the unit of masked outputs, whose known points must be copied


@dataclass(frozen=True, kw_only=True)
class Publication:
    """The published files of a task."""

    files: str  # as written in a shell
    address: str  # of the download
    licence: str
    megabytes: int  # approximate size of the download


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """Description of a task that is known without its data."""

    name: str  # "pdebench/advection_1d", "pdebench/burgers_1d@hard", "…/shallow_water_2d@orca"
    title: str  # "Advection 1D"
    dimension: Literal["1d", "2d"]
    kind: Kind
    metric: str  # "nrmse"; of every metric, lower is better
    loss: str  # a name in `trainables.training.losses.LOSSES`
    samples: int  # published number, over all splits
    resolution: int  # grid points per side, as the papers use it
    channels: tuple[int, int]  # in, out (or what else the kind counts, see `kinds`)
    protocol: str  # conditions of comparable scores; stored with every metric
    publication: Publication | None = None  # None: a variant of ours
    published_as: str = ""  # the task with the same published numbers, if it has another name
    recipe: Mapping[str, Any] = field(default_factory=dict)  # ORCA's fine-tuning: `refine` settings
    # Published settings of methods for this task: by method, then by "stage.parameter".
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tokens: int | None = None  # maximal number per sample in 1D, in ORCA's configuration
    equation: str = ""
    grid: tuple[int, ...] = ()  # points of each side, if they differ
    test_samples: int = 0  # size of the published test set; 0: none
    stored: Literal["float32", "float16", "uint8"] = "float32"  # inputs on disk
    packed: tuple[int, ...] = ()  # shape of one x on disk, if it differs
    mask: Literal["known", "ignored"] | None = None  # meaning of 1 in the last channel of y
    compat_metric: str | None = None  # official metric, if it differs from `metric`
    decoded: bool = False  # True: ORCA's head predicts outputs standardised at each point
    recurring: str = ""  # reason for inputs that occur in two splits by the protocol

    def __post_init__(self) -> None:
        """Check that only fields have what belongs to fields.

        Raises:
            ConfigError: Outputs of another kind have a mask, or are decoded at each point.
        """
        if self.kind != "dense" and (self.mask is not None or self.decoded):
            given = "decoded" if self.mask is None else f"mask `{self.mask}`"
            raise ConfigError(
                f"{self.name}: {given} is for dense outputs, which have points, but the task is a "
                f"{self.kind}. Leave it out."
            )

    @property
    def benchmark(self) -> str:
        """The name of the benchmark, which is the first part of the task's name."""
        return self.name.partition("/")[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of the test split: `metric`, and the official one if it differs."""
        return (self.metric,) if self.compat_metric is None else (self.metric, self.compat_metric)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one x as published: [c_in, *grid]."""
        sides = self.grid or (self.resolution,) * int(self.dimension[0])
        return (self.channels[0], *sides)


@dataclass(frozen=True, kw_only=True)
class DataDescription:
    """Sizes of the data of a task, which need not exist yet; published sizes of imported data."""

    task: str
    key: str  # name of the folder
    splits: Mapping[str, int]  # samples by split
    resolution: int  # grid points per side
    x_shape: tuple[int, ...]  # of one sample
    y_shape: tuple[int, ...]
    bytes: int  # on disk

    @property
    def samples(self) -> int:
        """The number of samples of all splits."""
        return sum(self.splits.values())


@dataclass(frozen=True, kw_only=True)
class TaskShape:
    """The properties of a task from which a network is built, without the task's data."""

    info: TaskInfo
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    output_unit: tuple[float, float]
    output_standard: Standardiser
    output_units: Standardiser


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task with its data. `train`, `val` and `test` have no sample in common."""

    info: TaskInfo
    train: Split
    val: Split
    test: Split
    data_source: Literal["generated", "official"]
    content_hash: str  # of the data and their description
    baselines: Mapping[str, float]  # test metric of trivial predictors: "mean", "identity"
    manifest: Mapping[str, Any] = field(default_factory=dict)  # of the store, if there is one

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.train.x.shape[1:]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one prediction: [c_out, *grid] of a field, else [outputs]."""
        return (self.info.channels[1], *self.train.y.shape[2:])

    @property
    def output_unit(self) -> tuple[float, float]:
        """Mean and standard deviation of the training outputs: the unit of a predicted field.

        They are (0, 1) for binary pixels, whose predictions are logits.
        """
        y = self.train.y
        if self.info.mask == "ignored":
            return 0.0, 1.0
        if self.info.mask == "known":
            y = y[:MASKED_SAMPLES]  # a random subset, as any prefix is
            y = y[:, :-1][y[:, -1:] > 0]
        # Constant outputs have no spread, and a unit of 0 would multiply all predictions by 0.
        return float(y.mean()), float(y.std()) or 1.0

    @cached_property
    def output_units(self) -> Standardiser:
        """Mean and standard deviation of each training output of a regression.

        The scale of a constant output is 1, so that predictions stay finite.
        """
        y = self.train.y
        scale = np.where(y.min(axis=0) < y.max(axis=0), y.std(axis=0, dtype=np.float64), 1.0)
        mean = y.mean(axis=0, dtype=np.float64)
        return Standardiser(mean.astype(np.float32), scale.astype(np.float32))

    @property
    def output_standard(self) -> Standardiser:
        """Standardisation of a field at each point, by the training outputs at that point."""
        return Standardiser.of(*mean_and_std(self.train.y))
