"""Protocols of the core: the sampler of a study and the hooks of a driver."""

from collections.abc import Mapping
from typing import Protocol

from sweeper.model import Params, SamplerState, Trial
from sweeper.text import JsonObject
from trainables.report import Measurement


class Sampler(Protocol):
    """The source of parameters for one study's sampled trials, which also decides on pruning."""

    def ask(self, number: int, given: Params | None = None) -> Params:
        """Return values of the active parameters of trial `number`, including the `given` ones."""
        ...

    def should_prune(self, number: int, measurement: Measurement) -> bool:
        """Record an epoch with an objective; return whether to prune the trial."""
        ...

    def observe(self, number: int, quantities: Mapping[str, float]) -> None:
        """Record the quantities of a trial for the goals, before it pauses, ends or is restored."""
        ...

    def pause(self, number: int) -> None:
        """Record that a trial pauses, after the values that `should_prune` has recorded."""
        ...

    def resume(self, number: int) -> None:
        """Record that a paused trial goes on."""
        ...

    def tell(self, trial: Trial) -> None:
        """Record a finished trial: complete, pruned or failed."""
        ...

    def state(self, number: int) -> SamplerState:
        """Return what is to be kept of a sampled trial and of the study, for `restore`."""
        ...

    def restore_study(self, state: JsonObject) -> None:
        """Record what was kept of the study, before any trial is restored."""
        ...

    def restore(self, trial: Trial, measurements: tuple[Measurement, ...]) -> None:
        """Record a trial of an earlier run of the sweep, finished or not."""
        ...


class Hook:
    """Base class of objects that a driver calls during a sweep, such as a table or a disk guard.

    The methods do nothing, so that a hook defines only the ones that it needs.
    """

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        """Handle the start, an epoch or the end of a trial."""

    def tick(self) -> None:
        """Do periodic work. The driver calls it about once a second, even if no trial runs."""

    def close(self, patience_s: float | None = None) -> None:
        """Finish after the last trial, within `patience_s` seconds (None: without a limit).

        The driver may call it more than once.
        """
