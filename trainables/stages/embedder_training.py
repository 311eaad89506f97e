"""Training loop of stages that train the embedder, and optionally the predictor, with a fixed body.

An epoch is a sequence of steps. A step is a sequence of batches, and its loss is the weighted sum
of their losses. An objective defines the batches and the losses. The simplest objective is the
task's own loss, on every sample once.
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
from trainables.stages.stage import Stage, check_finite
from trainables.training import optim
from trainables.training.evaluation import shuffled_batches
from trainables.training.losses import loss_of
from trainables.training.micro_batches import parts
from trainables.training.state import TrainState

__all__ = ["SCOPE", "Batch", "EmbedderTraining", "TaskObjective"]

SCOPE = "embedder"  # seed scope, common to all such stages, so that their batches are equal

C = TypeVar("C", bound=EmbedderConfig)


class Batch(NamedTuple):
    """Indices of training samples, and the weight of their loss in a step."""

    indices: np.ndarray
    weight: float = 1.0


class TaskObjective:
    """The task's loss on all training samples, with one step for each batch."""

    def __init__(self, state: TrainState, domains: Domains, batch_size: int) -> None:
        self.state, self.task, self.batch_size = state, domains.target, batch_size
        self.loss = loss_of(domains.target)

    @property
    def trained(self) -> list[nn.Parameter]:
        """The parameters of the optimiser, in a fixed order."""
        model = self.state.model
        return [*model.embedder.parameters(), *model.predictor.parameters()]

    def steps(self, epoch: int) -> Iterator[list[Batch]]:
        """Yield the batches of each step of an epoch.

        Args:
            epoch: Epoch, counted from 0.
        """
        rng = generator(self.state.seed, SCOPE, epoch)
        # A batch that ran out of memory is computed in parts. Their weights keep the mean over the
        # batch.
        for indices in shuffled_batches(len(self.task.train), self.batch_size, rng):
            cut = parts(len(indices), self.batch_size, self.state.halvings)
            split = [indices[part] for part in cut]
            yield [Batch(rows, weight=len(rows) / len(indices)) for rows in split]

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch, and the reported quantities by name."""
        loss = self.task_loss(self.embed(batch), batch)
        return loss, {"task_loss": loss}

    def summary(self) -> dict[str, float]:
        """Return further quantities of the epoch by name, after its last step."""
        return {}

    def embed(self, batch: Batch) -> Tensor:
        """Return the tokens [B, N, D] of a batch, in float32."""
        return self.state.model.embed(self.state.rows(self.task.train.x, batch.indices))

    def task_loss(self, tokens: Tensor, batch: Batch) -> Tensor:
        """Return the task's loss of a batch, computed from its tokens [B, N, D]."""
        model = self.state.model
        with self.state.supervised():
            prediction = model.predict(model.encode(tokens))
        y = self.state.rows(self.task.train.y, batch.indices)
        return self.loss(prediction.float(), y)


class EmbedderTraining(Stage[C]):
    """Stage that minimises an objective over its parameters; all others have no gradient."""

    @abstractmethod
    def objective(self, state: TrainState, domains: Domains) -> TaskObjective | None:
        """Return the objective of the stage; None if there is nothing to minimise."""

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        return self.config.lr

    def run(self, state: TrainState, domains: Domains) -> Iterator[Report]:
        config = self.config
        objective = self.objective(state, domains) if config.epochs else None
        if objective is None:
            return
        trained = objective.trained
        # Gradients pass through the fixed body to the embedder, but are not computed for its
        # weights.
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
        hint = f"lower {self.name}.lr ({config.lr:g}) or set {self.name}.clip_norm"
        for epoch in range(state.epoch, config.epochs):
            optim.set_learning_rate(optimizer, self.rate(epoch))
            # Seeded anew for each epoch, so that a resumed trial draws the same numbers.
            seed_globals(state.seed, SCOPE, epoch)
            measured = self._train(objective, optimizer, trained, epoch) | objective.summary()
            check_finite(self.name, measured, epoch, hint=hint)
            state.epoch = epoch + 1
            yield self.report(state, measured)

    def _train(
        self,
        objective: TaskObjective,
        optimizer: torch.optim.Optimizer,
        trained: list[nn.Parameter],
        epoch: int,
    ) -> dict[str, float]:
        """Train one epoch.

        Returns:
            The weighted means of the quantities that the objective reports, the mean norm of the
            gradients before clipping, and the learning rate.
        """
        objective.state.model.train()
        weight, norms = 0.0, []
        totals: dict[str, Tensor] = {}
        for step in objective.steps(epoch):
            for batch in step:
                # The backward pass of each batch frees its graph before the next one is built.
                loss, measured = objective.losses(batch)
                torch.autograd.backward(batch.weight * loss)
                weight += batch.weight
                for name, value in measured.items():
                    # Sums stay on the device until the epoch ends: each number that is read makes a
                    # GPU wait.
                    totals[name] = totals.get(name, 0.0) + batch.weight * value.detach()
            norms.append(optim.clip_gradients(trained, self.config.clip_norm))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return {
            **{name: (total / weight).item() for name, total in totals.items()},
            "grad_norm": torch.stack(norms).mean().item(),
            "lr": self.rate(epoch),
        }
