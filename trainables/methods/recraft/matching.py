"""RECRAFT's stage `match`, between ORCA's alignment and fine-tuning (Tran et al., AISTATS 2026).

    target x -> embedder (trains) -> body (frozen) -> source head (frozen) -> q(. | x)

The embedder minimises the feature-label distortion of the training samples (`distortion`) by a
predictor that is trained before (`source_predictor`). Neither the body nor the target's predictor
changes.

Target classes are those of the task, or k-means groups of its outputs (`pseudo_labels`). A step
draws random classes, at most as many as have room for two samples each, in numbers as equal as the
classes allow, and weighs them by their shares. An epoch has ceil(n / max_samples) steps. The
released code makes a step for each batch of one class instead; H(S) then has to be estimated from
other batches.
"""

from collections.abc import Iterator

import numpy as np
from torch import Tensor, nn

from trainables.errors import ConfigError
from trainables.methods.orca.alignment import balanced_batch
from trainables.methods.recraft.config import MatchConfig
from trainables.methods.recraft.source_predictor import SourcePredictor, check_labels
from trainables.models.cross_modal import CrossModalModel
from trainables.seeding import generator
from trainables.sources.source import Domains, Source
from trainables.stages.embedder_training import Batch, EmbedderTraining, TaskObjective
from trainables.stages.measurements import Measurements
from trainables.training.pseudo_labels import target_labels
from trainables.training.state import TrainState

__all__ = ["Matching"]

SCOPE = "match"  # seed scope of the batches


class Matching(EmbedderTraining[MatchConfig]):
    """Stage that trains only the embedder, by the distortion of a frozen source predictor."""

    def check(self, model: CrossModalModel, domains: Domains) -> None:
        if self.config.epochs == 0:
            return
        self._source(domains)
        check_labels(self.name, self.config, domains, hint=f"set {self.name}.epochs to 0")

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
        self.measurements = Measurements(state, domains, config)
        labels = target_labels(domains.target, config.clusters)
        self.classes = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
        self.predictor = SourcePredictor(state, source, labels, config)

    @property
    def trained(self) -> list[nn.Parameter]:
        return list(self.state.model.embedder.parameters())

    def steps(self, epoch: int) -> Iterator[list[Batch]]:
        rng = generator(self.state.seed, SCOPE, epoch)
        for _ in range(-(-len(self.task.train) // self.batch_size)):
            # Several classes in a batch: H(S) is that of a mixture over classes.
            yield [Batch(balanced_batch(self.classes, self.batch_size, rng))]

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return self.predictor.losses(self.embed(batch), batch.indices)

    def summary(self) -> dict[str, float]:
        return {**self.predictor.of_head, **self.measurements.after_epoch(self.state)}
