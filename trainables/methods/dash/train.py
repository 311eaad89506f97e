"""DASH's last stage: the network of the chosen operations is trained from new weights.

Without a search it is a wide residual network with kernels of three points. After `tune`, rate,
dropout, decay and momentum are those of its best candidate, else those of the stage.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from trainables.methods.dash.config import TrainConfig, step_factor
from trainables.methods.dash.network import WideResNet
from trainables.methods.dash.search import chosen_operations
from trainables.report import Report
from trainables.seeding import generator
from trainables.sources.source import Domains
from trainables.stages.fine_tuning import FineTuning
from trainables.training.state import TrainState

__all__ = ["TUNED", "Train", "Tuned", "discretise", "print_chosen"]

SCOPE = "dash-kernels"  # seed scope of the new weights
TUNED = "tuned"  # name of the best candidate among the extras of a trial
NAMES = ("lr", "dropout", "weight_decay", "momentum")  # of the tuned settings


def discretise(network: nn.Module, extras: nn.ModuleDict, seed: int) -> None:
    """Give each convolution of a network its chosen operation, and draw all weights anew.

    Without a search the network is left as it is.
    """
    operations = chosen_operations(extras)
    if operations is not None:
        assert isinstance(network, WideResNet)
        network.choose(operations)
        network.draw(generator(seed, SCOPE))


def print_chosen(extras: nn.ModuleDict) -> None:
    """Print the chosen operations, if there was a search."""
    if (chosen := chosen_operations(extras)) is not None:
        named = ", ".join(f"{each.size}x{each.dilation}" for each in chosen)
        print(f"sizes x dilations of the kernels: {named}", flush=True)


class Tuned(nn.Module):
    """The best candidate of `tune` so far, and its validation value."""

    value: Tensor
    settings: Tensor  # in the order of `NAMES`

    def __init__(self) -> None:
        super().__init__()
        infinite = torch.full((), float("inf"), dtype=torch.float64)
        self.register_buffer("value", infinite)
        self.register_buffer("settings", torch.zeros(len(NAMES), dtype=torch.float64))

    @property
    def best(self) -> dict[str, float]:
        """The settings of `train` by name; empty if no candidate had a finite value."""
        if not self.value.isfinite():
            return {}
        return dict(zip(NAMES, self.settings.tolist(), strict=True))

    def keep(self, value: float, settings: tuple[float, ...]) -> None:
        """Keep a candidate if its value is the lowest so far."""
        if value < self.value.item():
            self.value.fill_(value)
            self.settings.copy_(torch.tensor(settings, dtype=torch.float64))


class Train(FineTuning[TrainConfig]):
    """Stage that trains the network of the chosen operations on the task."""

    def rate(self, step: int, steps: int) -> float:
        config = self.config
        if config.schedule == "linear":
            return super().rate(step, steps)
        epoch = step // steps
        return config.lr * step_factor(epoch, config.lr_steps, config.lr_factor)

    def prepare(self, state: TrainState) -> list[nn.Parameter]:
        network = state.model.body
        assert isinstance(network, WideResNet)
        network.drop(self.config.dropout)
        return super().prepare(state)

    def run(self, state: TrainState, domains: Domains) -> Iterator[Report]:
        config, extras = self.config, state.extras
        extras.requires_grad_(False).zero_grad()  # the network of the search trains no more
        # A resumed training finds operations and weights in its checkpoint.
        if state.epoch == 0:
            discretise(state.model.body, extras, state.seed)
            print_chosen(extras)
        if TUNED in extras:
            tuned = extras[TUNED]
            assert isinstance(tuned, Tuned)
            # Rate, dropout and optimiser are read from a stage's config, so that the tuned settings
            # need a stage of their own.
            config = config.model_copy(update=tuned.best)
        yield from FineTuning.run(Train(self.name, config), state, domains)
