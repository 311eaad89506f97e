"""Shapes of tasks without data, from which networks are built."""

import numpy as np

from trainables.tasks.kinds import Kind
from trainables.tasks.store.statistics import Standardiser
from trainables.tasks.task import TaskInfo, TaskShape

__all__ = ["shape_of"]


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
