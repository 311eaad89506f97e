"""The uses of Ray's private interfaces for Tune: the controller's actors, and five patches.

Tune has no public interface for the actors of trials and for idle actors.
"""

import logging
from collections.abc import Callable
from typing import Any

from ray._private.worker import Worker
from ray.air._internal import usage
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune import ExperimentAnalysis
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE
from ray.tune.execution.tune_controller import TuneController
from ray.tune.schedulers import FIFOScheduler


class Unsaved:
    """An object that Tune saves without content, because a sweep resumes from its ledger alone."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: Any) -> "Unsaved":
        return self


class Controller(Unsaved, FIFOScheduler):
    """A scheduler for Tune that starts trials in order and has access to Tune's controller.

    Tune keeps the actor of an ended trial, and with it a slot, for the next trial. If `no_next`
    returns True, the actor is released, so that other sweeps can use the slot.
    """

    def __init__(self, no_next: Callable[[], bool]) -> None:
        super().__init__()
        self._no_next = no_next
        self._tune: Any = None

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        self._tune = tune_controller._tune_controller
        # A pending trial takes the idle actor, and with it the slot.
        if self._no_next() and not self._tune._pending_trials:
            self._tune._cleanup_cached_actors(force_all=True)
        return super().choose_trial_to_run(tune_controller)

    def actor_of(self, trial: Any) -> Any:
        """Return the running or starting actor of a trial; None if no node has room for it."""
        if self._tune is None:
            return None
        tracked = self._tune._trial_to_actor.get(trial)
        actor, _ = self._tune._actor_manager._live_actors_to_ray_actors_resources.get(
            tracked, (None, None)
        )
        return actor


def patch() -> None:
    """Apply each patch for Tune once."""
    _make_worker_kills_ordinary_failures()
    _keep_keys_out_of_logs()
    _keep_trials_out_of_files()
    usage.tag_callbacks = lambda callbacks: False  # else Ray imports wandb, if there, to count them
    ignore_dropped_results()


def _keep_keys_out_of_logs() -> None:
    """Prevent Tune from passing a bucket's keys in a runtime environment, which Ray logs.

    Trials get the keys from the environment of their node, like all other variables.
    """
    ENV_VARS_TO_PROPAGATE.difference_update([n for n in ENV_VARS_TO_PROPAGATE if "AWS_" in n])


def _keep_trials_out_of_files() -> None:
    """Prevent Tune from saving the state of each trial, and from looking for results in the end.

    A sweep resumes from its ledger. The states took a fifth of the loop's time with short trials,
    and each look at a bucket is two requests.
    """
    TuneController._mark_trial_to_checkpoint = lambda self, trial: None
    ExperimentAnalysis._fetch_trial_dataframes = lambda self: {}


def ignore_dropped_results() -> None:
    """Prevent Ray from reporting errors of dropped results.

    At the end of a sweep, Tune drops the pending results of starting trials. Ray then tries to
    print each error. For an error without details, such as that of a worker that never ran, this
    logs an AssertionError. The runner reports the ends of trials anyway.
    """
    Worker.raise_errors = lambda self, serialized_objects, object_refs: None
    logging.getLogger("ray._private.serialization").setLevel(logging.CRITICAL)


def _make_worker_kills_ordinary_failures() -> None:
    """Make a kill by Ray's memory monitor fail one trial instead of ending `Tuner.fit`.

    The actor manager of Ray 2.60 handles two types of errors, and raises for any other type, such
    as `OutOfMemoryError`.
    """
    original = RayActorManager._actor_task_failed
    # A second sweep in one process must not wrap the function once more.
    if getattr(original, "is_patched", False):
        return

    def patched(self: Any, tracked_actor_task: Any, exception: Exception) -> Any:
        known = isinstance(exception, RayTaskError | RayActorError)
        if isinstance(exception, RayError) and not known:
            text = f"{type(exception).__name__}: {str(exception).splitlines()[0]}"
            exception = RayActorError(None, text)
        return original(self, tracked_actor_task, exception)

    patched.is_patched = True  # type: ignore[attr-defined]
    RayActorManager._actor_task_failed = patched
