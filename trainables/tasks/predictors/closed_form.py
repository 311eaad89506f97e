"""Closed forms: predictors that a task's equation gives, without a network and without time steps.

They use the equation, or that the input is one number, which methods are not told. So they are no
bar for a method that learns, and enter no floor.

| problem | prediction |
|---|---|
| Advection | the input, shifted by speed x time |
| Burgers | the transform of Hopf and Cole; when diffusion has ended, the mean of the input |
| Diffusion-reaction 1D, when diffusion has ended | logistic growth of the mean of the input |
| Diffusion-sorption with a constant input | interpolation between samples in its one number |
| Shallow water with a centred dam | interpolation between samples in the dam's area: a lookup |

A formula reads the input alone. Diffusion has ended if the slowest wave keeps less than
`NEGLIGIBLE` of its size. The time is that of the scored frame, which a protocol publishes.

Shapes: n = samples, c = channels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy  # its parts are imported where they are used: `validate` needs none

from trainables.tasks.pde_bench.advection_1d import Advection, shifted
from trainables.tasks.pde_bench.burgers_1d import FINE, Burgers
from trainables.tasks.pde_bench.diffusion_reaction_1d import DiffusionReaction, grow
from trainables.tasks.pde_bench.diffusion_sorption_1d import DiffusionSorption
from trainables.tasks.pde_bench.shallow_water_2d import RadialDamBreak
from trainables.tasks.predictors.predictor import CannotApply, Predictor
from trainables.tasks.problem import Problem
from trainables.tasks.registry import benchmark_of
from trainables.tasks.store.arrays import row_blocks
from trainables.tasks.store.split import Split
from trainables.tasks.task import TaskInfo

NEGLIGIBLE = 1e-3
Formula = Callable[[np.ndarray], np.ndarray]


class ClosedForm(Predictor):
    """The formula of a task's equation."""

    name = "closed_form"
    in_floor = False

    def fit(self, train: Split, val: Split) -> Predictor:
        """Find the formula.

        Raises:
            CannotApply: The task has no equation here, or its equation has no formula.
        """
        del val
        problem = scored_problem(self.setting.info)
        make = FORMULAS.get(type(problem))
        if make is None:
            raise CannotApply("no formula is known for its outputs.")
        self._formula = make(problem, train)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self._formula(x)


def scored_problem(info: TaskInfo) -> Problem | None:
    """Return the problem whose end time is scored, or None if the task has no generator."""
    problems = benchmark_of(info.name).problems
    return None if problems is None else problems(info).scored


def remaining(diffusivity: float, time: float) -> float:
    """Return exp(-4 pi^2 D t): the share that the slowest wave of a period of 1 keeps."""
    return float(np.exp(-4 * np.pi**2 * diffusivity * time))


def _of_burgers(problem: Burgers, train: Split) -> Formula:
    del train
    if remaining(problem.nu / np.pi, problem.end_time) <= NEGLIGIBLE:
        return _mean_line

    def predict(x: np.ndarray) -> np.ndarray:
        # The transform needs a grid that is finer than that of the input, which is periodic.
        points = x.shape[-1]
        stride = -(-FINE // points)
        fine = scipy.signal.resample(x.astype(np.float64), points * stride, axis=-1)
        return problem.solve(fine)[..., ::stride].astype(np.float32)

    return predict


def _of_growth(problem: DiffusionReaction, train: Split) -> Formula:
    del train
    share = remaining(problem.nu, problem.end_time)
    if share > NEGLIGIBLE:
        raise CannotApply(
            f"its slowest wave keeps {share:.2g} of its size, so that the target is more than a "
            "function of the mean of the input."
        )
    rate = np.float64(problem.rho * problem.end_time)
    return lambda x: grow(_mean_line(x), rate).astype(np.float32)


def _of_sorption(problem: DiffusionSorption, train: Split) -> Formula:
    if problem.field is not None:
        raise CannotApply("its input is a field, and not one number.")
    return _interpolation(train)


FORMULAS: Mapping[type, Callable[[Any, Split], Formula]] = {
    Advection: lambda own, train: lambda x: shifted(x, own.beta * own.end_time),
    Burgers: _of_burgers,
    DiffusionReaction: _of_growth,
    DiffusionSorption: _of_sorption,
    RadialDamBreak: lambda own, train: _interpolation(train),
}


def _mean_line(x: np.ndarray) -> np.ndarray:
    """Return the mean of each channel [n, c, m] at all points."""
    mean = x.mean(axis=-1, keepdims=True, dtype=np.float64).astype(np.float32)
    return np.broadcast_to(mean, x.shape)


def _interpolation(train: Split) -> Formula:
    """Return the linear interpolation of outputs between training samples, by the inputs' mean.

    The mean of an input of one number is this number, and the mean depth of a dam tells its area.
    """
    means = [_mean_of_each(block) for block in row_blocks(np.asarray(train.x))]
    # Equal inputs count once, because an interval of length 0 would be divided by.
    levels, first = np.unique(np.concatenate(means), return_index=True)
    if len(levels) < 2:
        raise CannotApply("all training inputs are equal.")

    def predict(x: np.ndarray) -> np.ndarray:
        level = _mean_of_each(x)
        # Beyond the outermost samples, the last interval is extended.
        low = np.clip(np.searchsorted(levels, level, side="right") - 1, 0, len(levels) - 2)
        weight = (level - levels[low]) / (levels[low + 1] - levels[low])
        weight = weight.reshape(-1, *(1,) * (train.y.ndim - 1))
        ends = (np.asarray(train.y[first[low + step]], np.float64) for step in (0, 1))
        before, after = ends
        values: np.ndarray = (before + weight * (after - before)).astype(np.float32)
        return values

    return predict


def _mean_of_each(x: np.ndarray) -> np.ndarray:
    means: np.ndarray = x.reshape(len(x), -1).mean(axis=1, dtype=np.float64)
    return means
