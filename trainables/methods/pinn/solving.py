"""PINN's stage `solve`: the choice of the number of iterations on validation samples.

The model solves each of its inputs when it is evaluated (`solver`). An epoch therefore trains
nothing: it gives the model more iterations, and evaluates it on the first validation samples. The
test samples are solved once, with the number of iterations of the best epoch. Training samples are
not read, but for the unit of the outputs, which cancels.

Cost: a trial solves (epochs + 1) / 2 times its validation samples and once its test samples, with
all iterations each.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch

from trainables.methods.pinn.config import SolveConfig
from trainables.methods.pinn.solver import Solver
from trainables.report import Report
from trainables.sources.source import Domains
from trainables.stages.stage import Stage, check_finite
from trainables.training.evaluation import evaluate
from trainables.training.state import TrainState


class Solving(Stage[SolveConfig]):
    """Stage that evaluates the solver with ever more iterations."""

    def run(self, state: TrainState, domains: Domains) -> Iterator[Report]:
        config, task, solver = self.config, domains.target, state.model.body
        assert isinstance(solver, Solver)
        shown = slice(min(config.val_samples, len(task.val)))
        val = replace(task.val, x=task.val.x[shown], y=task.val.y[shown], sample_id=None)
        for epoch in range(state.epoch, config.epochs):
            iterations = -(-config.iterations * (epoch + 1) // config.epochs)
            solver.iterations.fill_(iterations)
            with solver.recording() as solved:
                value, loss, _ = evaluate(state, state.model, val, task)
            terms = {name: torch.cat(values).mean().item() for name, values in solved.items()}
            check_finite(
                self.name,
                {**terms, "validation value": value},
                epoch,
                hint=f"lower {self.name}.lr ({config.lr:g})",
            )
            state.epoch = epoch + 1
            state.keep_best(value)
            assert state.best is not None
            validated = {"val/loss": loss, f"val/{task.info.metric}": value}
            validated[f"val/{task.info.metric}_best"] = state.best.value
            measured = {**terms, "iterations": float(iterations)}
            yield self.report(state, measured, validated, objective=value)
