"""All that changes while a trial trains, and so all that a checkpoint holds.

Chance is not in it: every generator is derived from the trial's seed and the epoch (`seeding`).
Nor is the learning rate: it is a pure function of the step (`optim.learning_rate_factor`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trainables.models.cross_modal import CrossModalModel
from trainables.report import Report


@dataclass
class Best:
    """The weights with the lowest validation value so far."""

    value: float
    epoch: int
    weights: dict[str, Tensor]


@dataclass
class TrainState:
    """Model, optimiser, place in the method's stages, and the best weights so far."""

    model: CrossModalModel
    seed: int
    precision: str = "fp32"
    halvings: int = 0  # of micro-batches: how a step is computed, not what
    stage: int = 0  # index of the stage that runs
    epoch: int = 0  # epochs of it that are done
    optimizer: torch.optim.Optimizer | None = None
    optimizer_state: dict[str, object] | None = None  # read from a checkpoint, not yet in use
    best: Best | None = None
    made_under: str | None = None  # the stage key (`stage_key`) that all of it was made under
    reports: list[Report] = field(default_factory=list)  # of a stage that is shared, so far
    extras: nn.ModuleDict = field(default_factory=nn.ModuleDict)  # a gate, a source head

    @property
    def device(self) -> torch.device:
        parameter: Tensor = next(self.model.parameters())
        return parameter.device

    def use_optimizer(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Adopt the stage's optimiser, in the state that a checkpoint left it in, if any."""
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
            self.optimizer_state = None
        self.optimizer = optimizer
        return optimizer

    def begin_stage(self, index: int) -> None:
        """Move on to the next stage, whose optimiser starts afresh."""
        self.stage, self.epoch, self.reports = index, 0, []
        self.optimizer = self.optimizer_state = None

    def keep_best(self, value: float) -> None:
        """Keep the weights as they are, if `value` is the lowest validation value so far."""
        if self.best is None or value < self.best.value:
            weights = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            self.best = Best(value, self.epoch, weights)

    @contextmanager
    def at_best(self) -> Iterator[CrossModalModel]:
        """Yield the model with its best weights, and puts the latest back."""
        if self.best is None:
            yield self.model
            return
        latest = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.best.weights)
        try:
            yield self.model
        finally:
            self.model.load_state_dict(latest)

    def autocast(self) -> torch.autocast:
        """The context in which supervised training and evaluation run."""
        enabled = self.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)
