"""Stage of contrastive training of the embedder under noise, the proposed method's first.

A step draws P classes of the target (true classes, or k-means groups of its outputs) and Q noisy
views of each. It minimises the contrastive loss of the views' tokens, averaged over each view. The
body is not evaluated. An epoch has ceil(n / P Q) steps for n training samples. It therefore has
about as many views as there are samples, but not one view of each sample.

Each class has the same probability, independent of its number of samples. The Q views of a class
are different ones among all views of its samples (`noise`), so that even a class of one sample has
pairs. A class with fewer than Q views contributes all of them.

Noise is added to the inputs, in units of the training set for each channel, or to the tokens, in
units of the batch for each feature. The units of the batch have no gradient. Optional source
samples form classes of their own and are embedded by the frozen source embedder. Pairs of a source
sample and a sample of another class have the mean weight.

With `form: task` the stage is a warm-up, the control for its length: it minimises the task's loss
of samples without noise, over embedder and predictor, through the unchanged body. It has the same
optimiser, steps and samples of a step as the contrast.
"""

from collections.abc import Iterator
from random import Random

import numpy as np
import torch
from torch import Tensor, nn

from trainables.errors import ConfigError
from trainables.methods.contrastive_pare.config import ContrastConfig
from trainables.methods.contrastive_pare.contrastive import (
    class_correlations,
    class_weights,
    contrastive_loss,
    input_units,
    mean_cosines,
)
from trainables.methods.contrastive_pare.noise import Units, Views, correlation
from trainables.models.cross_modal import CrossModalModel
from trainables.seeding import derive_seed
from trainables.sources.source import Domains
from trainables.stages.embedder_training import Batch, EmbedderTraining, TaskObjective
from trainables.stages.measurements import Measurements
from trainables.tasks.store.device_rows import moved
from trainables.training.pseudo_labels import target_labels
from trainables.training.state import TrainState

__all__ = ["Contrast"]

SCOPE, SOURCE_SCOPE = "contrast", "contrast-source"  # seed scopes of views and source samples


class Contrast(EmbedderTraining[ContrastConfig]):
    """Stage that trains only the embedder, by the contrastive loss of noisy views."""

    def check(self, model: CrossModalModel, domains: Domains) -> None:
        config, name, task = self.config, self.name, domains.target
        if config.epochs == 0 or config.form == "task":
            return
        sizes = np.bincount(target_labels(task, config.clusters))
        if len(sizes) < 2:
            raise ConfigError(
                f"{name}: all training samples of {task.info.name} are of one class, so that there "
                f"is nothing to tell apart. Raise data.samples, or set {name}.epochs to 0."
            )
        if sizes.max() * len(views_of(config)) < 2:
            raise ConfigError(
                f"{name}: no class of {task.info.name} has two views to be drawn together. Raise "
                f"{name}.noise_steps ({config.noise_steps}) or data.samples."
            )
        if config.include_source and domains.source is None:
            raise ConfigError(
                f"{name}: include_source needs source samples, but the trial has no proxy. Name "
                f"one under `proxies`, or set {name}.include_source to false."
            )

    def objective(self, state: TrainState, domains: Domains) -> TaskObjective:
        make = WarmupObjective if self.config.form == "task" else ContrastObjective
        return make(state, domains, self.config)


class WarmupObjective(TaskObjective):
    """The task's loss, in as many steps of as many samples as the contrast has."""

    def __init__(self, state: TrainState, domains: Domains, config: ContrastConfig) -> None:
        # A contrast has fewer than P classes a step if the task has fewer. The control counts the
        # same way.
        classes = len(members(target_labels(domains.target, config.clusters)))
        super().__init__(state, domains, min(config.classes, classes) * config.per_class)
        self.measurements = Measurements(state, domains, config)

    def summary(self) -> dict[str, float]:
        return self.measurements.after_epoch(self.state)


class ContrastObjective(TaskObjective):
    """Contrastive loss of batches of views. View v of sample i has index i V + v."""

    def __init__(self, state: TrainState, domains: Domains, config: ContrastConfig) -> None:
        labels = target_labels(domains.target, config.clusters)
        self.members = members(labels)
        classes = min(config.classes, len(self.members))
        super().__init__(state, domains, classes * config.per_class)
        assert config.form != "task"  # which is no contrast
        self.config, self.form = config, config.form
        self.measurements = Measurements(state, domains, config)
        self.views = views_of(config)
        self.units = Units(*(u.float().to(state.device) for u in input_units(domains.target)))
        self.source = domains.source if config.include_source else None
        self.source_members = [] if self.source is None else members(self.source.labels.numpy())
        self.labels, self.weights = torch.from_numpy(labels), self._weights().to(state.device)

    @property
    def trained(self) -> list[nn.Parameter]:
        return list(self.state.model.embedder.parameters())

    def steps(self, epoch: int) -> Iterator[list[Batch]]:
        rng = Random(derive_seed(self.state.seed, SCOPE, epoch))
        # Source samples have a stream of their own, so that they do not change the views of the
        # target.
        self.source_rng = Random(derive_seed(self.state.seed, SOURCE_SCOPE, epoch))
        self.drawn = 0
        for _ in range(-(-len(self.task.train) // self.batch_size)):
            indices = self._draw(self.members, len(self.views), rng)
            self.drawn += len(indices)
            yield [Batch(indices)]

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        features, noise_correlation = self.features(batch.indices)
        labels = self.labels[batch.indices // len(self.views)]
        if self.source is not None:
            drawn = torch.from_numpy(self._draw(self.source_members, 1, self.source_rng))
            # Classes of the source are numbered after those of the target, as in the rows of
            # `_weights`.
            theirs = len(self.members) + self.source.labels[drawn]
            features = torch.cat([features, self.source.rows(self.source.features, drawn)])
            labels = torch.cat([labels, theirs])
        on_device = moved(labels, features.device)
        loss = contrastive_loss(
            features,
            labels,
            self.weights[on_device[:, None], on_device],
            form=self.form,
            temperature=self.config.temperature,
        )
        within, between = mean_cosines(features.detach(), on_device)
        return loss, {
            "contrast_loss": loss,
            "intra_cos": within,
            "inter_cos": between,
            "noise_corr": noise_correlation,
        }

    def summary(self) -> dict[str, float]:
        return {"views": float(self.drawn), **self.measurements.after_epoch(self.state)}

    def _draw(self, classes: list[np.ndarray], views: int, rng: Random) -> np.ndarray:
        """Draw classes and different views of each; return the indices of the views."""
        drawn = []
        for group in rng.sample(classes, min(self.config.classes, len(classes))):
            # Drawn without replacement from all views of all members: two views may be of one
            # sample, but no view is drawn twice.
            every = len(group) * views
            picks = rng.sample(range(every), min(self.config.per_class, every))
            within, number = np.divmod(picks, views)
            drawn.append(group[within] * views + number)
        return np.concatenate(drawn)

    def features(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return views' mean tokens [b, D], and the correlations of noisy and clean values."""
        samples, numbers = np.divmod(indices, len(self.views))

        def perturb(z: Tensor, units: Units) -> tuple[Tensor, Tensor]:
            which = samples.tolist(), numbers.tolist()
            noisy = self.views.perturb(z, units, *which, seed=self.state.seed)
            return noisy, correlation(z.detach(), noisy.detach(), units)

        embed, x = self.state.model.embed, self.state.rows(self.task.train.x, samples)
        if self.config.noise_space == "input":
            noisy, measured = perturb(x, self.units)
            return embed(noisy).mean(1), measured
        tokens = embed(x)
        fixed = tokens.detach()
        units = Units(fixed.mean((0, 1)), fixed.std((0, 1), correction=0))
        noisy, measured = perturb(tokens, units)
        return noisy.mean(1), measured

    def _weights(self) -> Tensor:
        """Return lambda of each pair of classes: those of the target, then those of the source."""
        config, classes = self.config, len(self.members)
        every = classes + (0 if self.source is None else self.source.num_classes)
        # Prototypes of the two modalities differ in shape and have no correlation. Pairs with a
        # class of the source therefore keep the mean weight.
        weights = torch.full((every, every), config.lambda_mean).fill_diagonal_(1.0)
        if config.label_correlation == "prototype":
            weights[:classes, :classes] = class_weights(
                class_correlations(self.task, config.clusters),
                mean=config.lambda_mean,
                largest=config.lambda_max,
                epsilon=config.epsilon,
            )
        return weights


def views_of(config: ContrastConfig) -> Views:
    """Return the views of a sample under these settings."""
    return Views(
        num_scales=config.num_scales,
        sigma_min=config.sigma_min,
        sigma_max=config.sigma_max,
        steps=config.noise_steps,
        include_clean=config.include_clean,
    )


def members(labels: np.ndarray) -> list[np.ndarray]:
    """Return the sample indices of each class that occurs, in the order of the classes."""
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]
