"""Tune's own controller, for what it tells nobody: which trials have actors, and which actors idle.

Tune has no public way to either; what is used of it here is private to Ray.
"""

from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import FIFOScheduler


class Unsaved:
    """An empty shell in the files that Tune writes: a sweep resumes from its ledger alone."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: Any) -> "Unsaved":
        return self


class Controller(Unsaved, FIFOScheduler):
    """Starts trials as they come: as Tune's scheduler, it is shown the controller.

    Tune keeps an actor whose trial has ended for the next one, and with it a slot. It is let go
    where there is `no_next`, since other sweeps are owed the slot.
    """

    def __init__(self, no_next: Callable[[], bool]) -> None:
        super().__init__()
        self._no_next = no_next
        self._tune: Any = None

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        self._tune = tune_controller._tune_controller
        if self._no_next() and not self._tune._pending_trials:
            self._tune._cleanup_cached_actors(force_all=True)
        return super().choose_trial_to_run(tune_controller)

    def actor_of(self, trial: Any) -> Any:
        """Returns the actor of a trial, be it still starting; None: no node has room for it."""
        if self._tune is None:
            return None
        tracked = self._tune._trial_to_actor.get(trial)
        actor, _ = self._tune._actor_manager._live_actors_to_ray_actors_resources.get(
            tracked, (None, None)
        )
        return actor
