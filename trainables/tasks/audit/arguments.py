"""The reasons why a predictor without a network does well on a task of PDEBench.

Each reason is a sentence with its argument: numbers that are computed here from the equation or
counted in the data. Two of the arguments, the decay of the slowest wave and the number of pictures
of a round dam, need no data.

Shapes: n = samples, m = points per side.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from trainables.tasks.pde_bench.advection_1d import COMPAT as ADVECTION
from trainables.tasks.pde_bench.burgers_1d import COMPAT as BURGERS
from trainables.tasks.pde_bench.darcy_2d import COMPAT as DARCY
from trainables.tasks.pde_bench.darcy_2d import diffusion_matrix, steady_state
from trainables.tasks.pde_bench.diffusion_reaction_1d import COMPAT as REACTION
from trainables.tasks.pde_bench.shallow_water_2d import COMPAT as DAM
from trainables.tasks.pde_bench.shallow_water_2d import HALF_WIDTH
from trainables.tasks.predictors.closed_form import remaining
from trainables.tasks.problem import cell_centres
from trainables.tasks.task import Task

LOOKED_AT = 50  # test samples whose steady state is solved


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Reason for which a task ranks methods, or does not."""

    text: str  # a sentence
    argument: Mapping[str, int | float] = field(default_factory=dict)  # its numbers by name


def distinct_dams(points: int) -> int:
    """Return the number of different pictures of the published round dam on m x m points."""
    x = cell_centres(points // 2, 0.0, HALF_WIDTH)
    # In units of half a cell, squared distances of the centres are whole numbers. The picture
    # changes at each of them.
    squares = np.round(np.square(np.hypot(x[:, None], x)) / (x[0] ** 2)).astype(int)
    low, high = (edge**2 / x[0] ** 2 for edge in DAM.radius_range)
    return 1 + len(np.unique(squares[(squares > low) & (squares <= high)]))


def _burgers(task: Task) -> Reason:
    share = remaining(BURGERS.nu / np.pi, BURGERS.end_time)
    return Reason(
        text=f"Diffusion has ended: the slowest wave keeps {share:.1g} of its size, so that the "
        f"target is the mean of the input{_constancy(task)}.",
        argument={"slowest_wave_keeps": share, "variation_in_x": _variation(task)},
    )


def _advection(task: Task) -> Reason:
    periods = ADVECTION.beta * ADVECTION.end_time
    return Reason(
        text=f"The target is the input, moved by {periods:g} periods: a linear map.",
        argument={"periods": periods},
    )


def _reaction(task: Task) -> Reason:
    share = remaining(REACTION.nu, REACTION.end_time)
    return Reason(
        text=f"Diffusion has ended: the slowest wave keeps {share:.1g} of its size, so that the "
        f"target is one number, the logistic growth of the mean of the input{_constancy(task)}.",
        argument={"slowest_wave_keeps": share, "variation_in_x": _variation(task)},
    )


def _sorption(task: Task) -> Reason:
    x = np.asarray(task.train.x)
    points = x.reshape(len(x), -1)
    constant = float((points.max(axis=1) == points.min(axis=1)).mean())
    return Reason(
        text=f"The input is one number: {constant:.0%} of the training inputs are constant in x. "
        "The targets lie on a curve, which the training samples cover.",
        argument={"constant_inputs": constant, "training_samples": len(x)},
    )


def _dam(task: Task) -> Reason:
    pictures = distinct_dams(task.info.resolution)
    train, test = (
        np.ascontiguousarray(split.x).reshape(len(split), -1) for split in (task.train, task.test)
    )
    seen = {row.tobytes() for row in train}
    recur = sum(row.tobytes() in seen for row in test)
    here = len(seen | {row.tobytes() for row in test})
    return Reason(
        text=f"A round dam on {task.info.resolution} x {task.info.resolution} points is one of "
        f"{pictures} pictures. {recur} of {len(test)} test inputs are training inputs, bit for "
        "bit: a lookup answers them.",
        argument={
            "possible_pictures": pictures,
            "pictures_here": here,
            "test_inputs_in_training": recur / len(test),
        },
    )


def _species(task: Task) -> Reason:
    return Reason(
        text="The input hides v(0), white noise on which the target depends: no method can remove "
        "this part of the error.",
    )


def _darcy(task: Task) -> Reason:
    """Return how far the targets are from the steady state, the part that the input determines."""
    rows = np.arange(min(LOOKED_AT, len(task.test)))
    away = []
    for a, u in zip(task.test.x[rows], task.test.y[rows], strict=True):
        matrix = diffusion_matrix(a[0].astype(np.float64), boundary=DARCY.boundary)
        steady = steady_state(matrix, np.full(u.size, DARCY.beta)).reshape(u[0].shape)
        away.append(float(np.linalg.norm(u[0] - steady) / np.linalg.norm(steady)))
    median, mean = float(np.median(away)), float(np.mean(away))
    return Reason(
        text=f"The input hides u(0), and the target is a snapshot before the steady state: of "
        f"{len(rows)} test targets it is {median:.1%} away in the median, and {mean:.0%} in the "
        "mean.",
        argument={"median_from_steady": median, "mean_from_steady": mean},
    )


def _gas(task: Task) -> Reason:
    return Reason(text="No such reason was found: the input is the whole initial state, and the "
                  "target no simple function of it.")  # fmt: skip


def _constancy(task: Task) -> str:
    """Return a clause on how constant the targets of these data are in x."""
    varies = _variation(task)
    if varies < np.finfo(np.float32).eps:
        return ", and constant in single precision"
    return f", and varies by {varies:.1g} of its size within a sample"


def _variation(task: Task) -> float:
    """Return the median over test targets of their deviation by their root mean square."""
    y = np.asarray(task.test.y, np.float64).reshape(len(task.test), -1)
    size = np.sqrt(np.square(y).mean(axis=1))
    return float(np.median(y.std(axis=1) / np.where(size > 0, size, 1.0)))


REASONS: Mapping[str, Callable[[Task], Reason]] = {
    "pdebench/advection_1d": _advection,
    "pdebench/burgers_1d": _burgers,
    "pdebench/diffusion_reaction_1d": _reaction,
    "pdebench/diffusion_sorption_1d": _sorption,
    "pdebench/navier_stokes_1d": _gas,
    "pdebench/darcy_2d": _darcy,
    "pdebench/shallow_water_2d": _dam,
    "pdebench/diffusion_reaction_2d": _species,
}
