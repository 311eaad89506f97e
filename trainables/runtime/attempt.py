"""One attempt at a trial. Each `step` runs the method's stages to their next Report.

A process runs many attempts and keeps the backbone, the data and the source features in memory.

A checkpoint is written while the next epoch trains, and the report of that epoch waits for it and
names it, so that the service only ever names what exists. A report that can end the trial, which is
the final one or one on which a pruner decides, waits for its own checkpoint: no end is recorded
before the last checkpoint is complete, and no decision has to be kept for later. An attempt goes on
from the newest complete checkpoint of an epoch that was measured, and the service recognises the
epochs that it computes again: a checkpoint that lags adds no state to either side.
"""

import gc
import os
import platform
import sys
import time
import traceback
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from trainables.errors import ConfigError, TrainableError
from trainables.report import Failed, Measured, Measurement, Report, StepResult, Waiting
from trainables.runtime.attempt_checkpoints import AttemptCheckpoints
from trainables.runtime.attempt_log import append, capturing
from trainables.runtime.memory import MemoryLimit, peak_bytes
from trainables.spec import AttemptConfig
from trainables.storage.files import TIMEOUT_S

if TYPE_CHECKING:
    from trainables.runtime.method_run import MethodRun
    from trainables.runtime.programs.run import ProgramRun

    Run = MethodRun | ProgramRun  # a running trial

Passed = Callable[..., Any]  # a function that a running program passes


def begin_of(config: AttemptConfig) -> Callable[[Passed | None], "tuple[Run, list[str]]"]:
    """Import what begins a trial, and return it.

    A program needs no torch, which takes a worker two core-seconds and some 200 MB.
    """
    if config.is_program:
        from trainables.runtime.programs.run import ProgramRun

        return lambda function: (ProgramRun(config, function), [])
    from trainables.runtime import method_run

    return lambda function: method_run.begin(config)


class Attempt:
    """Runner of one attempt, step by step."""

    def __init__(self, config: AttemptConfig, function: Passed | None = None) -> None:
        """Begin an attempt; `function` is one that a running program passes."""
        self.label = config.label
        self.training: Run | None = None
        self._folder = Path(config.folder)
        self._began = time.monotonic()
        self._steps: Iterator[Report | Waiting] = iter(())
        self._failure: Failed | None = None
        self._notes: list[str] = []
        self._memory_limit: MemoryLimit | None = None
        self._checkpoints: AttemptCheckpoints | None = None
        self._every, self._judged = config.checkpoint_every, config.judged
        self._before = ("", 0)  # stage and epoch of the last report
        self._unsaved: str | None = None  # name of the present state, if no checkpoint has it
        with capturing(self._folder):
            print(f"{self.label}: process {os.getpid()} on {platform.node()}", flush=True)
            self._start(config, function)

    @property
    def place(self) -> str:
        """The next stage and epoch, for display: "align 1/3"."""
        if self.training is None:
            return "failed"
        stage, epoch, epochs = self.training.place
        return f"{stage} {epoch}/{epochs}"

    def _others(self) -> list[int]:
        """Return the processes of the trial beside this one."""
        run = self.training  # which may end meanwhile: a thread asks
        return [] if run is None else [*run.pids]

    def _start(self, config: AttemptConfig, function: Passed | None) -> None:
        if config.memory_bytes is not None:
            tell = partial(append, self._folder)
            self._memory_limit = MemoryLimit(config.memory_bytes, tell, self._others)
        try:
            self._begin(config, function)
        except Exception as error:
            # Settings that cannot be built say nothing about the machine: the service prunes a
            # sampled trial for them, and does not count it as failed.
            infeasible = isinstance(error, ConfigError | ValidationError)
            self._failure = _failure(error, infeasible=infeasible)
            self._end_run(has_failed=True)

    def _begin(self, config: AttemptConfig, function: Passed | None) -> None:
        timeout_s = config.store_timeout_s or TIMEOUT_S
        self._checkpoints = AttemptCheckpoints(self._folder, config.store, timeout_s)
        self.training, notes = begin_of(config)(function)
        self._notes = [*self._checkpoints.load(self.training.load, config.resume), *notes]
        self._steps = self.training.steps()
        stage, following, _ = self.training.place
        self._before = stage, following - 1

    def step(self) -> StepResult:
        """Train one epoch. After an error, return the same failure again."""
        with capturing(self._folder):
            began = time.monotonic()
            result = self._failure or self._epoch()
            notes, self._notes = tuple(self._notes), []
            for note in notes:
                print(note, flush=True)
            if isinstance(result, Measured):
                print(_log_line(result.measurement, time.monotonic() - began), flush=True)
            if isinstance(result, Failed):
                self._failure = result
                self._let_go(has_failed=True)
        return replace(result, notes=notes)

    def _epoch(self) -> StepResult:
        """Train one epoch and begin to save a checkpoint."""
        training = self.training
        assert training is not None
        report = None
        try:
            step = next(self._steps)
            if isinstance(step, Waiting):
                return step
            report = step
            checkpoint = self._checkpoint(training, report)
        except Exception as error:
            place = training.place[:2] if report is None else (report.stage, report.epoch)
            failure = _failure(error, *place)
        else:
            measurement = Measurement(
                **vars(report),
                checkpoint=checkpoint,
                seconds=time.monotonic() - self._began,
                peak_memory_bytes=peak_bytes(training.on_gpu, self._others()),
                precision=training.precision,
                parameters=training.parameters,
            )
            return Measured(measurement=measurement)
        # A checkpoint may be complete though the epoch after it failed: its name goes out with the
        # failure.
        return replace(failure, checkpoint=self._last_checkpoint())

    def _checkpoint(self, training: "Run", report: Report) -> str | None:
        """Wait for the checkpoint before this epoch, and begin to save the state if it is due.

        Returns:
            The newest complete checkpoint; None if an earlier result has named it.
        """
        assert self._checkpoints is not None
        newest = self._checkpoints.newest()
        stage, epoch = self._before
        passed = epoch if stage == report.stage else 0, report.epoch
        self._before = report.stage, report.epoch
        ends_stage = report.epoch == report.num_epochs
        # A program may leave out steps, so that no report is of the very epoch that counts.
        at_judged = len({bisect_right(self._judged, each) for each in passed}) > 1
        may_end = report.is_final or (report.objective is not None and at_judged)
        is_due = may_end or ends_stage or len({each // self._every for each in passed}) > 1
        # The state of a reused stage changes only with its last report.
        changes = ends_stage or report.computed_by is None
        self._unsaved = f"{report.stage}-{report.epoch:04d}" if changes else None
        if is_due and self._unsaved is not None:
            self._save(training)
        return (self._checkpoints.newest() or newest) if may_end else newest

    def _save(self, training: "Run") -> None:
        """Begin to save the present state."""
        assert self._checkpoints is not None
        assert self._unsaved is not None
        training.keep(self._checkpoints, self._unsaved)
        self._unsaved = None

    def leave(self) -> None:
        """Save the state after the last epoch, whatever `checkpoint_every` is, and wait for it.

        An attempt elsewhere goes on from there.
        """
        if self.training is None or self._checkpoints is None:
            return
        with capturing(self._folder):
            print("this node is leaving the cluster: saving the last epoch", flush=True)
            with suppress(Exception):  # the checkpoint before is there
                if self._unsaved is not None:
                    self._save(self.training)
                self._checkpoints.newest()

    def _last_checkpoint(self) -> str | None:
        """Return the last complete checkpoint of a failed attempt if no result has named it."""
        assert self._checkpoints is not None
        try:
            return self._checkpoints.newest()
        except Exception as error:
            print(f"the last checkpoint was not written: {error}", flush=True)
            return None

    def save(self, folder: Path) -> None:
        """Write the state of the training."""
        assert self.training is not None
        self.training.save(folder)

    def load(self, folder: Path) -> None:
        """Continue from a state that `save` wrote."""
        assert self.training is not None
        self.training.load(folder)
        self._steps = self.training.steps()

    def close(self) -> None:
        """Release the trial, its memory and its memory limit.

        Raises:
            RuntimeError: This process can no longer use the GPU for any trial.
        """
        if self._memory_limit is not None:
            self._memory_limit.lift()
            self._memory_limit = None
        if self._checkpoints is not None:
            self._checkpoints.close()
        self._let_go()

    def _end_run(self, *, has_failed: bool) -> None:
        if self.training is not None:
            self.training.close(has_failed=has_failed)
        self.training = self._checkpoints = None
        self._steps = iter(())

    def _let_go(self, *, has_failed: bool = False) -> None:
        self._end_run(has_failed=has_failed)
        # Cycles of references hold tensors until a collection, and `release` returns only free
        # memory.
        gc.collect()
        if "torch" not in sys.modules:  # then nothing of this process is on a GPU
            return
        from trainables.runtime.device import release

        try:
            release()
        except RuntimeError as error:
            before = self._failure.traceback if self._failure else ""
            raise RuntimeError(f"{before}The GPU is unusable to this process") from error


def _log_line(report: Report, seconds: float) -> str:
    """Return the log line of an epoch, with its validation value or its first loss."""
    names = [n for n in report.metrics if n.startswith("val/") and n != "val/loss"]
    name = next(iter(names or report.metrics))
    place = f"{report.stage} {report.epoch}/{report.num_epochs}"
    return f"{place}: {name} {report.metrics[name]:.4g}, {seconds:.1f} s"


def _failure(
    error: Exception,
    stage: str | None = None,
    epoch: int | None = None,
    *,
    infeasible: bool = False,
) -> Failed:
    """Print an error and return it as a result, without a reference to the exception."""
    # The frames of an exception hold the tensors of the step. Text alone lets `_let_go` free them.
    name, trace = type(error).__name__, "".join(traceback.format_exception(error))
    is_deliberate = isinstance(error, TrainableError)
    print(f"{name}: {error}" if is_deliberate else trace, flush=True)
    return Failed(
        traceback=trace,
        reason=str(error) if is_deliberate else f"{name}: {error}",
        error=name,
        infeasible=infeasible,
        stage=stage,
        epoch=epoch,
    )
