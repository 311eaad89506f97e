"""RECRAFT's stage `match`, between ORCA's alignment and fine-tuning (Tran et al., AISTATS 2026).

    target x -> embedder (trains) -> body (frozen) -> source head (frozen) -> q(. | x)

The embedder minimises the feature-label distortion of the training samples (`distortion`). The head
is trained before, on source samples that pass through the source's own embedder and the same body
(`source_head`). Neither the body nor the target's predictor changes.

Target classes are those of the task, or k-means groups of its outputs (`pseudo_labels`). A step
draws random classes, at most as many as have room for two samples each, in numbers as equal as the
classes allow, and weighs them by their shares. An epoch has ceil(n / max_samples) steps. The
released code makes a step for each batch of one class instead; H(S) then has to be estimated from
other batches.

The head is no state of the trial. It is a function of the pretrained body, the source, the settings
and the seed, and a resumed trial trains it again.
"""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from trainables.errors import ConfigError
from trainables.methods.orca.alignment import balanced_batch
from trainables.methods.pare.source_heads import LabelHead
from trainables.methods.recraft.config import MatchConfig
from trainables.methods.recraft.distortion import distortion
from trainables.methods.recraft.source_head import gradient_norms, train_source_head
from trainables.models.cross_modal import CrossModalModel
from trainables.seeding import generator
from trainables.sources.source import Domains, Source, balanced_choice
from trainables.stages.embedder_training import Batch, EmbedderTraining, TaskObjective
from trainables.stages.measurements import Measurements
from trainables.tasks.store.device_rows import moved
from trainables.training.probe import body_features
from trainables.training.pseudo_labels import target_labels
from trainables.training.state import TrainState

__all__ = ["Matching"]

SCOPE, HEAD_SCOPE = "match", "match-head"  # seed scopes of the batches and of the source head


class Matching(EmbedderTraining[MatchConfig]):
    """Stage that trains only the embedder, by the distortion of a frozen source predictor."""

    def check(self, model: CrossModalModel, domains: Domains) -> None:
        config, name = self.config, self.name
        if config.epochs == 0:
            return
        source = self._source(domains)
        if int((torch.bincount(source.labels) > 0).sum()) < 2:
            raise ConfigError(
                f"{name}: all samples of the proxy have one label, so that a source predictor is "
                f"always certain. Name another under `proxies`, or set {name}.epochs to 0."
            )
        if (
            config.form == "information"
            and not target_labels(domains.target, config.clusters).any()
        ):
            raise ConfigError(
                f"{name}: all training samples of {domains.target.info.name} are of one class, "
                "about which source labels hold no information. Raise data.samples, or set "
                f"{name}.form to conditional."
            )

    def objective(self, state: TrainState, domains: Domains) -> TaskObjective:
        return MatchObjective(state, domains, self.config, self._source(domains))

    def _source(self, domains: Domains) -> Source:
        if domains.source is None:
            raise ConfigError(
                f"{self.name}: the source predictor is trained on labelled source data, but the "
                f"trial has no proxy. Name one under `proxies`, or set {self.name}.epochs to 0."
            )
        return domains.source


class MatchObjective(TaskObjective):
    """Distortion of class-balanced batches."""

    def __init__(
        self, state: TrainState, domains: Domains, config: MatchConfig, source: Source
    ) -> None:
        super().__init__(state, domains, config.max_samples)
        self.config, self.source = config, source
        self.measurements = Measurements(state, domains, config)
        self.labels = target_labels(domains.target, config.clusters)
        counts = np.bincount(self.labels)
        self.classes = [np.flatnonzero(self.labels == label) for label in range(len(counts))]
        self.shares = torch.from_numpy(counts / counts.sum()).float().to(state.device)
        self.of_head: dict[str, float] = {}

    @property
    def trained(self) -> list[nn.Parameter]:
        return list(self.state.model.embedder.parameters())

    @cached_property
    def head(self) -> LabelHead:
        """The frozen head of the source predictor."""
        config, source = self.config, self.source
        chosen = balanced_choice(source.labels, config.source_per_class)
        features = torch.from_numpy(body_features(self.state.model, source, chosen))
        labels = source.labels[chosen]
        head = train_source_head(
            features,
            labels,
            source.num_classes,
            epochs=config.head_epochs,
            lr=config.head_lr,
            tau=config.tau,
            rho=config.rho,
            rng=generator(self.state.seed, HEAD_SCOPE),
        )
        logits, norms = head(features[:, None]), gradient_norms(head, features, labels)
        self.of_head = {
            "source_loss": head.loss(logits, labels).item(),
            "source_error": (logits.argmax(1) != labels).float().mean().item(),
            "source_grad_norm": norms.max().item(),
        }
        return head.to(self.state.device)

    def steps(self, epoch: int) -> Iterator[list[Batch]]:
        rng = generator(self.state.seed, SCOPE, epoch)
        for _ in range(-(-len(self.labels) // self.batch_size)):
            yield [Batch(balanced_batch(self.classes, self.batch_size, rng))]

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        head, tokens = self.head, self.embed(batch)
        with self.state.supervised():
            features = self.state.model.encode(tokens)
        probabilities = head(features.float()).softmax(1)
        labels = moved(torch.from_numpy(self.labels[batch.indices]), tokens.device)
        found = distortion(probabilities, labels, self.shares)
        loss = found.loss(self.config.form)
        return loss, {
            "match_loss": loss,
            "entropy": found.sample,
            "conditional_entropy": found.conditional,
            "marginal_entropy": found.marginal,
        }

    def summary(self) -> dict[str, float]:
        return {**self.of_head, **self.measurements.after_epoch(self.state)}
