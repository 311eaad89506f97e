"""Residuals of the generators' equations, for networks and for arrays of numbers.

Time is s = t / T, from 0 at the input to 1 at the output, and the residual is multiplied by T:

    advection            u_s + T beta u_x
    Burgers              u_s + T (u u_x - (nu / pi) u_xx)
    diffusion-reaction   u_s - T (nu u_xx + rho u (1 - u))
    diffusion-sorption   R(c) c_s - T D c_xx,  R(c) = 1 + K c^(n - 1)

A solution has a residual of 0. All four are on x in [0, 1]. The first three are periodic. In the
last, c = 1 on the left and c = D c_x on the right.

The network has one coordinate and one output, and the coefficients above are constants. Tasks in
2D, advection of varying speed and compressible flow, which has three fields, are therefore left
out. Some are no tasks for residuals of any network: the input of Darcy flow hides u(0) (`compat`),
or its coefficient has jumps, across which second derivatives are not defined (`hard`). Two species
in 2D start from white noise, which no smooth network of coordinates represents (`compat`, `hard`).
Compressible flow and dam breaks have shocks. The 2D variants `rank` have none of these faults.

This module does not import torch: its formulas hold for tensors, too.
"""

from dataclasses import dataclass
from math import pi
from typing import Any, NamedTuple

from trainables.tasks.pde_bench.advection_1d import Advection
from trainables.tasks.pde_bench.burgers_1d import Burgers
from trainables.tasks.pde_bench.diffusion_reaction_1d import DiffusionReaction
from trainables.tasks.pde_bench.diffusion_sorption_1d import FLOOR, DiffusionSorption
from trainables.tasks.problem import Problem
from trainables.tasks.registry import BENCHMARKS
from trainables.tasks.task import TaskInfo

Values = Any  # an array of NumPy, or a tensor


class Derivatives(NamedTuple):
    """A function of s and x at some points, with its derivatives. All have one shape."""

    u: Values
    u_s: Values
    u_x: Values
    u_xx: Values


@dataclass(frozen=True)
class Equation:
    """The equation of a problem on [0, 1]."""

    problem: Advection | Burgers | DiffusionReaction | DiffusionSorption

    @property
    def is_periodic(self) -> bool:
        """True if u(s, 0) = u(s, 1), with all derivatives."""
        return not isinstance(self.problem, DiffusionSorption)

    def residual(self, at: Derivatives) -> Values:
        """Return the residual at points inside, in units of u."""
        problem, (u, u_s, u_x, u_xx) = self.problem, at
        time = problem.end_time
        if isinstance(problem, Advection):
            return u_s + time * problem.beta * u_x
        if isinstance(problem, Burgers):
            return u_s + time * (u * u_x - problem.nu / pi * u_xx)
        if isinstance(problem, DiffusionReaction):
            return u_s - time * (problem.nu * u_xx + problem.rho * u * (1 - u))
        medium = problem.medium
        # n is below 1: the power is infinite at 0, and undefined below, where a network's values
        # may be.
        retardation = 1 + medium.capacity * u.clip(min=FLOOR) ** (medium.freundlich_n - 1)
        return retardation * u_s - time * medium.diffusivity * u_xx

    def boundary(self, left: Derivatives, right: Derivatives) -> tuple[Values, Values]:
        """Return the residuals of both boundary conditions, given the values at x = 0 and x = 1."""
        if isinstance(self.problem, DiffusionSorption):
            return left.u - 1, right.u - self.problem.medium.diffusivity * right.u_x
        return left.u - right.u, left.u_x - right.u_x


def equation_of(info: TaskInfo) -> Equation | None:
    """Return the equation of a task's scored samples, or None if it has no residual here."""
    benchmark = BENCHMARKS.get(info.benchmark)
    if benchmark is None or benchmark.problems is None:
        return None
    problem: Problem = benchmark.problems(info).scored
    if isinstance(problem, Advection | Burgers | DiffusionReaction | DiffusionSorption):
        return Equation(problem)
    return None


def fault_on(info: TaskInfo) -> str | None:
    """Return why a task cannot be solved by its residual, with a way out; None if it can."""
    if equation_of(info) is not None:
        return None
    return (
        "PINN solves advection, Burgers, diffusion-reaction and diffusion-sorption in 1D with "
        f"constant coefficients, and {info.name} is none of them. Take the task or the method out."
    )
