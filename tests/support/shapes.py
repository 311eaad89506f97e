"""Features, tasks of given arrays, and shapes of tasks without data, which networks need."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.tasks.kinds import Kind
from trainables.tasks.store.split import Rows, Split
from trainables.tasks.store.statistics import Standardiser
from trainables.tasks.task import Task, TaskInfo, TaskShape

LOSSES = {"classification": "cross_entropy", "multilabel": "bce", "regression": "mse"}


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    """Return standard normal features [n, d] in double precision."""
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def task_of(
    x: Rows, y: Rows, kind: Kind = "dense", *, content: str = "0" * 64, **facts: Any
) -> Task:
    """Return a task whose three splits are these inputs and outputs.

    `facts` are fields of its `TaskInfo` that are not the usual ones.
    """
    y_is_class = kind == "classification"
    info = {
        "name": "made/up",
        "title": "Made up",
        "dimension": "1d" if len(x.shape) == 3 else "2d",
        "kind": kind,
        "metric": "zero_one_error" if y_is_class else "nrmse",
        "loss": LOSSES.get(kind, "nrmse"),
        "samples": len(x),
        "resolution": x.shape[-1],
        "channels": (x.shape[1], int(np.max(y)) + 1 if y_is_class else y.shape[1]),
        "protocol": "none",
        **facts,
    }
    return with_splits(TaskInfo(**info), content, train=Split(x=x, y=y))


def with_splits(
    info: TaskInfo, content: str = "0" * 64, *, source: str = "generated", **splits: Split
) -> Task:
    """Return a task, whose training samples also validate and test where no others are given."""
    parts = dict.fromkeys(("train", "val", "test"), splits["train"]) | splits
    return Task(info=info, data_source=source, content_hash=content, baselines={}, **parts)


def shape_of(
    input_shape: tuple[int, ...], output_shape: tuple[int, ...], kind: Kind = "dense"
) -> TaskShape:
    """Return the shape of a task with these inputs and outputs, in units of their own."""
    units = Standardiser(np.zeros(1, np.float32), np.ones(1, np.float32))
    return TaskShape(
        info=TaskInfo(
            name="made/up",
            title="Made up",
            dimension="1d" if len(input_shape) == 2 else "2d",
            kind=kind,
            metric="nrmse",
            loss="mse",
            samples=1,
            resolution=input_shape[-1],
            channels=(input_shape[0], output_shape[0]),
            protocol="none",
        ),
        input_shape=input_shape,
        output_shape=output_shape,
        output_unit=(0.0, 1.0),
        output_standard=units,
        output_units=units,
    )
