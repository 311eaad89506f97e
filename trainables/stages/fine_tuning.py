"""Supervised fine-tuning on the target: ORCA's third stage, MoNA's second, and all of NFT."""

from collections.abc import Iterator
from math import isfinite

import numpy as np
import torch
from torch import Tensor

from trainables import optim
from trainables.errors import NonFiniteLoss
from trainables.evaluation import evaluate, shuffled_batches, take
from trainables.losses import LOSSES
from trainables.report import Report
from trainables.seeding import generator, seed_globals
from trainables.source import Domains
from trainables.stages.configs import RefineConfig
from trainables.stages.stage import Stage
from trainables.state import TrainState
from trainables.tasks.task import Task

SCOPE = "fine-tuning"  # of the random streams: one for all methods, so that their controls agree


class FineTuning(Stage[RefineConfig]):
    """Minimises the task's loss over embedder, body and predictor, or the part that `freeze` and
    `finetune` leave."""

    def run(self, state: TrainState, domains: Domains) -> Iterator[Report]:
        config, task = self.config, domains.target
        parameters = list(state.model.trainable_parameters(config.finetune, config.freeze))
        state.use_optimizer(
            optim.make_optimizer(
                config.optimizer,
                parameters,
                lr=config.lr,
                weight_decay=config.weight_decay,
                momentum=config.momentum,
            )
        )
        for epoch in range(state.epoch, config.epochs):
            seed_globals(state.seed, SCOPE, epoch)
            train_loss, gradient_norm, rate = self._train(state, task, parameters, epoch)
            value = evaluate(state, state.model, task.val, task.info.metric)
            for name, number in (("training loss", train_loss), ("validation value", value)):
                if not isfinite(number):
                    raise NonFiniteLoss(
                        f"{self.name}: the {name} became {number} in epoch {epoch + 1}; "
                        f"lower {self.name}.lr ({config.lr:g}) or set {self.name}.clip_norm."
                    )
            state.epoch = epoch + 1
            state.keep_best(value)
            yield Report(
                stage=self.name,
                epoch=state.epoch,
                num_epochs=config.epochs,
                objective=value,
                metrics={
                    f"{self.name}/train_loss": train_loss,
                    f"{self.name}/grad_norm": gradient_norm,
                    f"{self.name}/lr": rate,
                    f"val/{task.info.metric}": value,
                },
            )

    def _train(
        self, state: TrainState, task: Task, parameters: list[torch.nn.Parameter], epoch: int
    ) -> tuple[float, float, float]:
        """Trains one epoch; returns its mean loss, mean gradient norm and last learning rate."""
        config, optimizer = self.config, state.optimizer
        assert optimizer is not None
        samples, effective = len(task.train), config.batch_size * config.accumulation
        steps = -(-samples // effective)
        decay_epochs = float(config.epochs) if config.decay_epochs is None else config.decay_epochs
        losses, norms, rate = [], [], 0.0
        batches = shuffled_batches(samples, effective, generator(state.seed, SCOPE, epoch))
        state.model.train()
        for index, batch in enumerate(batches):
            rate = config.lr * optim.learning_rate_factor(
                epoch * steps + index,
                warmup_steps=config.warmup_epochs * steps,
                decay_steps=decay_epochs * steps,
            )
            optim.set_learning_rate(optimizer, rate)
            optimizer.zero_grad(set_to_none=True)
            losses.append(self._accumulate(state, task, batch))
            norms.append(optim.clip_gradients(parameters, config.clip_norm))
            optimizer.step()
        return torch.stack(losses).mean().item(), torch.stack(norms).mean().item(), rate

    def _accumulate(self, state: TrainState, task: Task, batch: np.ndarray) -> Tensor:
        """Adds the gradient of the mean loss over `batch`, a micro-batch at a time."""
        loss_of = LOSSES[task.info.loss]
        total = torch.zeros((), device=state.device)
        for start in range(0, len(batch), self.config.batch_size):
            micro = batch[start : start + self.config.batch_size]
            with state.autocast():
                prediction = state.model(take(task.train.x, micro, state.device))
            loss = loss_of(prediction.float(), take(task.train.y, micro, state.device))
            weighted = loss * (len(micro) / len(batch))
            torch.autograd.backward(weighted)
            total += weighted.detach()
        return total
