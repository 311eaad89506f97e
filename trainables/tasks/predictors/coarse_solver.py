"""The task's own solver on a quarter of the resolution, interpolated to the grid of the outputs.

It knows the equation, so it is no bar for a method that learns: it enters no floor. It says what a
cheap conventional solution costs and reaches. It begins from the input alone, which it averages
over blocks of cells; where the input hides a part of the initial state, it cannot begin.

Shapes: n = samples, c = channels, m = coarse points per side.
"""

import numpy as np
from scipy import ndimage

from trainables.tasks.predictors.closed_form import scored_problem
from trainables.tasks.predictors.predictor import CannotApply, Predictor
from trainables.tasks.problem import Problem
from trainables.tasks.store.split import Split

FACTOR = 4  # cells of the fine grid in one of the coarse grid, in each direction
MIN_POINTS = 8  # coarse points per side


class CoarseSolver(Predictor):
    """The solver of the generator on a coarser grid."""

    name = "coarse_solver"
    in_floor = False
    most_judged = 64

    def fit(self, train: Split, val: Split) -> Predictor:
        """Find the solver. Nothing is learned.

        Raises:
            CannotApply: The task has no solver here, its data are not generated, its input hides a
                part of the initial state, or its grid is too coarse.
        """
        del val
        info = self.setting.info
        problem = scored_problem(info)
        if problem is None or type(problem).solve is Problem.solve:
            raise CannotApply(f"no solver is known for the outputs, a {info.kind} task.")
        if not self.setting.is_generated:
            raise CannotApply("the data are not those of a solver here.")
        if problem.hidden:
            raise CannotApply(
                f"the input hides {problem.hidden}, from which the solver has to begin."
            )
        self._lines = problem.grid(1)[0]  # end to end in one channel
        side = train.x.shape[-1] // self._lines
        # The coarse grid is even, too: the dam's solver divides the plane into quarters.
        if side % (2 * FACTOR) or side // FACTOR < MIN_POINTS:
            raise CannotApply(
                f"{side} points per side give no whole coarse grid of at least {MIN_POINTS} points."
            )
        self._problem = problem
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        rule, shape = self.setting.normalisation, x.shape
        # The solver computes in the unit of the equation.
        raw = x if rule.inputs is None else rule.inputs.undo(x)
        if self._lines > 1:
            raw = raw.reshape(len(x), self._lines, -1)
        y = _refined(self._problem.solve(_coarse(raw)))
        y = y.reshape(len(x), -1, *shape[2:]) if self._lines > 1 else y
        return (y if rule.outputs is None else rule.outputs(y)).astype(np.float32)


def _coarse(x: np.ndarray) -> np.ndarray:
    """Return the means over blocks of FACTOR cells in each direction."""
    grid = [part for side in x.shape[2:] for part in (side // FACTOR, FACTOR)]
    blocks = x.astype(np.float64).reshape(*x.shape[:2], *grid)
    means: np.ndarray = blocks.mean(axis=tuple(range(3, blocks.ndim, 2)))
    return means


def _refined(y: np.ndarray) -> np.ndarray:
    """Return coarse fields [n, c, ...] at the cells of the fine grid, by cubic splines."""
    flat = y.reshape(-1, *y.shape[2:])
    fine = [ndimage.zoom(each, FACTOR, order=3, mode="nearest", grid_mode=True) for each in flat]
    return np.stack(fine).reshape(*y.shape[:2], *fine[0].shape)
