"""The task's own solver on a quarter of the resolution, interpolated to the grid of the outputs.

It knows the equation, so it is no bar for a method that learns: it enters no floor. It says what a
cheap conventional solution costs and reaches. It begins from the input alone, which it averages
over blocks of cells; where the input hides a part of the initial state, it cannot begin.

Shapes: n = samples, c = channels, m = coarse points per side.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from trainables.tasks.pde_bench import (
    burgers_1d,
    darcy_2d,
    diffusion_reaction_1d,
    diffusion_reaction_2d,
    diffusion_sorption_1d,
    navier_stokes_1d,
    shallow_water_2d,
)
from trainables.tasks.pde_bench.advection_1d import Advection, VariableAdvection, departure
from trainables.tasks.predictors.closed_form import scored_problem, shifted
from trainables.tasks.predictors.predictor import CannotApply, Predictor
from trainables.tasks.problem import Problem, cell_centres
from trainables.tasks.store.split import Split

__all__ = ["CoarseSolver"]

FACTOR = 4  # cells of the fine grid in one of the coarse grid, in each direction
MIN_POINTS = 8  # coarse points per side
FIELDS = 3  # of Navier-Stokes, end to end in one channel
REACH = 2.0  # distance that no wave of a dam crosses in time 1


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
        solve = SOLVERS.get(type(problem))
        if problem is None or solve is None:
            raise CannotApply(f"no solver is known for the outputs, a {info.kind} task.")
        if not self.setting.is_generated:
            raise CannotApply("the data are not those of a solver here.")
        if hidden := _hidden(problem):
            raise CannotApply(hidden)
        lines = FIELDS if type(problem) is navier_stokes_1d.NavierStokes else 1
        side = train.x.shape[-1] // lines
        if side % (2 * FACTOR) or side // FACTOR < MIN_POINTS:
            raise CannotApply(
                f"{side} points per side give no whole coarse grid of at least {MIN_POINTS} points."
            )
        self._solve: Callable[[np.ndarray], np.ndarray] = lambda x: solve(problem, x)
        self._lines = lines
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        rule, shape = self.setting.normalisation, x.shape
        raw = x if rule.inputs is None else rule.inputs.undo(x)
        if self._lines > 1:
            raw = raw.reshape(len(x), self._lines, -1)
        y = _refined(self._solve(_coarse(raw)))
        y = y.reshape(len(x), -1, *shape[2:]) if self._lines > 1 else y
        return (y if rule.outputs is None else rule.outputs(y)).astype(np.float32)


def _hidden(problem: Problem) -> str:
    """Return which part of the initial state the input lacks, or ""."""
    match problem:
        case diffusion_reaction_2d.FitzHughNagumo(inputs=(0,)):
            return "the input hides v(0), from which the solver has to begin."
        case darcy_2d.Darcy(end_time=time) if time is not None:
            return "the input hides u(0), from which the solver has to begin."
    return ""


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


def _advection(problem: Advection, x: np.ndarray) -> np.ndarray:
    return shifted(x, problem.beta * problem.end_time)


def _variable_advection(problem: VariableAdvection, x: np.ndarray) -> np.ndarray:
    m = x.shape[-1]
    start = departure(cell_centres(m, 0.0, 1.0), 1 / x[:, 1], time=problem.end_time)
    cells = m * start - 0.5
    lines = [
        ndimage.map_coordinates(line, at[None], order=3, mode="grid-wrap")
        for line, at in zip(x[:, 0], cells, strict=True)
    ]
    return np.stack(lines)[:, None]


def _burgers(problem: burgers_1d.Burgers, x: np.ndarray) -> np.ndarray:
    solution = burgers_1d.cole_hopf(x[:, 0], diffusivity=problem.nu / np.pi, time=problem.end_time)
    return solution[:, None]


def _growth(problem: diffusion_reaction_1d.DiffusionReaction, x: np.ndarray) -> np.ndarray:
    return diffusion_reaction_1d.evolve(
        x[:, 0],
        nu=problem.nu,
        rho=problem.rho,
        time=problem.end_time,
        num_steps=problem.num_steps,
    )[:, None]


def _sorption(problem: diffusion_sorption_1d.DiffusionSorption, x: np.ndarray) -> np.ndarray:
    return diffusion_sorption_1d.evolve(
        x[:, 0], medium=problem.medium, time=problem.end_time, num_steps=problem.num_steps
    )[:, None]


def _gas(problem: navier_stokes_1d.NavierStokes, x: np.ndarray) -> np.ndarray:
    order = [0, 2, 1]  # density, pressure, velocity <-> density, velocity, pressure
    end = navier_stokes_1d.evolve(
        x[:, order].astype(np.float32),
        length=navier_stokes_1d.HIGH - navier_stokes_1d.LOW,
        nu=4 / 3 * problem.eta + problem.zeta,
        time=problem.end_time,
    )
    return end[:, order]


def _darcy(problem: darcy_2d.Darcy, x: np.ndarray) -> np.ndarray:
    return darcy_2d.steady_fields(x[:, 0], beta=problem.beta, boundary=problem.boundary)[:, None]


def _lognormal_darcy(problem: darcy_2d.LognormalDarcy, x: np.ndarray) -> np.ndarray:
    return darcy_2d.steady_fields(np.exp(x[:, 0]), beta=problem.beta, boundary="face")[:, None]


def _centred_dam(problem: shallow_water_2d.RadialDamBreak, x: np.ndarray) -> np.ndarray:
    half = x.shape[-1] // 2
    quarter = x[:, 0, half:, half:]
    return shallow_water_2d.unfolded(
        shallow_water_2d.evolve_quarter(
            quarter, size=shallow_water_2d.HALF_WIDTH, time=problem.end_time
        )
    )[:, None]


def _any_dam(problem: shallow_water_2d.OffsetDamBreak, x: np.ndarray) -> np.ndarray:
    # The solver reflects waves at its two lower sides, so still water is put before them.
    width = 2 * shallow_water_2d.HALF_WIDTH / x.shape[-1]
    still = int(np.ceil(REACH * problem.end_time / width))
    padded = np.pad(x[:, 0], ((0, 0), (still, 0), (still, 0)), mode="edge")
    end = shallow_water_2d.evolve_quarter(
        padded, size=width * padded.shape[-1], time=problem.end_time
    )
    return end[:, None, still:, still:]


def _surface(problem: shallow_water_2d.SmoothSurface, x: np.ndarray) -> np.ndarray:
    size = shallow_water_2d.HALF_WIDTH
    return shallow_water_2d.evolve_quarter(x[:, 0], size=size, time=problem.end_time)[:, None]


def _two_species(problem: diffusion_reaction_2d.FitzHughNagumo, x: np.ndarray) -> np.ndarray:
    end = diffusion_reaction_2d.evolve(
        x,
        diffusivity=problem.diffusivity,
        k=problem.k,
        steps=diffusion_reaction_2d.graded_steps(problem.end_time, problem.step),
    )
    return end[:, list(problem.outputs)]


SOLVERS: Mapping[type, Callable[[Any, np.ndarray], np.ndarray]] = {
    Advection: _advection,
    VariableAdvection: _variable_advection,
    burgers_1d.Burgers: _burgers,
    diffusion_reaction_1d.DiffusionReaction: _growth,
    diffusion_sorption_1d.DiffusionSorption: _sorption,
    navier_stokes_1d.NavierStokes: _gas,
    navier_stokes_1d.NavierStokesChannels: _gas,
    darcy_2d.Darcy: _darcy,
    darcy_2d.LognormalDarcy: _lognormal_darcy,
    shallow_water_2d.RadialDamBreak: _centred_dam,
    shallow_water_2d.OffsetDamBreak: _any_dam,
    shallow_water_2d.SmoothSurface: _surface,
    diffusion_reaction_2d.FitzHughNagumo: _two_species,
    diffusion_reaction_2d.SmoothFitzHughNagumo: _two_species,
}
