"""A target task: what it is (`TaskInfo`, plain data) and what one trains on (`Task`, arrays)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Kind = Literal["dense", "classification", "multilabel"]
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """What is known of a task without opening its data."""

    name: str  # "pdebench/advection_1d", "pdebench/burgers_1d@hard"
    title: str  # "Advection 1D"
    dimension: Literal["1d", "2d"]
    kind: Kind
    metric: str  # "nrmse": lower is better, as every metric here
    loss: str  # a name in `trainables.losses.LOSSES`
    samples: int  # as published, all splits
    resolution: int  # grid points a side as the papers feed it
    channels: tuple[int, int]  # in, out
    protocol: str  # how numbers on this task compare; stored beside every metric
    recipe: Mapping[str, Any] = field(default_factory=dict)  # published `refine` settings
    equation: str = ""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Inputs [n, c_in, *grid] and outputs [n, c_out, *grid] (or labels), read-only and mapped."""

    x: np.ndarray
    y: np.ndarray

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
        return self.train.y.shape[1:]
