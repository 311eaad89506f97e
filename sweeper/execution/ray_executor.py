"""Ray Tune runs the trials; our runner is asked what, whether to go on, and told how each ended.

Tune's loop cannot be borrowed, but it can be answered: a `Searcher` whose `suggest` asks the
runner, a `Stopper` whose verdict is the runner's, and a `Callback` that reports crashes. Neither
Tune's own search algorithms, pruning, retries nor restore are used: the ledger does these.
"""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ray import tune
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.search import Searcher

from sweeper.errors import SweeperError
from sweeper.protocols import SpecBuilder
from sweeper.runner import SweepRunner
from sweeper.study import Decision, Measurement, Trial
from trainables.trainable import Trainable

KEY = "sweeper_trial"  # in a config: which trial it is for Tune's own trial id


class _Unsaved:
    """An empty shell in the files that Tune writes: a sweep resumes from its ledger alone."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: Any) -> "_Unsaved":
        return self


class _Answers(_Unsaved, Searcher):
    """Answers Tune's question for a new trial with the runner's next one."""

    def __init__(self, runner: SweepRunner, build: SpecBuilder) -> None:
        super().__init__()
        self._runner, self._build = runner, build
        self.trials: dict[str, Trial] = {}  # by Tune's id
        self.errors: list[SweeperError] = []  # of ours that ended Tune's loop

    def set_search_properties(self, *args: Any, **kwargs: Any) -> bool:
        return True

    @contextmanager
    def keeping_errors(self) -> Iterator[None]:
        """Keeps a deliberate error, which Tune would turn into one of its own."""
        try:
            yield
        except SweeperError as error:
            self.errors.append(error)
            raise

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        with self.keeping_errors():
            trial = self._runner.next_trial()
        if trial is None:
            return Searcher.FINISHED if self._runner.is_done else None
        self.trials[trial_id] = trial
        return {**self._build(trial), KEY: trial_id}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).touch()  # the ledger holds all there is to save

    def restore(self, checkpoint_path: str) -> None:
        pass


class _Judge(_Unsaved, tune.Stopper):
    """Hands every result to the runner, once, and stops the trial on its word."""

    def __init__(self, runner: SweepRunner, answers: _Answers) -> None:
        self._runner, self._answers = runner, answers

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        with self._answers.keeping_errors():
            return self._is_over(self._answers.trials[trial_id], result)

    def _is_over(self, trial: Trial, result: dict[str, Any]) -> bool:
        if "failure" in result:
            tell = self._runner.refused if result["infeasible"] else self._runner.failed
            tell(trial, result["failure"], reason=result["reason"])
            return True
        measurement = Measurement(
            **result["report"],
            **{name: result[name] for name in ("checkpoint", "seconds", "peak_memory_bytes")},
        )
        decision = self._runner.measured(trial, measurement)
        return measurement.is_final or decision is Decision.PRUNE

    def stop_all(self) -> bool:
        return self._runner.aborted is not None


class _Crashes(_Unsaved, tune.Callback):
    """Tells the runner of attempts that ended without a word: a crash, a kill, a lost node."""

    def __init__(self, runner: SweepRunner, answers: _Answers) -> None:
        self._runner, self._answers = runner, answers

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        file = Path(trial.error_file or "")
        error = file.read_text() if file.is_file() else "crash: the attempt left no error"
        with self._answers.keeping_errors():
            self._runner.failed(self._answers.trials[trial.trial_id], error)


def run(
    runner: SweepRunner,
    build: SpecBuilder,
    *,
    resources: dict[str, float],
    max_concurrent: int,
    folder: Path,
) -> int | None:
    """Runs all that the runner has to run, and returns once it is done.

    Returns the number of the signal that interrupted it, or None. Running trials are then ended
    as interrupted; their checkpoints let them go on.

    Raises:
        SweeperError: The runner could not answer: its ledger is lost, say.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are the runner's to tell
    _make_worker_kills_ordinary_failures()
    answers = _Answers(runner, build)
    tuner = tune.Tuner(
        tune.with_resources(Trainable, resources),
        tune_config=tune.TuneConfig(
            search_alg=answers,
            num_samples=-1,
            max_concurrent_trials=max_concurrent,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            stop=_Judge(runner, answers),
            callbacks=[_Crashes(runner, answers)],
            failure_config=tune.FailureConfig(max_failures=0),
            verbose=0,
        ),
    )
    with _term_as_interrupt() as seen:
        try:
            tuner.fit()
        except Exception:
            if answers.errors:
                raise answers.errors[0] from None
            raise
    is_done = runner.is_done
    runner.interrupt()  # of a hopeless sweep too: Tune has stopped what ran
    if is_done:
        return None
    return seen[-1] if seen else signal.SIGINT


def _trial_name(trial: Any) -> str:
    return f"{trial.config['label'].replace('/', '_').replace(' ', '_')}_{trial.trial_id[-5:]}"


@contextmanager
def _term_as_interrupt() -> Iterator[list[int]]:
    """Lets SIGTERM end Tune's loop the way SIGINT does, and records that it came."""
    seen: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        signal.raise_signal(signal.SIGINT)

    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    previous = signal.signal(signal.SIGTERM, handle)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGTERM, previous)


def _make_worker_kills_ordinary_failures() -> None:
    """Makes a kill by Ray's memory monitor fail one trial instead of ending `Tuner.fit`.

    Ray 2.60's actor manager knows two kinds of errors and raises on any other; an
    `OutOfMemoryError` is neither.
    """
    original = RayActorManager._actor_task_failed
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
