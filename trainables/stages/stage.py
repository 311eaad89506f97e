"""A stage: one phase of a method, a generator of Reports, and its frozen config.

Configs are plain data, so that a sweep file can be checked without torch; each names the class
that runs it. A stage keeps nothing that is not in `TrainState`: a resumed generator and a fresh
one are the same thing.

A micro-batch is what the settings say (`batch_size`). A trial that ran out of memory is tried anew
with each cut into two, four, ... parts (`TrialSpec.halvings`), whose means are weighted by their
samples: the same steps on the same samples, with gradients that are equal but for rounding.

Noise inside the network is drawn part by part: with `model.drop_path` above 0, which a Swin has,
other samples skip attention than would in one piece. The gradient has the same distribution, and is
another one: a halved trial does not equal the same trial without halvings.

Only losses that are means over samples can be cut so. Stages that compare the samples of a batch
with each other (`align`, `meta`, `contrast`) stay as they are.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from importlib import import_module
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from trainables.errors import NonFiniteLoss
from trainables.report import Report
from trainables.spec import Spec

__all__ = ["check_finite", "largest_part", "parts"]

if TYPE_CHECKING:
    from torch import nn

    from trainables.models.cross_modal import CrossModalModel
    from trainables.sources.source import Domains
    from trainables.training.state import TrainState


class StageConfig(Spec):
    """Hyperparameters of one stage. Field names are the `parameter` of `stage.parameter`."""

    implementation: ClassVar[str]  # "module:class" of the Stage
    reports_objective: ClassVar[bool] = False
    epochs: int

    @property
    def micro_batch(self) -> int | None:
        """Sample computed at once, if they can be fewer and the gradient the same; else None."""
        return None

    def build(self, name: str) -> "Stage[Any]":
        """Import and makes the stage that this config describes, known as `name`."""
        module, _, cls = self.implementation.partition(":")
        stage: Stage[Any] = getattr(import_module(module), cls)(name, self)
        return stage


C = TypeVar("C", bound=StageConfig)


class Stage(ABC, Generic[C]):
    """Runs one phase of a method on a `TrainState`."""

    def __init__(self, name: str, config: C) -> None:
        self.name = name
        self.config = config

    def check(self, model: "CrossModalModel", domains: "Domains") -> None:
        """Check, before any stage runs, that model and data can honour the settings.

        Raises:
            ConfigError: They cannot; the text says which setting, and the way out.
        """

    def extras(
        self, model: "CrossModalModel", domains: "Domains", seed: int
    ) -> "dict[str, nn.Module]":
        """Return what the stage trains beside the model, by name: a gate, a source head."""
        del model, domains, seed
        return {}

    @abstractmethod
    def run(self, state: "TrainState", domains: "Domains") -> Iterator[Report]:
        """Train from `state.epoch` to the end, and yields one Report after each epoch."""


def check_finite(stage: str, measured: Mapping[str, float], epoch: int, *, way_out: str) -> None:
    """Look at all that a stage measured in an epoch, which is counted from 0.

    Raises:
        NonFiniteLoss: A value is NaN or infinite; the text ends with `way_out`.
    """
    for name, value in measured.items():
        if not isfinite(value):
            raise NonFiniteLoss(
                f"{stage}: the {name} became {value} in epoch {epoch + 1}; {way_out}."
            )


def largest_part(batch_size: int, halvings: int) -> int:
    """Return how many samples of a micro-batch are computed at once."""
    return -(-batch_size // (1 << halvings))


def parts(samples: int, batch_size: int, halvings: int) -> Iterator[slice]:
    """Yield the parts of a micro-batch that holds `samples`, at most `batch_size`, in order."""
    size = largest_part(batch_size, halvings)
    for start in range(0, samples, size):
        yield slice(start, min(start + size, samples))
