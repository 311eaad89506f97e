"""The executor, in which Ray Tune runs the trials and the runner makes the decisions.

Tune owns the loop. A `Searcher` gets the next trial from the runner, a `Stopper` passes on the
runner's decisions, and a `Callback` reports crashes. Tune's own search algorithms, pruning, retries
and restore are not used: the runner and the ledger replace them.
"""

import logging
import math
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search import Searcher

from sweeper.core.policies import CRASH, classify
from sweeper.core.runner import SweepRunner
from sweeper.errors import SweeperError
from sweeper.execution import tune_internals
from sweeper.execution.cluster import ClusterLost
from sweeper.execution.memory_kills import MemoryKills
from sweeper.execution.nodes import is_on_leaving_node
from sweeper.execution.tune_internals import Controller, Unsaved
from sweeper.ledger.records import name_in
from sweeper.model import Decision, Trial
from sweeper.text import printable
from trainables.errors import RankDied, TrainableError
from trainables.report import Failed, Measured, Measurement, StepResult, Waiting, from_plain
from trainables.runtime.attempt_log import LOG
from trainables.spec import AttemptConfig
from trainables.trainable import ATTEMPT, NodeDrains, Trainable

KEY = "sweeper_trial"  # key of Tune's trial id in a config
LOG_BYTES = 4000  # from the end of an attempt's log, for the reason of a death
LEFT = f"{NodeDrains.__name__}: its node leaves the cluster; the trial goes on elsewhere"
DIED_IN_RAY = "its worker process has died"  # what Ray says of a death that it cannot explain
DIED = "its worker process died without a message: killed, as for lack of memory, or crashed"
NOTE_CHARS = 1000  # of a note about an attempt on the terminal
ENDING = (signal.SIGTERM, signal.SIGHUP)
TICK_S = 1.0
TURN_S = 0.0005  # of a thread while others wait; Python's own is 5 ms
STALLED_S = 5.0  # between two checks; after more, this loop itself has waited
WAITING_S = 30.0  # between two messages that no node has room


class AttemptBuilder(Protocol):
    """The builder of the config of a trial's latest attempt, for a worker.

    Raises:
        TrainableError: The config cannot be built now, for example without the store.
    """

    def __call__(self, trial: Trial) -> AttemptConfig: ...


class Answers(Unsaved, Searcher):
    """A searcher for Tune that returns the runner's next trial."""

    def __init__(
        self, runner: SweepRunner, build: AttemptBuilder, tick: Callable[[], None]
    ) -> None:
        super().__init__()
        self._runner, self._build, self._tick = runner, build, tick
        self.trials: dict[str, Trial] = {}  # Tune's trial id -> trial
        self.folders: dict[str, Path] = {}  # Tune's trial id -> folder of the attempt
        self.errors: list[Exception] = []  # our own errors that ended Tune's loop

    def set_search_properties(self, *args: Any, **kwargs: Any) -> bool:
        return True

    @contextmanager
    def keeping_errors(self) -> Iterator[None]:
        """Store our own error, because Tune replaces it by an error of its own."""
        try:
            yield
        except (SweeperError, ClusterLost) as error:
            self.errors.append(error)
            raise

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        with self.keeping_errors():
            self._tick()  # if no trial runs, Tune makes no other calls
            trial = self._runner.next_trial()
            if trial is None:
                # After None Tune asks again, and after FINISHED never.
                return Searcher.FINISHED if self._runner.is_done else None
            try:
                config = self._build(trial)
            except TrainableError as error:  # concerns this trial only
                text = "".join(traceback.format_exception_only(error))
                self._runner.on_failure(trial, text, reason=str(error))
                return None
        self.trials[trial_id] = trial
        self.folders[trial_id] = Path(config.folder)
        return {ATTEMPT: config, KEY: trial_id}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).touch()  # the ledger has the whole state

    def restore(self, checkpoint_path: str) -> None:
        pass


class Judge(Unsaved, tune.Stopper):
    """A stopper for Tune that passes each result to the runner, which may end the trial."""

    def __init__(
        self,
        runner: SweepRunner,
        answers: Answers,
        say: Callable[[str], None],
        kills: MemoryKills,
    ) -> None:
        self._runner, self._answers, self._say, self._kills = runner, answers, say, kills

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        with self._answers.keeping_errors():
            return self.is_over(self._answers.trials[trial_id], from_plain(result))

    def is_over(self, trial: Trial, result: StepResult) -> bool:
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
                # Before the failure is recorded, after which the name of an ended
                # attempt would be refused.
                if result.checkpoint is not None:
                    self._runner.on_checkpoint(trial, name_in(result.checkpoint))
                # Of several processes of a trial, the kernel may have killed one.
                died = result.error == RankDied.__name__
                killed = self._kills.take() if died else None
                self._runner.on_failure(
                    trial,
                    killed or result.traceback,
                    reason=killed or result.reason,
                    stage=result.stage,
                    log=result.traceback,
                    died=died,
                )
                return True
            case Measured():
                decision = self._runner.on_report(trial, as_measurement(result))
                return result.is_last or decision is not Decision.CONTINUE

    def stop_all(self) -> bool:
        return self._runner.aborted is not None


class Watch:
    """The watch over Tune's trials, which ends silent actors and reports a lack of room.

    Args:
        silence_s: The seconds without a report after which a trial is silent.
        actor_of: A function that returns the actor of a trial of Tune; None while no node has room
            for the trial.
        each_second: A function that is called about once a second.
        say: A function that receives lines for users.
        clock: The clock, in seconds.
    """

    def __init__(
        self,
        silence_s: float,
        actor_of: Callable[[Any], Any],
        each_second: Callable[[], None],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._silence_s, self.actor_of = silence_s, actor_of
        self._each_second, self._say, self._clock = each_second, say, clock
        self._touched: dict[str, float] = {}  # Tune's id of an active trial -> time
        self._killed: dict[str, str] = {}  # Tune's trial id -> reason
        self._ticked = -TICK_S
        self._checked = clock()
        self._waiting_since = self._said = clock()
        self.num_waiting = 0  # trials for which no node has room

    def touch(self, trial_id: str) -> None:
        """Record the start or a report of a trial."""
        self._touched[trial_id] = self._clock()

    def finish(self, trial_id: str) -> str | None:
        """Forget an ended trial; return the reason if this watch has ended it."""
        self._touched.pop(trial_id, None)
        return self._killed.pop(trial_id, None)

    def tick(self) -> None:
        """Call `each_second` if it is due."""
        if self._clock() - self._ticked >= TICK_S:
            self._ticked = self._clock()
            self._each_second()

    def check_trials(self, trials: Sequence[Any]) -> None:
        """End the actors of silent trials, and report trials that wait for room.

        A trial that waits for room is not silent: its time begins with its actor.
        """
        if self._clock() - self._ticked < TICK_S:
            return
        self.tick()
        now = self._clock()
        stalled = now - self._checked
        if stalled > STALLED_S:  # new reports are still unread
            self._touched = {k: min(now, at + stalled) for k, at in self._touched.items()}
        self._checked = now
        for trial in trials:
            if trial.status == TuneTrial.PENDING and self.actor_of(trial) is not None:
                self._touched.setdefault(trial.trial_id, now)  # Tune has no callback for this
            silent = now - self._touched.get(trial.trial_id, now)
            if silent > self._silence_s and trial.trial_id not in self._killed:
                self._end(trial)
        self._report_waiting(trials, now)

    def _end(self, trial: Any) -> None:
        actor = self.actor_of(trial)
        if actor is None:
            return
        starting = " while it started" if trial.status == TuneTrial.PENDING else ""
        self._killed[trial.trial_id] = (
            f"silent for {self._silence_s:.0f} s{starting} (failures.silence): it was ended."
        )
        # Tune then reports an error of the trial, to which `Crashes` adds the reason.
        ray.kill(actor)

    def _report_waiting(self, trials: Sequence[Any], now: float) -> None:
        pending = [trial for trial in trials if trial.status == TuneTrial.PENDING]
        waits = [trial for trial in pending if self.actor_of(trial) is None]
        self.num_waiting = len(waits)
        has_room = any(trial.status == TuneTrial.RUNNING for trial in trials)
        if not waits or has_room or len(waits) < len(pending):
            self._waiting_since = now
        elif now - max(self._waiting_since, self._said) >= WAITING_S:
            self._said = now
            waited = now - self._waiting_since
            self._say(f"no node has had room for a trial for {waited:.0f} s; waiting for one.")


class Crashes(Unsaved, tune.Callback):
    """A callback for Tune that reports attempts without a result: crashes, kills, lost nodes."""

    def __init__(
        self, runner: SweepRunner, answers: Answers, watch: Watch, kills: MemoryKills
    ) -> None:
        self._runner, self._answers, self._watch, self._kills = runner, answers, watch, kills
        self._actors: dict[str, str] = {}  # id of the actor of a trial, by Tune's id of the trial

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        with self._answers.keeping_errors():
            self._watch.check_trials(trials)
            self._runner.num_without_node = self._watch.num_waiting

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._watch.touch(trial.trial_id)
        if (actor := self._watch.actor_of(trial)) is not None:
            # Kept for `_has_left`: Ray knows by the id on which node an actor
            # ran, also after its death.
            self._actors[trial.trial_id] = actor._actor_id.hex()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any
    ) -> None:
        self._watch.touch(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._watch.finish(trial.trial_id)
        self._actors.pop(trial.trial_id, None)
        if (actor := self._watch.actor_of(trial)) is not None:
            actor.cleanup.remote()  # it may be idle for long, and hold memory of a shared GPU

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        killed = self._watch.finish(trial.trial_id)
        file = Path(trial.error_file or "")
        error = file.read_text() if file.is_file() else "crash: the attempt left no error"
        log = _tail(self._answers.folders[trial.trial_id] / LOG)
        # The watch's own reason comes first, then Ray's memory monitor, then a node that has left,
        # then the kernel's kills.
        reason = killed or next((x for x in log.splitlines() if "HostOutOfMemory" in x), None)
        if reason is None and self._has_left(trial.trial_id, error):
            reason = LEFT
        reason = reason or self._kills.take()
        text = "\n".join(filter(None, (log, error, reason)))
        told = reason or (DIED if DIED_IN_RAY in error else None)
        with self._answers.keeping_errors():
            ours = self._answers.trials[trial.trial_id]
            # The log has whatever the trial printed: it tells a lack of memory, and nothing else.
            short = classify(error) == CRASH and classify(log).endswith("oom")
            why = reason or (text if short else error)
            self._runner.on_failure(ours, why, reason=told, log=text, died=True)

    def _has_left(self, trial_id: str, error: str) -> bool:
        """Return whether a trial ended because its node leaves or has left the cluster."""
        actor = self._actors.pop(trial_id, None)
        if NodeDrains.__name__ in error:
            return True
        with suppress(Exception):  # of a head that does not answer
            return actor is not None and is_on_leaving_node(actor)
        return False


def as_measurement(result: Measured) -> Measurement:
    """Return the measurement of a result as the ledger keeps it, with the checkpoint's name."""
    place = result.measurement.checkpoint
    return replace(result.measurement, checkpoint=None if place is None else name_in(place))


def _tail(path: Path) -> str:
    """Return the last lines of a log, or "" if it is on another machine."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The place of trials on a cluster, and their bounds."""

    resources: dict[str, float]  # of a trial, by Ray's names
    max_concurrent: int  # trials
    folder: Path  # for Tune's own files; all nodes must see it, unless there is a `storage`
    storage: tuple[Any, str] | None = None  # a file system of pyarrow and a path, for `folder`
    trainable: type[tune.Trainable] = Trainable  # runs an attempt
    silence_s: float = math.inf  # without a report, after which a trial fails with `timeout`
    grows: bool = False  # an autoscaler adds and removes nodes: idle actors keep none of them


def run(
    runner: SweepRunner,
    build: AttemptBuilder,
    placement: Placement,
    *,
    each_second: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda line: None,
    kills: MemoryKills | None = None,
) -> int | None:
    """Run all trials of a runner, and return when it is done.

    Args:
        runner: The runner.
        build: The builder of attempt configs.
        placement: The place of trials on the cluster, and their bounds.
        each_second: A function that is called about once a second in this thread, even if no trial
            runs.
        say: A function that receives lines for users.
        kills: The counter of kills by the kernel; None: on this machine.

    Returns:
        The number of the interrupting signal, or None. After a signal, running trials end as
        interrupted, and continue later from their checkpoints.

    Raises:
        SweeperError: The runner cannot answer, for example without its ledger.
        ClusterLost: `each_second` has raised it.
    """
    _prepare_process()
    grows, kills = placement.grows, kills or MemoryKills()
    controller = Controller(no_next=lambda: runner.is_at_limit or (grows and not runner.has_next))
    watch = Watch(placement.silence_s, controller.actor_of, each_second, say)
    answers = Answers(runner, build, watch.tick)
    judge, crashes = Judge(runner, answers, say, kills), Crashes(runner, answers, watch, kills)
    tuner = _tuner(placement, answers, controller, judge, crashes)
    with _term_as_interrupt() as seen:
        try:
            tuner.fit()
        except Exception:
            if answers.errors:
                raise answers.errors[0] from None
            raise
    # Asked before the interruption, which leaves nothing to be done in this run.
    is_done = runner.is_done
    runner.interrupt()  # also for a hopeless sweep, whose trials Tune has stopped
    if is_done:
        return None
    return seen[-1] if seen else signal.SIGINT


def _prepare_process() -> None:
    """Set what Ray Tune's loop needs of this process, beside the threads of the service."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the runner reports failures
    tune_internals.patch()
    # Tune's loop gives up its turn at each query, and waits for the next one while the recorder's
    # thread computes.
    sys.setswitchinterval(TURN_S)


def _tuner(
    placement: Placement,
    answers: Searcher,
    controller: Controller,
    judge: Judge,
    crashes: Crashes,
) -> tune.Tuner:
    """Return a tuner with endless samples and no retries: the runner alone decides about both."""
    folder, storage = placement.folder, placement.storage
    return tune.Tuner(
        tune.with_resources(placement.trainable, placement.resources),
        tune_config=tune.TuneConfig(
            search_alg=answers,
            scheduler=controller,
            num_samples=-1,
            max_concurrent_trials=placement.max_concurrent,
            # A worker that goes on with the next trial has its imports already.
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent) if storage is None else storage[1],
            storage_filesystem=None if storage is None else storage[0],
            stop=judge,
            callbacks=[crashes],
            failure_config=tune.FailureConfig(max_failures=0),
            # Trials write their own checkpoints. By default Tune saves each ended trial once more.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )


def _trial_name(trial: Any) -> str:
    label = trial.config[ATTEMPT].label.replace("/", "_").replace(" ", "_")
    return f"{label}_{trial.trial_id[-5:]}"


@contextmanager
def _term_as_interrupt() -> Iterator[list[int]]:
    """End Tune's loop on SIGTERM and SIGHUP as on SIGINT; yield the list of received signals."""
    seen: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        signal.raise_signal(signal.SIGINT)

    # Python allows handlers of signals in the main thread alone.
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    previous = {number: signal.signal(number, handle) for number in ENDING}
    try:
        yield seen
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
