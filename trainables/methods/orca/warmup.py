"""ORCA's optional second stage (Shen et al., ICML 2023): a predictor that fits the embedder.

Embedder and predictor train on the task at a constant rate; the body passes gradients on and keeps
none.
"""

from trainables.sources.source import Domains
from trainables.stages.configs import WarmupConfig
from trainables.stages.embedder_training import EmbedderTraining, TaskObjective
from trainables.training.state import TrainState

__all__ = ["Warmup"]


class Warmup(EmbedderTraining[WarmupConfig]):
    """Minimises the task's loss over embedder and predictor."""

    def objective(self, state: TrainState, domains: Domains) -> TaskObjective:
        return TaskObjective(state, domains, self.config.batch_size)
