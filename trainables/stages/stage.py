"""A stage: one phase of a method, a generator of Reports, and its frozen config.

Configs are plain data, so that a sweep file can be checked without torch. Each config names the
class of its stage. The state of a stage is entirely in `TrainState`: a resumed generator and a new
one are equivalent.

The settings define the size of a micro-batch (`batch_size`). A trial that runs out of memory is
repeated with each micro-batch divided into two, four, ... parts (`TrialSpec.halvings`). The means
of the parts are weighted by their samples. Steps and samples are unchanged, and the gradients are
equal except for rounding.

Random numbers inside the network are drawn for each part. With `model.drop_path` above 0, which a
Swin supports, other samples therefore skip attention than in an undivided micro-batch. The gradient
has the same distribution, but not the same value: a halved trial differs from the same trial
without halvings.

Only losses that are means over samples can be divided. Stages that compare the samples of a batch
with each other (`align`, `match`, `meta`, `contrast`) are never divided.

A trial may have several processes (`training.ranks`). `StageConfig.ranks` of a stage says whether
they divide its micro-batches, or the first one runs it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from importlib import import_module
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from trainables.errors import NonFiniteLoss
from trainables.report import Report
from trainables.spec import Spec

__all__ = ["check_finite"]

if TYPE_CHECKING:
    from torch import nn

    from trainables.models.cross_modal import CrossModalModel
    from trainables.sources.source import Domains
    from trainables.stages.configs import RefineConfig
    from trainables.training.state import TrainState


class StageConfig(Spec):
    """Hyperparameters of one stage. A field's name is the `parameter` of `stage.parameter`."""

    implementation: ClassVar[str]  # "module:class" of the Stage
    loads: ClassVar[tuple[str, ...]] = ()  # modules that the Stage imports by their names
    reports_objective: ClassVar[bool] = False
    # Of the processes of a trial those that train; "all" is for stages derived from `FineTuning`.
    ranks: ClassVar[Literal["all", "first"]] = "first"
    fits_each_sample: ClassVar[bool] = False  # each predicted sample has a training of its own
    needs_backbone: ClassVar[bool] = True  # False: it trains any network on the target alone
    epochs: int

    @property
    def micro_batch(self) -> int | None:
        """Samples computed at once, if fewer leave the gradient unchanged; else None."""
        return None

    @property
    def reads_batches(self) -> bool:
        """True if the outputs of a sample in training depend on the others of its micro-batch."""
        return False

    @property
    def divides_batches(self) -> bool:
        """True if all processes of a trial train in this stage, each on a part of the samples."""
        return self.ranks == "all" and self.micro_batch is not None and not self.reads_batches

    @property
    def vanilla(self) -> "RefineConfig | None":
        """The settings of vanilla fine-tuning that train the same bits; None if none do."""
        return None

    def build(self, name: str) -> "Stage[Any]":
        """Import and make the stage of this config.

        Args:
            name: Name of the stage in its method.
        """
        module, _, cls = self.implementation.partition(":")
        stage: Stage[Any] = getattr(import_module(module), cls)(name, self)
        return stage


C = TypeVar("C", bound=StageConfig)


class Stage(ABC, Generic[C]):
    """Base of the stages, which run one phase of a method on a `TrainState`."""

    def __init__(self, name: str, config: C) -> None:
        self.name = name
        self.config = config

    def check(self, model: "CrossModalModel", domains: "Domains") -> None:
        """Check, before any stage runs, that model and data support the settings.

        Raises:
            ConfigError: They do not. The message names the setting and a remedy.
        """

    def extras(
        self, model: "CrossModalModel", domains: "Domains", seed: int
    ) -> "dict[str, nn.Module]":
        """Return what the stage trains besides the model, by name (a gate, a source head)."""
        return {}

    @abstractmethod
    def run(self, state: "TrainState", domains: "Domains") -> Iterator[Report]:
        """Train from `state.epoch` to the end, and yield one Report after each epoch."""

    def report(
        self,
        state: "TrainState",
        measured: Mapping[str, float],
        others: Mapping[str, float] = MappingProxyType({}),
        *,
        objective: float | None = None,
    ) -> Report:
        """Return the report of the epoch that has ended.

        Args:
            state: The state of the trial's training.
            measured: Quantities of the stage, which are reported under its name.
            others: Further metrics by their whole names.
            objective: The validation value.
        """
        own = {f"{self.name}/{name}": value for name, value in measured.items()}
        return Report(
            stage=self.name,
            epoch=state.epoch,
            num_epochs=self.config.epochs,
            objective=objective,
            metrics={**own, **others},
        )


def check_finite(stage: str, measured: Mapping[str, float], epoch: int, *, hint: str) -> None:
    """Check that all measured quantities of an epoch are finite.

    Args:
        stage: Name of the stage.
        measured: Quantities by name.
        epoch: Epoch, counted from 0.
        hint: Remedy at the end of the message.

    Raises:
        NonFiniteLoss: A value is NaN or infinite.
    """
    for name, value in measured.items():
        if not isfinite(value):
            raise NonFiniteLoss(f"{stage}: the {name} became {value} in epoch {epoch + 1}; {hint}.")
