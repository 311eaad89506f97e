"""A target task: its description (`TaskInfo`, plain data) and its data (`Task`, arrays)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trainables.tasks.store.split import Split
from trainables.tasks.store.statistics import Standardiser, mean_and_std

Kind = Literal["dense", "classification", "multilabel"]
MASKED_SAMPLES = 256  # that a unit is taken from, since those that count have to be copied


@dataclass(frozen=True, kw_only=True)
class Publication:
    """The files that a task was published as."""

    files: str  # as one writes them in a shell
    address: str  # to fetch them from
    licence: str
    megabytes: int  # to fetch, about


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """Description of a task: all that is known without opening its data."""

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
    publication: Publication | None = None  # None: a variant of ours
    published_as: str = ""  # the task whose published numbers hold for this one too
    recipe: Mapping[str, Any] = field(default_factory=dict)  # ORCA's fine-tuning: `refine` settings
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # published, where a
    # method has its own for this task: by method, then by "stage.parameter"
    tokens: int | None = None  # of a sample in 1D, at most, in ORCA's configuration
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
        """The first part of the name."""
        return self.name.partition("/")[0]

    @property
    def stored_protocol(self) -> str:
        """The protocol as stored data state it. Their hash covers it, so that its words stay."""
        return self.earlier_protocol or self.protocol

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of the test split: `metric`, and ORCA's beside it where it differs."""
        return (self.metric,) if self.compat_metric is None else (self.metric, self.compat_metric)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one x as published: [c_in, *grid]."""
        sides = self.grid or (self.resolution,) * int(self.dimension[0])
        return (self.channels[0], *sides)


@dataclass(frozen=True, kw_only=True)
class DataDescription:
    """Sizes of the data of a task, which need not exist yet; of imported data, as published."""

    task: str
    key: str  # the name of their folder
    splits: Mapping[str, int]  # samples
    resolution: int  # grid points a side
    x_shape: tuple[int, ...]  # of one sample
    y_shape: tuple[int, ...]
    bytes: int  # on disk

    @property
    def samples(self) -> int:
        """Samples of all splits."""
        return sum(self.splits.values())


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
        """The shape of one prediction: [c_out, *grid] of a field, or one logit a label."""
        return (self.info.channels[1], *self.train.y.shape[2:])

    @property
    def output_unit(self) -> tuple[float, float]:
        """Mean and standard deviation of the training outputs: the unit of a predicted field.

        They are (0, 1) for pixels that are 0 or 1: their prediction is a logit.
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
