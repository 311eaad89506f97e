"""Protocols of the core: the sampler of a study and the hooks of a driver."""

from typing import Protocol

from sweeper.model import Measurement, Params, Trial


class Sampler(Protocol):
    """Source of the parameters of one study's sampled trials; it also decides on pruning."""

    def ask(self, number: int, given: Params | None = None) -> Params:
        """Return values of the active parameters of trial `number`, the `given` ones included."""
        ...

    def should_prune(self, number: int, measurement: Measurement) -> bool:
        """Record an epoch that reported the objective; return whether to prune the trial."""
        ...

    def tell(self, trial: Trial) -> None:
        """Record a finished trial: complete, pruned or failed."""
        ...

    def restore(self, trial: Trial, measurements: tuple[Measurement, ...]) -> None:
        """Record a trial of an earlier run of the sweep, finished or to be resumed."""
        ...


class Hook:
    """Base of what a driver calls while a sweep runs: a table, a guard, a clean-up.

    Each method does nothing, so that a hook defines only those that it needs.
    """

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        """Handle a trial that started, measured or ended."""

    def tick(self) -> None:
        """Do what is due; called about once a second, whether or not anything runs."""

    def close(self, patience_s: float | None = None) -> None:
        """Finish within `patience_s` seconds (None: whatever it takes) after the last trial.

        May be called more than once.
        """
