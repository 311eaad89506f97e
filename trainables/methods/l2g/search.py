"""L2G's first stage: DASH's search, whose choice becomes the embedder's.

The searched network stands alone, without the pretrained body. After the last epoch the embedder's
convolutions get the operations with the largest weights, and its network new weights.
"""

from collections.abc import Callable, Iterator

from torch import Tensor

from trainables.methods.dash import search
from trainables.methods.dash.network import WideResNet
from trainables.methods.dash.train import discretise, print_chosen
from trainables.models.embedders import FeatureEmbedder
from trainables.models.own_network import standard_predictor
from trainables.report import Report
from trainables.sources.source import Domains
from trainables.tasks.task import Task
from trainables.training.state import TrainState


class Search(search.Search):
    """Stage that trains a network of mixed convolutions, and gives the embedder the best ones."""

    def predictor(
        self, state: TrainState, task: Task, network: WideResNet
    ) -> Callable[[Tensor], Tensor]:
        to_units = standard_predictor(task).to(state.device)
        return lambda x: to_units(network(x))

    def run(self, state: TrainState, domains: Domains) -> Iterator[Report]:
        for report in super().run(state, domains):
            # Chosen before the last report, so that a checkpoint of that epoch has the result.
            if report.epoch == self.config.epochs:
                embedder = state.model.embedder
                assert isinstance(embedder, FeatureEmbedder)
                discretise(embedder.network, state.extras, state.seed)
                print_chosen(state.extras)
                state.extras.requires_grad_(False).zero_grad()
            yield report
        # A trial that goes on from the last epoch has no report here, but a network that trains.
        state.extras.requires_grad_(False)
