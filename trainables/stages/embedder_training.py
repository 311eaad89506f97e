"""The loop of stages that train the embedder, and perhaps the predictor, in front of a fixed body.

An epoch is a sequence of steps, and a step a sequence of batches whose weighted losses add up:
which ones, an objective says. The plainest is the task's own loss, on every sample once.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from trainables.report import Report
from trainables.seeding import generator, seed_globals
from trainables.sources.source import Domains
from trainables.stages.configs import EmbedderConfig
from trainables.stages.stage import Stage, check_finite, parts
from trainables.training import optim
from trainables.training.evaluation import gather, shuffled_batches
from trainables.training.losses import LOSSES
from trainables.training.state import TrainState

__all__ = ["SCOPE", "Batch", "EmbedderTraining", "TaskObjective"]

SCOPE = "embedder"  # of the random streams: one for all such stages, so that they agree

C = TypeVar("C", bound=EmbedderConfig)


class Batch(NamedTuple):
    """Training samples, and the weight of their loss in the step's."""

    indices: np.ndarray
    weight: float = 1.0


class TaskObjective:
    """The task's loss on all training samples, a step each batch."""

    def __init__(self, state: TrainState, domains: Domains, batch_size: int) -> None:
        self.state, self.task, self.batch_size = state, domains.target, batch_size

    @property
    def trained(self) -> list[nn.Parameter]:
        """What the optimiser moves, in a fixed order."""
        model = self.state.model
        return [*model.embedder.parameters(), *model.predictor.parameters()]

    def steps(self, epoch: int) -> Iterator[list[Batch]]:
        """Yield the batches of each step of an epoch."""
        rng = generator(self.state.seed, SCOPE, epoch)
        for indices in shuffled_batches(len(self.task.train), self.batch_size, rng):
            cut = parts(len(indices), self.batch_size, self.state.halvings)
            split = [indices[part] for part in cut]
            yield [Batch(rows, weight=len(rows) / len(indices)) for rows in split]

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a batch's loss, and what is reported of it."""
        loss = self.task_loss(self.embed(batch), batch)
        return loss, {"task_loss": loss}

    def summary(self) -> dict[str, float]:
        """Return what else the epoch is to be known by, after its last step."""
        return {}

    def embed(self, batch: Batch) -> Tensor:
        """Return the tokens [B, N, D] of a batch, in single precision."""
        return self.state.model.embed(gather(self.task.train.x, batch.indices, self.state.device))

    def task_loss(self, tokens: Tensor, batch: Batch) -> Tensor:
        """Return the task's loss of a batch by its tokens."""
        model = self.state.model
        with self.state.autocast():
            prediction = model.predict(model.encode(tokens))
        y = gather(self.task.train.y, batch.indices, self.state.device)
        return LOSSES[self.task.info.loss](prediction.float(), y)


class EmbedderTraining(Stage[C]):
    """Minimises an objective over what it trains; nothing else of the model has a gradient."""

    @abstractmethod
    def objective(self, state: TrainState, domains: Domains) -> TaskObjective | None:
        """Return what is minimised; None if nothing is."""

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        del epoch
        return self.config.lr

    def run(self, state: TrainState, domains: Domains) -> Iterator[Report]:
        config = self.config
        objective = self.objective(state, domains) if config.epochs else None
        if objective is None:
            return
        trained = objective.trained
        state.model.requires_grad_(False)
        for parameter in trained:
            parameter.requires_grad_(True)
        optimizer = optim.make_optimizer(
            config.optimizer,
            trained,
            lr=config.lr,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
        )
        state.use_optimizer(optimizer)
        way_out = f"lower {self.name}.lr ({config.lr:g}) or set {self.name}.clip_norm"
        for epoch in range(state.epoch, config.epochs):
            optim.set_learning_rate(optimizer, self.rate(epoch))
            seed_globals(state.seed, SCOPE, epoch)
            measured = self._train(objective, optimizer, trained, epoch) | objective.summary()
            check_finite(self.name, measured, epoch, way_out=way_out)
            state.epoch = epoch + 1
            yield Report(
                stage=self.name,
                epoch=state.epoch,
                num_epochs=config.epochs,
                metrics={f"{self.name}/{name}": value for name, value in measured.items()},
            )

    def _train(
        self,
        objective: TaskObjective,
        optimizer: torch.optim.Optimizer,
        trained: list[nn.Parameter],
        epoch: int,
    ) -> dict[str, float]:
        """Train one epoch; return the weighted means of what its batches measured, the mean norm
        of its steps' gradients before their cap, and the learning rate."""
        objective.state.model.train()
        weight, norms = 0.0, []
        totals: dict[str, Tensor] = {}
        for step in objective.steps(epoch):
            for batch in step:
                loss, measured = objective.losses(batch)
                torch.autograd.backward(batch.weight * loss)
                weight += batch.weight
                for name, value in measured.items():
                    totals[name] = totals.get(name, 0.0) + batch.weight * value.detach()
            norms.append(optim.clip_gradients(trained, self.config.clip_norm))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return {
            **{name: (total / weight).item() for name, total in totals.items()},
            "grad_norm": torch.stack(norms).mean().item(),
            "lr": self.rate(epoch),
        }
