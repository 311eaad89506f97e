"""The seams of the service on one page: who suggests, who runs, who watches."""

from typing import Protocol

from sweeper.model import Measurement, Params, Trial


class Sampler(Protocol):
    """Suggests the parameters of one study's sampled trials, and says which to prune."""

    def ask(self, number: int, given: Params | None = None) -> Params:
        """Suggests values for the active parameters of trial `number`, those `given` among them."""
        ...

    def should_prune(self, number: int, measurement: Measurement) -> bool:
        """Takes in an epoch that reported the objective, and judges the trial by it."""
        ...

    def tell(self, trial: Trial) -> None:
        """Takes in a finished trial: complete, pruned or failed."""
        ...

    def restore(self, trial: Trial, measurements: tuple[Measurement, ...]) -> None:
        """Takes in a trial of an earlier run of the sweep, finished or to be resumed."""
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
