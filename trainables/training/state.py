"""Training state of a trial, which is the content of a checkpoint.

It holds no random state: every generator is derived from the trial's seed and the epoch
(`seeding`). It holds no learning rate: the rate is a pure function of the step
(`optim.learning_rate_factor`).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trainables.models.adapters import load_merged, merged
from trainables.models.cross_modal import CrossModalModel, float32_products
from trainables.models.origin import ModelOrigin
from trainables.report import Report
from trainables.tasks.store.device_rows import DeviceRows
from trainables.training.ranks import Ranks


@contextmanager
def supervised(precision: str, device: torch.device) -> Iterator[None]:
    """Compute a supervised forward pass in `precision` (`ModelSpec.precision`)."""
    autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
    with float32_products(tf32=precision == "tf32"), autocast:
        yield


@dataclass
class Best:
    """Weights with the lowest validation value so far, those of adapters merged."""

    value: float
    epoch: int
    weights: dict[str, Tensor]


@dataclass
class TrainState:
    """Model, optimiser, position in the method's stages, and the best weights so far."""

    model: CrossModalModel
    seed: int
    precision: str = "fp32"
    compile: str = "off"  # of the body in supervised passes (`ModelSpec.compile`)
    halvings: int = 0  # halvings of micro-batches, which change only the computation of a step
    stage: int = 0  # index of the current stage
    epoch: int = 0  # completed epochs of the current stage
    optimizer: torch.optim.Optimizer | None = None
    optimizer_state: dict[str, object] | None = None  # state from a checkpoint, not yet in use
    best: Best | None = None
    made_under: str | None = None  # stage key (`stage_key`) under which the state was computed
    reports: list[Report] = field(default_factory=list)  # reports of a shared stage so far
    extras: nn.ModuleDict = field(default_factory=nn.ModuleDict)  # a gate, a source head
    origin: ModelOrigin | None = None  # description of the model, for its checkpoints
    rows: DeviceRows = field(default_factory=lambda: DeviceRows("cpu"))  # of data, on `device`
    ranks: "Ranks[TrainState]" = field(default_factory=Ranks)  # the processes that train

    @property
    def device(self) -> torch.device:
        parameter: Tensor = next(self.model.parameters())
        return parameter.device

    def use_optimizer(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Set the stage's optimiser, and load its state from the checkpoint, if there is one."""
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
            self.optimizer_state = None
        self.optimizer = optimizer
        return optimizer

    def use_precision(self, precision: str) -> None:
        """Compute in `precision` from now on, and record it with the model."""
        self.precision = precision
        if self.origin is not None:
            spec = self.origin.spec.with_model(precision=precision)
            self.origin = self.origin.model_copy(update={"spec": spec})

    def begin_stage(self, index: int) -> None:
        """Move to the stage with this index; it has a new optimiser."""
        self.stage, self.epoch, self.reports = index, 0, []
        self.optimizer = self.optimizer_state = None

    def keep_best(self, value: float) -> None:
        """Keep the current weights if `value` is the lowest validation value so far."""
        if self.best is None or value < self.best.value:
            self.best = Best(value, self.epoch, merged(self.model))

    @contextmanager
    def at_best(self) -> Iterator[CrossModalModel]:
        """Yield the model with its best weights, and restore the latest weights at the end."""
        # Before the first validation the latest weights are the best ones known.
        if self.best is None:
            yield self.model
            return
        # The whole state is copied, since `load_merged` also sets the adapters to zero.
        latest = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        load_merged(self.model, self.best.weights)
        try:
            yield self.model
        finally:
            self.model.load_state_dict(latest)

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """Compute a forward pass of supervised training or evaluation."""
        with supervised(self.precision, self.device), self.model.compiled(self.compile):
            yield

    def supervised_products(self) -> AbstractContextManager[None]:
        """Return the context of whole steps: autocast does not reach backward passes, TF32 does."""
        return float32_products(tf32=self.precision == "tf32")
