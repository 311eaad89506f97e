"""Solutions of an equation by networks of coordinates, one for each sample.

    L = mean over points of residual^2 + a mean over x of (u(0, x) - u_0(x))^2 + c boundary^2

The points (s, x) of the residual are drawn anew at each iteration, uniformly, and are the same for
all samples. The initial term is of all points of the input's grid. The boundary term is the mean
over the drawn s of the squares of both conditions; a periodic network has none. Adam minimises the
sum over samples. All samples begin with the same weights, so that the solution of one depends on no
other. The rate falls linearly to 0.

A solution reads the input of its sample and nothing else: no output, and no other sample.

Shapes: n = samples, m = points of the grid; "" = scalar.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trainables.errors import ConfigError
from trainables.methods.pinn.equations import Derivatives, Equation, equation_of, fault_on
from trainables.methods.pinn.network import derivatives_at, draw_weights, features, num_features
from trainables.models.cross_modal import single_precision
from trainables.tasks.task import Task, TaskShape

SEED = 0  # of the points, so that they do not depend on the batch of a sample


@dataclass(frozen=True, kw_only=True)
class SolverSettings:
    """Settings of a solver, by the names of `solve`."""

    width: int
    layers: int
    waves: int
    points: int
    lr: float
    initial_weight: float
    boundary_weight: float


class Solver(nn.Module):
    """Map from initial states to states at the end, by solving the equation of each sample.

    Its state are the initial weights of all networks and the number of iterations. While it is 0,
    the output is that of the initial weights.
    """

    iterations: Tensor

    def __init__(
        self,
        equation: Equation,
        unit: tuple[float, float],
        settings: SolverSettings,
    ) -> None:
        super().__init__()
        self.equation, self.unit, self.settings = equation, unit, settings
        self.waves = settings.waves if equation.is_periodic else 0
        drawn = draw_weights(num_features(self.waves), settings.width, settings.layers)
        self.start = nn.ParameterList(drawn)
        self.register_buffer("iterations", torch.zeros((), dtype=torch.int64))
        self._terms: dict[str, list[Tensor]] | None = None  # None: nobody asks for them

    @contextmanager
    def recording(self) -> Iterator[dict[str, list[Tensor]]]:
        """Collect the terms of each sample at its last iteration, a tensor for each batch."""
        terms: dict[str, list[Tensor]] = {}
        self._terms = terms
        try:
            yield terms
        finally:
            self._terms = None

    def forward(self, x: Float[Tensor, "n 1 m"]) -> Float[Tensor, "n 1 m"]:
        """Solve the equation from x, and return the end in standard units of the outputs."""
        # Evaluation runs in inference mode, in which nothing can be differentiated.
        with torch.inference_mode(False), torch.enable_grad(), single_precision(x.device):
            # A tensor of inference mode cannot be saved for a backward pass, but its clone can.
            end = self.solve(x[:, 0].clone().float())
        mean, std = self.unit
        return ((end - mean) / std)[:, None]

    def solve(self, state: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
        """Return the state at s = 1 from that at s = 0."""
        settings = self.settings
        weights = [
            each.detach().expand(len(state), *each.shape).clone().requires_grad_()
            for each in self.start
        ]
        optimizer = torch.optim.Adam(weights, lr=settings.lr, foreach=True)
        rng = torch.Generator().manual_seed(SEED)
        count = int(self.iterations)
        for iteration in range(count):
            drawn = torch.rand(2, settings.points, generator=rng).to(state.device)
            terms = losses(
                self.equation,
                weights,
                state,
                drawn,
                waves=self.waves,
            )
            loss = terms["residual_loss"]
            loss = loss + settings.initial_weight * terms["initial_loss"]
            if "boundary_loss" in terms:
                loss = loss + settings.boundary_weight * terms["boundary_loss"]
            # The gradient of a mean would shrink with the number of samples, and Adam's epsilon
            # would weigh more.
            torch.autograd.backward(loss.sum())
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * (1 - iteration / count)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if iteration == count - 1 and self._terms is not None:
                for name, value in terms.items():
                    self._terms.setdefault(name, []).append(value.detach())
        with torch.no_grad():
            x = _centres(state)
            end: Tensor = derivatives_at(weights, features(torch.ones_like(x), x, self.waves)).u
        return end


def losses(
    equation: Equation,
    weights: list[Tensor],
    state: Float[Tensor, "n m"],
    drawn: Float[Tensor, "2 p"],
    *,
    waves: int,
) -> dict[str, Float[Tensor, " n"]]:
    """Return the terms of the loss of each sample by name.

    Args:
        equation: The equation.
        weights: Weights of the networks, as `derivatives_at` takes them.
        state: Initial states on the centres of the cells of [0, 1].
        drawn: Points s and x of the residual, from [0, 1].
        waves: Waves of the features; 0 if the equation is not periodic.
    """
    (s, x), grid = drawn, _centres(state)
    # All points are passed through the networks at once: inside, at s = 0, and on both sides.
    times, places = [s, torch.zeros_like(grid)], [x, grid]
    if not waves:
        times += [s, s]
        places += [torch.zeros_like(s), torch.ones_like(s)]
    found = derivatives_at(weights, features(torch.cat(times), torch.cat(places), waves))
    sizes = [len(each) for each in times]
    parts = [Derivatives(*each) for each in zip(*(f.split(sizes, 1) for f in found), strict=True)]
    terms = {
        "residual_loss": equation.residual(parts[0]).square().mean(1),
        "initial_loss": (parts[1].u - state).square().mean(1),
    }
    if not waves:
        left, right = equation.boundary(parts[2], parts[3])
        terms["boundary_loss"] = (left.square() + right.square()).mean(1)
    return terms


def _centres(state: Float[Tensor, "n m"]) -> Float[Tensor, " m"]:
    m = state.shape[1]
    return (torch.arange(m, device=state.device, dtype=state.dtype) + 0.5) / m


def build_solver(task: Task | TaskShape, **settings: Any) -> Solver:
    """Return the solver of a task's equation; `SolverSettings` states the settings.

    Raises:
        ConfigError: The task has no equation here.
    """
    equation = equation_of(task.info)
    if equation is None:
        raise ConfigError(fault_on(task.info) or "")
    return Solver(equation, task.output_unit, SolverSettings(**settings))
