"""RECRAFT's alignment: ORCA's, and with `joint` above 0 also the distortion, in one stage.

This is the main figure of Tran et al., AISTATS 2026; their released code has a stage of its own for
the distortion.

    per_class   L = sum over classes y of p(y) [a D(S, f(x | y)) + b L_task + c H(q(. | y))]
    joint       L = a D(S, (f(x), y)) + b L_task + c distortion

ORCA defines D, the batches, the steps and the rates (`orca.alignment`), c is `joint`, and q is the
mean prediction of a frozen source predictor (`source_predictor`). An epoch of `per_class` has one
batch for each class. If no class is skipped and none has more than `max_samples` samples, the last
terms of an epoch add up to c H(S | T) of the training set, except that with a step for each batch
the embedder changes between them. With c = 0 the stage is ORCA's, bit for bit. The recorded
entropies are computed from the batches. No published value of c was at hand, so that it is a
setting of ours.
"""

from torch import Tensor

from trainables.methods.orca.alignment import Alignment, AlignmentObjective
from trainables.methods.recraft.config import JointConfig
from trainables.methods.recraft.source_predictor import SourcePredictor, check_labels
from trainables.models.cross_modal import CrossModalModel
from trainables.sources.source import Domains, Source
from trainables.stages.embedder_training import Batch, TaskObjective
from trainables.training.state import TrainState

__all__ = ["JointAlignment"]


class JointAlignment(Alignment):
    """Stage that trains the embedder by distance and weighted distortion together."""

    config: JointConfig

    def check(self, model: CrossModalModel, domains: Domains) -> None:
        super().check(model, domains)
        if self.config.epochs > 0 and self.config.joint > 0:
            hint = f"set {self.name}.joint to 0"
            check_labels(self.name, self.config, domains, hint=hint)

    def objective(self, state: TrainState, domains: Domains) -> TaskObjective | None:
        if self.config.joint == 0:
            return super().objective(state, domains)
        return JointObjective(state, domains, self.config, self._source(domains))


class JointObjective(AlignmentObjective):
    """Objective a D + b L_task + c distortion."""

    def __init__(
        self, state: TrainState, domains: Domains, config: JointConfig, source: Source
    ) -> None:
        super().__init__(state, domains, config, source)
        self.weight = config.joint
        self.predictor = SourcePredictor(state, source, self.labels, config)

    def embed(self, batch: Batch) -> Tensor:
        # All terms are of the same tokens, so that a sample is embedded once.
        self.tokens = super().embed(batch)
        return self.tokens

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        # This call embeds the batch, and leaves the tokens in `self.tokens`.
        aligned, measured = super().losses(batch)
        distortion, entropies = self.predictor.losses(self.tokens, batch.indices)
        return aligned + self.weight * distortion, measured | entropies

    def summary(self) -> dict[str, float]:
        return {**self.predictor.of_head, **super().summary()}
