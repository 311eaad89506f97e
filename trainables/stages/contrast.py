"""The proposed method's first stage: contrastive training of the embedder under noise.

A step draws P classes of the target (true ones, or k-means on its outputs), Q noisy views of each,
and lowers the contrastive loss of the views' embeddings, averaged over their tokens. The embedder
alone trains; the body is not run. An epoch has ceil(n / P Q) steps for n training samples: about as
many views as there are samples, though not one of each.

Classes are drawn evenly, however many samples they have, and the views of one without repetition,
evenly from all that it has (`noise`): so a class of one sample has pairs too. Noise is added to the
inputs, in units of the training set, by channel; or to the tokens, in units of the batch, by
feature, through which no gradient flows. Source samples, where they join, are classes of their own,
embedded by the frozen source embedder; their pairs with other classes have the mean weight.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from random import Random

import numpy as np
import torch
from torch import Tensor

from trainables import optim
from trainables.contrastive import class_weights, contrastive_loss, mean_cosines
from trainables.errors import ConfigError, NonFiniteLoss
from trainables.evaluation import take
from trainables.networks.cross_modal import CrossModalModel
from trainables.noise import View, Views, correlation, perturbed
from trainables.prototypes import Units, class_correlations, input_units
from trainables.pseudo_labels import target_labels
from trainables.report import Report
from trainables.seeding import derive_seed, seed_globals
from trainables.source import Domains
from trainables.stages.configs.contrast import ContrastConfig
from trainables.stages.measurements import Measurements
from trainables.stages.stage import Stage
from trainables.state import TrainState
from trainables.tasks.task import Task

SCOPE = "contrast"  # of the random streams

Members = list[list[int]]  # samples of each class


@dataclass(frozen=True, kw_only=True)
class Classes:
    """Classes of the target, then those of the source where its samples join."""

    target: Members
    source: Members
    source_features: Tensor  # of all source samples [n, D]
    weights: Tensor  # of pairs of classes


class Contrast(Stage[ContrastConfig]):
    """Draws views of one class together and of different classes apart, by the embedder alone."""

    def __init__(self, name: str, config: ContrastConfig) -> None:
        super().__init__(name, config)
        self.views = Views(
            num_scales=config.num_scales,
            sigma_min=config.sigma_min,
            sigma_max=config.sigma_max,
            steps=config.noise_steps,
            include_clean=config.include_clean,
        )

    def check(self, model: CrossModalModel, domains: Domains) -> None:
        config, name, target = self.config, self.name, domains.target
        if config.epochs == 0:
            return
        sizes = np.bincount(target_labels(target, config.clusters))
        if len(sizes) < 2:
            raise ConfigError(
                f"{name}: all training samples of {target.info.name} are of one class, and there "
                f"is nothing to tell apart. Raise data.samples, or set {name}.epochs to 0."
            )
        if sizes.max() * len(self.views) < 2:
            raise ConfigError(
                f"{name}: no class of {target.info.name} has two views to be drawn together. Raise "
                f"{name}.noise_steps ({config.noise_steps}) or data.samples."
            )
        if config.include_source and domains.source is None:
            raise ConfigError(
                f"{name}: source samples are to join, but the trial has no proxy. Name one under "
                f"`proxies`, or set {name}.include_source to false."
            )

    def run(self, state: TrainState, domains: Domains) -> Iterator[Report]:
        config = self.config
        if config.epochs == 0:
            return
        classes = self._classes(state, domains)
        units = Units(*(t.float().to(state.device) for t in input_units(domains.target)))
        state.use_optimizer(
            optim.make_optimizer(
                config.optimizer,
                state.model.embedder.parameters(),
                lr=config.lr,
                weight_decay=config.weight_decay,
                momentum=config.momentum,
            )
        )
        for epoch in range(state.epoch, config.epochs):
            measured = self._train(state, domains.target, classes, units, epoch)
            self._check_finite(measured, epoch)
            state.epoch = epoch + 1
            metrics = {f"{self.name}/{name}": value for name, value in measured.items()}
            yield Report(
                stage=self.name,
                epoch=state.epoch,
                num_epochs=config.epochs,
                metrics={**metrics, f"{self.name}/lr": config.lr},
            )

    def _classes(self, state: TrainState, domains: Domains) -> Classes:
        config = self.config
        target = members(target_labels(domains.target, config.clusters))
        source, source_features = [], torch.empty(0, state.model.token_width)
        if config.include_source and domains.source is not None:
            source = members(domains.source.labels.numpy())
            source_features = domains.source.features
        every = len(target) + len(source)
        weights = torch.full((every, every), config.lambda_mean).fill_diagonal_(1.0)
        if config.label_correlation == "prototype":
            weights[: len(target), : len(target)] = class_weights(
                class_correlations(domains.target, config.clusters),
                mean=config.lambda_mean,
                largest=config.lambda_max,
                epsilon=config.epsilon,
            )
        return Classes(
            target=target,
            source=source,
            source_features=source_features.to(state.device),
            weights=weights.to(state.device),
        )

    def _train(
        self, state: TrainState, task: Task, classes: Classes, units: Units, epoch: int
    ) -> dict[str, float]:
        """Trains one epoch; returns the means over its steps of what these measured, and the number
        of views they drew."""
        config, optimizer = self.config, state.optimizer
        assert optimizer is not None
        seed_globals(state.seed, SCOPE, epoch)
        chance = Random(derive_seed(state.seed, SCOPE, epoch))
        drawn = min(config.classes, len(classes.target)) * config.per_class
        rows, views = [], 0
        state.model.train()
        for _ in range(-(-len(task.train) // drawn)):
            batch = self._draw(classes, chance)
            rows.append(self._losses(state, task, classes, units, batch))
            torch.autograd.backward(rows[-1]["contrast_loss"])
            ...
