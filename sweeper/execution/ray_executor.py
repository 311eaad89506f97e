"""Ray Tune runs the trials; our runner is asked what, whether to go on, and told how each ended.

Tune's loop cannot be borrowed, but it can be answered: a `Searcher` whose `suggest` asks the
runner, a `Stopper` whose verdict is the runner's, and a `Callback` that reports crashes. Neither
Tune's own search algorithms, pruning, retries nor restore are used: the ledger does these.
"""

import logging
import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from ray import tune
from ray._private.worker import Worker
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE
from ray.tune.search import Searcher

from sweeper.core.runner import SweepRunner
from sweeper.errors import SweeperError
from sweeper.execution.cluster import ClusterLost
from sweeper.execution.controller import Controller, Unsaved
from sweeper.execution.memory_kills import MemoryKills
from sweeper.execution.watch import Watch
from sweeper.ledger.checkpoint_name import name_in
from sweeper.model import Decision, Measurement, Trial
from sweeper.text import printable
from trainables.errors import TrainableError
from trainables.report import Failed, Measured, StepResult, Waiting, from_plain
from trainables.spec import AttemptConfig
from trainables.trainable import Trainable

KEY = "sweeper_trial"  # in a config: which trial it is for Tune's own trial id
LOG = "log.txt"  # in an attempt's folder; its last lines say what a process died of
LOG_BYTES = 4000
NOTE_CHARS = 1000  # of a line about an attempt, on the terminal
ENDING = (signal.SIGTERM, signal.SIGHUP)


class AttemptBuilder(Protocol):
    """Builder of the config with which a worker runs a trial's latest attempt.

    Raises:
        TrainableError: The trial cannot be built now: the store of its checkpoints is away, say.
    """

    def __call__(self, trial: Trial) -> AttemptConfig: ...


class _Answers(Unsaved, Searcher):
    """Answers Tune's question for a new trial with the runner's next one."""

    def __init__(
        self, runner: SweepRunner, build: AttemptBuilder, tick: Callable[[], None]
    ) -> None:
        super().__init__()
        self._runner, self._build, self._tick = runner, build, tick
        self.trials: dict[str, Trial] = {}  # by Tune's id
        self.folders: dict[str, Path] = {}  # of their attempts
        self.errors: list[Exception] = []  # of ours that ended Tune's loop

    def set_search_properties(self, *args: Any, **kwargs: Any) -> bool:
        return True

    @contextmanager
    def keeping_errors(self) -> Iterator[None]:
        """Keeps a deliberate error, which Tune would turn into one of its own."""
        try:
            yield
        except (SweeperError, ClusterLost) as error:
            self.errors.append(error)
            raise

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        with self.keeping_errors():
            self._tick()  # Tune asks on and on where nothing runs, and does nothing else
            trial = self._runner.next_trial()
            if trial is None:
                return Searcher.FINISHED if self._runner.is_done else None
            try:
                config = self._build(trial)
            except TrainableError as error:  # of this trial alone
                text = f"{type(error).__name__}: {error}"
                self._runner.on_failure(trial, text, reason=str(error))
                return None
        self.trials[trial_id] = trial
        self.folders[trial_id] = Path(config.folder)
        return {**config.to_plain(), KEY: trial_id}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).touch()  # the ledger holds all there is to save

    def restore(self, checkpoint_path: str) -> None:
        pass


class _Judge(Unsaved, tune.Stopper):
    """Hands every result to the runner, once, and stops the trial on its word."""

    def __init__(self, runner: SweepRunner, answers: _Answers, say: Callable[[str], None]) -> None:
        self._runner, self._answers, self._say = runner, answers, say

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        with self._answers.keeping_errors():
            return self._is_over(self._answers.trials[trial_id], from_plain(result))

    def _is_over(self, trial: Trial, result: StepResult) -> bool:
        for text in result.notes:
            self._runner.on_note(trial, text)
            self._say(printable(f"{trial.name}: {text}", limit=NOTE_CHARS))
        match result:
            case Waiting():
                return False
            case Failed(infeasible=True):
                self._runner.on_infeasible(trial, result.traceback, reason=result.reason)
                return True
            case Failed():
                self._runner.on_failure(
                    trial, result.traceback, reason=result.reason, stage=result.stage
                )
                return True
            case Measured():
                decision = self._runner.on_report(trial, as_measurement(result))
                return result.is_last or decision is Decision.PRUNE

    def stop_all(self) -> bool:
        return self._runner.aborted is not None


class _Crashes(Unsaved, tune.Callback):
    """Tells the runner of attempts that ended without a word: a crash, a kill, a lost node."""

    def __init__(
        self, runner: SweepRunner, answers: _Answers, watch: Watch, kills: MemoryKills
    ) -> None:
        self._runner, self._answers, self._watch, self._kills = runner, answers, watch, kills

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        with self._answers.keeping_errors():
            self._watch.look(trials)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._watch.heard(trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any
    ) -> None:
        self._watch.heard(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._watch.over(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        killed = self._watch.over(trial.trial_id)
        file = Path(trial.error_file or "")
        error = file.read_text() if file.is_file() else "crash: the attempt left no error"
        last_words = _tail(self._answers.folders[trial.trial_id] / LOG)
        reason = killed or next(
            (x for x in last_words.splitlines() if "HostOutOfMemory" in x), None
        )
        reason = reason or self._kills.take()
        text = "\n".join(filter(None, (last_words, error, reason)))
        with self._answers.keeping_errors():
            told = self._answers.trials[trial.trial_id]
            self._runner.on_failure(told, reason or text, reason=reason, log=text, died=True)


def as_measurement(result: Measured) -> Measurement:
    """Return what the ledger records of an epoch that a worker measured."""
    report, place = result.report, result.checkpoint
    return Measurement(
        stage=report.stage,
        epoch=report.epoch,
        num_epochs=report.num_epochs,
        metrics=report.metrics,
        objective=report.objective,
        is_final=report.is_final,
        checkpoint=None if place is None else name_in(place),
        seconds=result.seconds,
        peak_memory_bytes=result.peak_memory_bytes,
        computed_by=report.computed_by,
    )


def _tail(path: Path) -> str:
    """Returns the last lines of a log; nothing where it is on another machine."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def run(
    runner: SweepRunner,
    build: AttemptBuilder,
    *,
    resources: dict[str, float],
    max_concurrent: int,
    folder: Path,
    storage: tuple[Any, str] | None = None,
    trainable: type[tune.Trainable] = Trainable,
    silence_s: float = math.inf,
    each_second: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda line: None,
    kills: MemoryKills | None = None,
) -> int | None:
    """Runs all that the runner has to run, and returns once it is done.

    Args:
        folder: What Tune writes of its own, which nobody reads; all nodes have to see it, or
            `storage`: a file system of pyarrow's, and a path there.
        silence_s: A trial that reports nothing for so long is ended, and fails by `timeout`.
        each_second: Called about once a second, in this thread, whether or not anything runs.
        say: Takes a line for people, such as that no node has room.
        kills: Knows of processes that the kernel killed; None: those of this machine.

    Returns the number of the signal that interrupted it, or None. Running trials are then ended
    as interrupted; their checkpoints let them go on.

    Raises:
        SweeperError: The runner could not answer: its ledger is lost, say.
        ClusterLost: `each_second` found that it is.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are the runner's to tell
    _make_worker_kills_ordinary_failures()
    _keep_keys_out_of_its_logs()
    _ignore_dropped_results()
    controller = Controller(no_next=lambda: runner.is_at_limit)
    watch = Watch(silence_s, controller.actor_of, each_second, say)
    answers = _Answers(runner, build, watch.tick)
    tuner = tune.Tuner(
        tune.with_resources(trainable, resources),
        tune_config=tune.TuneConfig(
            search_alg=answers,
            scheduler=controller,
            num_samples=-1,
            max_concurrent_trials=max_concurrent,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent) if storage is None else storage[1],
            storage_filesystem=None if storage is None else storage[0],
            stop=_Judge(runner, answers, say),
            callbacks=[_Crashes(runner, answers, watch, kills or MemoryKills())],
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
    """Lets SIGTERM and SIGHUP end Tune's loop the way SIGINT does, and records which came."""
    seen: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        signal.raise_signal(signal.SIGINT)

    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    previous = {number: signal.signal(number, handle) for number in ENDING}
    try:
        yield seen
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _keep_keys_out_of_its_logs() -> None:
    """Keeps Tune from passing on a bucket's keys in a runtime environment, which Ray logs.

    Trials have them from the environment of their node, as they have all else.
    """
    ENV_VARS_TO_PROPAGATE.difference_update([n for n in ENV_VARS_TO_PROPAGATE if "AWS_" in n])


def _ignore_dropped_results() -> None:
    """Keep Ray from reporting errors of results that nobody waits for.

    Tune drops what a trial that starts has under way when a sweep ends. Ray then reads each error,
    to print it; one that comes without details, as of a worker that never ran, fails to be read,
    with an AssertionError in the log. What trials come to is the runner's to tell.
    """
    Worker.raise_errors = lambda self, serialized_objects, object_refs: None
    logging.getLogger("ray._private.serialization").setLevel(logging.CRITICAL)


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
