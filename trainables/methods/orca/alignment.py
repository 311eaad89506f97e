"""ORCA's alignment and warm-up stages (Shen et al., ICML 2023).

    per_class   L = sum over classes y of p(y) [a D(S, f(x | y)) + b L_task]
    joint       L = a D(S, (f(x), y)) + b L_task

D is a distance between samples of the two modalities. S is the set of the source's tokens, averaged
over each sample, f(x) is that of the target, and p(y) is the share of class y. Classes are those of
the task, or k-means groups of its outputs (`pseudo_labels`). A class with a single sample has no
distance and is skipped. The optimiser makes one step an epoch, as in the official code (60 epochs
are 60 steps), or one step for each distance.

A batch has at most `max_samples` samples. With `per_class` each batch holds one class, and the
order of the classes is random. With `joint` a batch holds random classes, at most as many as have
room for two samples each, in numbers as equal as the classes allow. The official code draws whole
mini-batches until they exceed its limit; this code never exceeds the limit.

Without a distance the labels are not read, and the stage only trains embedder and predictor on the
task. ORCA's optional second stage does the same at a constant rate. The body propagates gradients
and is not changed.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.distances.registry import DISTANCES
from trainables.errors import ConfigError
from trainables.methods.orca.config import AlignConfig, WarmupConfig
from trainables.methods.orca.source_distance import SourceDistance
from trainables.models.cross_modal import CrossModalModel
from trainables.seeding import generator
from trainables.sources.source import Domains, Source
from trainables.stages.embedder_training import SCOPE, Batch, EmbedderTraining, TaskObjective
from trainables.stages.measurements import Measurements
from trainables.training.pseudo_labels import target_labels
from trainables.training.state import TrainState

__all__ = ["Alignment", "Warmup"]

SOURCE_SCOPE = "align-source"  # seed scope of the source samples


class Alignment(EmbedderTraining[AlignConfig]):
    """Stage that trains the embedder and, if `task_weight` is above 0, the predictor."""

    @property
    def has_distance(self) -> bool:
        """True if the objective includes a distance to the source."""
        config = self.config
        return config.epochs > 0 and config.distance != "none" and config.align_weight > 0

    def check(self, model: CrossModalModel, domains: Domains) -> None:
        config, name = self.config, self.name
        if not self.has_distance:
            return
        source = self._source(domains)
        if not has_pair(target_labels(domains.target, config.clusters)):
            raise ConfigError(
                f"{name}: each of the {len(domains.target.train)} training samples is of a class "
                "of its own, and a distance needs two of one. Raise `data.samples`, or set "
                f"{name}.epochs to 0."
            )
        if DISTANCES[config.distance].otdd is not None and not has_pair(source.labels.numpy()):
            raise ConfigError(
                f"{name}: no class of the proxy has two samples, which {config.distance} needs. "
                f"Name another under `proxies`, or set {name}.distance to mmd."
            )

    def objective(self, state: TrainState, domains: Domains) -> TaskObjective | None:
        if self.has_distance:
            return AlignmentObjective(state, domains, self.config, self._source(domains))
        if self.config.task_weight > 0:
            return AlignmentObjective(state, domains, self.config, None)
        return None

    def rate(self, epoch: int) -> float:
        passed = sum(epoch > step for step in self.config.lr_steps)
        return self.config.lr * self.config.lr_factor**passed

    def _source(self, domains: Domains) -> Source:
        if domains.source is None:
            raise ConfigError(
                f"{self.name}: {self.config.distance} is a distance to source data, but the trial "
                f"has no proxy. Name one under `proxies`, or set {self.name}.distance to none."
            )
        return domains.source


class AlignmentObjective(TaskObjective):
    """Objective a D + b L_task; it has no D if `source` is None."""

    def __init__(
        self, state: TrainState, domains: Domains, config: AlignConfig, source: Source | None
    ) -> None:
        super().__init__(state, domains, config.max_samples)
        self.config = config
        self.measurements = Measurements(state, domains, config)
        self.distance = None
        if source is not None:
            self.distance = SourceDistance(source, config, state.device)
            self.labels = target_labels(domains.target, config.clusters)
            members = [np.flatnonzero(self.labels == y) for y in range(self.labels.max() + 1)]
            self.classes = [indices for indices in members if len(indices) > 1]
            self.skipped = len(members) - len(self.classes)

    @property
    def trained(self) -> list[nn.Parameter]:
        if self.config.task_weight > 0:
            return super().trained
        return list(self.state.model.embedder.parameters())

    def steps(self, epoch: int) -> Iterator[list[Batch]]:
        step_an_epoch = self.config.update_mode == "epoch"
        if self.distance is None:
            # Without a distance, an epoch of one step takes the first random batch alone.
            yield from islice(super().steps(epoch), 1 if step_an_epoch else None)
            return
        order = generator(self.state.seed, SCOPE, epoch)
        self.rng = generator(self.state.seed, SOURCE_SCOPE, epoch)
        if self.config.class_mode == "per_class":
            batches = self._batch_a_class(order)
        else:
            # As many batches as would cover the training set, although each of them is drawn on its
            # own.
            num_batches = 1 if step_an_epoch else -(-len(self.labels) // self.batch_size)
            batches = (
                Batch(balanced_batch(self.classes, self.batch_size, order))
                for _ in range(num_batches)
            )
        if step_an_epoch:
            # The gradients of all batches, weighted by p(y), add up to those of one step.
            yield list(batches)
        else:
            yield from ([batch] for batch in batches)

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        config, tokens = self.config, self.embed(batch)
        loss, measured = tokens.new_zeros(()), {}
        if self.distance is not None:
            labels = torch.from_numpy(self.labels[batch.indices]).to(tokens.device)
            distance, converged = self.distance(tokens.mean(1), labels, self.rng)
            loss = loss + config.align_weight * distance
            measured["align_loss"] = distance
            if self.distance.entry.otdd is not None:
                measured["converged"] = distance.new_tensor(converged)
        if config.task_weight > 0:
            task_loss = self.task_loss(tokens, batch)
            loss = loss + config.task_weight * task_loss
            measured["task_loss"] = task_loss
        return loss, measured

    def summary(self) -> dict[str, float]:
        skipped = {} if self.distance is None else {"skipped_classes": float(self.skipped)}
        return skipped | self.measurements.after_epoch(self.state)

    def _batch_a_class(self, order: torch.Generator) -> Iterator[Batch]:
        for y in torch.randperm(len(self.classes), generator=order).tolist():
            members = self.classes[y]
            drawn = torch.randperm(len(members), generator=order)[: self.batch_size].numpy()
            yield Batch(members[drawn], weight=len(members) / len(self.labels))


def balanced_batch(classes: list[np.ndarray], size: int, generator: torch.Generator) -> np.ndarray:
    """Draw at most `size` samples from random classes, in numbers as equal as the classes allow.

    The number of classes is limited so that each of them has room for two samples.

    Args:
        classes: Indices of the samples of each class, two or more.
        size: Largest number of samples.
        generator: Generator on the CPU.
    """
    chosen = torch.randperm(len(classes), generator=generator)[: size // 2].tolist()
    drawn = [
        classes[y][torch.randperm(len(classes[y]), generator=generator)[:size].numpy()]
        for y in chosen
    ]
    # A stable sort by the rank within the class takes one sample of each class in turn.
    place = np.concatenate([np.arange(len(members)) for members in drawn])
    return np.concatenate(drawn)[place.argsort(kind="stable")[:size]]


def has_pair(labels: np.ndarray) -> bool:
    """Return whether two samples share a class."""
    return bool(np.bincount(labels).max() > 1)


class Warmup(EmbedderTraining[WarmupConfig]):
    """Stage that minimises the task's loss over embedder and predictor."""

    def objective(self, state: TrainState, domains: Domains) -> TaskObjective:
        return TaskObjective(state, domains, self.config.batch_size)

    def _train(self, objective: TaskObjective, *arguments: Any) -> dict[str, float]:
        with objective.state.supervised_products():
            return super()._train(objective, *arguments)
