"""Supervised fine-tuning on the target: ORCA's third stage, MoNA's second, and the only one of NFT.

Each epoch has a new `Objective`. Here the objective is the task's loss. Derived stages add losses
of mixtures to it.
"""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from trainables.models.adapters import Adapters, adapters_of, add_adapters, check_adapters
from trainables.models.compilation import keep_gradients
from trainables.models.cross_modal import CrossModalModel
from trainables.report import Report
from trainables.seeding import generator, seed_globals
from trainables.sources.source import Domains
from trainables.stages.configs import RefineConfig
from trainables.stages.stage import Stage, check_finite
from trainables.tasks.task import Task
from trainables.training import optim
from trainables.training.evaluation import evaluate, shuffled_batches
from trainables.training.landscape import landscape, validation_loss
from trainables.training.losses import loss_of
from trainables.training.probe import check_probe, source_error
from trainables.training.ranks import Ranks
from trainables.training.state import TrainState

SCOPE = "fine-tuning"  # seed scope, common to all methods, so that their controls are equal
LOSS = "train_loss"  # name of the differentiated term
LANDSCAPE_SAMPLES = 256  # of the validation split, at most
LANDSCAPE_SEED = 0  # of the directions, which are the same for all trials of an architecture

R = TypeVar("R", bound=RefineConfig)


class Objective:
    """The task's loss on one epoch's micro-batches."""

    def __init__(self, state: TrainState, domains: Domains) -> None:
        self.state = state
        self.loss = loss_of(domains.target)

    def draw(self, samples: int) -> None:
        """Draw all random numbers of the next micro-batch, however it is divided into parts."""

    def __call__(self, x: Tensor, y: Tensor, part: slice) -> dict[str, Tensor]:
        """Return the mean loss of a part of the micro-batch as `train_loss`, and its terms by name.

        Args:
            x: Inputs [B, ...] of the part's samples.
            y: Their targets [B, ...].
            part: Position of the part in the micro-batch of the last `draw`.
        """
        return {LOSS: self.clean_loss(x, y)}

    def clean_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the task's loss on unchanged target samples."""
        with self.state.supervised():
            prediction = self.state.model(x)
        return self.loss(prediction.float(), y)

    def summary(self) -> dict[str, float]:
        """Return further quantities of the epoch by name, after its last step."""
        return {}


class FineTuning(Stage[R]):
    """Stage that minimises the task's loss over embedder, body and predictor.

    `freeze` and `finetune` restrict the trained parameters. With `finetune: lora`, adapters of the
    body train in its place.
    """

    def objective(self, state: TrainState, domains: Domains, epoch: int) -> Objective:
        """Return the objective of this epoch. It may draw only from its own random generators."""
        return Objective(state, domains)

    def check(self, model: CrossModalModel, domains: Domains) -> None:
        if self.config.probe_every:
            check_probe(domains.source, f"{self.name}.probe_every")
        if self.config.finetune == "lora":
            check_adapters(model.body, model.roles)

    def batches(self, samples: int, seed: int, epoch: int) -> list[np.ndarray]:
        """Return the samples of each step of an epoch, by their indices."""
        # Whole steps are drawn, and micro-batches are cut from them, so that 4 x 16 and 64 x 1
        # samples are the same training.
        effective = self.config.batch_size * self.config.accumulation
        return [*shuffled_batches(samples, effective, generator(seed, SCOPE, epoch))]

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step.

        Args:
            step: Step of the optimiser, counted from 0.
            steps: Steps of an epoch. An incomplete last one counts.
        """
        config = self.config
        decay_epochs = float(config.epochs) if config.decay_epochs is None else config.decay_epochs
        return config.lr * optim.learning_rate_factor(
            step, warmup_steps=config.warmup_epochs * steps, decay_steps=decay_epochs * steps
        )

    def prepare(self, state: TrainState) -> list[nn.Parameter]:
        """Give the state its optimiser. Return the parameters that train."""
        config, model = self.config, state.model
        adapters = Adapters(rank=config.lora_rank, alpha=config.lora_alpha)
        if config.finetune == "lora" and adapters_of(model.body) is None:  # else of a checkpoint
            add_adapters(model.body, model.roles, adapters, seed=state.seed)
        parameters = [
            *model.trainable_parameters(config.finetune, config.freeze),
            *state.extras.parameters(),
        ]
        state.use_optimizer(
            optim.make_optimizer(
                config.optimizer,
                parameters,
                lr=config.lr,
                weight_decay=config.weight_decay,
                momentum=config.momentum,
                nesterov=config.nesterov,
            )
        )
        return parameters

    def run(self, state: TrainState, domains: Domains) -> Iterator[Report]:
        config, task = self.config, domains.target
        parameters = self.prepare(state)
        hint = f"lower {self.name}.lr ({config.lr:g}) or set {self.name}.clip_norm"
        for epoch in range(state.epoch, config.epochs):
            # The probe precedes the seeds, so that nothing it draws can change the training.
            probed = {} if epoch else self._probe(state, domains, 0)
            seed_globals(state.seed, SCOPE, epoch)
            objective = self.objective(state, domains, epoch)
            with state.supervised_products(), self._ranks(state).epoch(state):
                measured = self.train_epoch(state, task, parameters, objective, epoch)
            value, loss, _ = evaluate(state, state.model, task.val, task)
            check_finite(self.name, {**measured, "validation value": value}, epoch, hint=hint)
            state.epoch = epoch + 1
            state.keep_best(value)
            assert state.best is not None
            probed |= self._probe(state, domains, state.epoch)
            if state.epoch == config.epochs:
                probed |= self._landscape(state, task)
            probed |= {"val/loss": loss, f"val/{task.info.metric}": value}
            probed[f"val/{task.info.metric}_best"] = state.best.value
            yield self.report(state, measured, probed, objective=value)

    def train_epoch(
        self,
        state: TrainState,
        task: Task,
        parameters: list[nn.Parameter],
        objective: Objective,
        epoch: int,
    ) -> dict[str, float]:
        """Train one epoch.

        Returns:
            The means of the losses and of the norm of the gradient before clipping, and the last
            learning rate.
        """
        config, optimizer = self.config, state.optimizer
        assert optimizer is not None
        rows, rate = [], 0.0
        batches = self.batches(len(task.train), state.seed, epoch)
        state.model.train()
        ahead = state.rows.ahead((task.train.x, task.train.y), batches)
        for index, batch in enumerate(ahead):
            rate = self.rate(epoch * len(batches) + index, len(batches))
            optim.set_learning_rate(optimizer, rate)
            optimizer.zero_grad(set_to_none=True)
            terms = self._accumulate(state, task, objective, batch)
            # Summed before clipping: every process then has the same norm, and takes the same step.
            terms = self._ranks(state).all_reduce(parameters, terms)
            norm = optim.clip_gradients(parameters, config.clip_norm)
            optimizer.step()
            rows.append({**terms, "grad_norm": norm})
        return {**means(rows), "lr": rate, **objective.summary()}

    def _accumulate(
        self, state: TrainState, task: Task, objective: Objective, batch: np.ndarray
    ) -> dict[str, Tensor]:
        """Add the gradient of the mean loss over `batch`, one part of a micro-batch at a time."""
        # Each part is weighted by its samples, so that the sum is the gradient of the mean over the
        # whole batch, independent of micro-batches and halvings.
        # Where samples depend on each other, by batch norm, a micro-batch stays whole.
        size = self.config.batch_size
        halvings = 0 if self.config.micro_batch is None else state.halvings
        totals: dict[str, Tensor] = {}
        for start in range(0, len(batch), size):
            micro = batch[start : start + size]
            objective.draw(len(micro))
            for part, weight in self._ranks(state).parts(len(micro), size, halvings):
                rows = micro[part]
                x, y = (state.rows(array, rows) for array in (task.train.x, task.train.y))
                for name, term in objective(x, y, part).items():
                    weighted = term * (weight / len(batch))
                    if name == LOSS:
                        torch.autograd.backward(weighted)
                        if len(rows) < len(batch):
                            keep_gradients(state.model.body, state.compile)
                    totals[name] = totals.get(name, 0.0) + weighted.detach()
        return totals

    def _ranks(self, state: TrainState) -> Ranks[TrainState]:
        """Return the processes that divide the steps: those of the trial, or this one alone."""
        return state.ranks if self.config.divides_batches else Ranks()

    def _probe(self, state: TrainState, domains: Domains, epoch: int) -> dict[str, float]:
        """Return the error of a linear probe on the body, in the epochs that need one."""
        every, source = self.config.probe_every, domains.source
        if not every or epoch % every or source is None:
            return {}
        name = "probe_error" if epoch else "probe_error_start"
        return {f"{self.name}/{name}": source_error(state.model, source)}

    def _landscape(self, state: TrainState, task: Task) -> dict[str, float]:
        """Return the shape of the validation loss around the best weights, if asked for."""
        if not self.config.landscape:
            return {}
        with state.at_best() as model:
            plane = landscape(
                model,
                lambda: validation_loss(state, task, most=LANDSCAPE_SAMPLES),
                seed=LANDSCAPE_SEED,
                points=self.config.landscape,
            )
        return {"landscape/curvature": plane.curvature}


def means(rows: list[dict[str, Tensor]]) -> dict[str, float]:
    """Return the mean of each quantity over steps that have the same quantities."""
    return {name: torch.stack([row[name] for row in rows]).mean().item() for name in rows[0]}
