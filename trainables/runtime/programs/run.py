"""One trial of a program, with the reports, checkpoints and end that a trial of a method has.

A checkpoint has `program.tar`, the file or folder that the program saved, and `state.json`, the
report that it belongs to.
"""

import errno
import json
import os
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from trainables.errors import ConfigError, DataError, TrainableError
from trainables.methods.program import STAGE, on_this_node, text_hash
from trainables.report import Report
from trainables.runtime.attempt_checkpoints import AttemptCheckpoints
from trainables.runtime.memory import count_anew
from trainables.runtime.programs import Reported
from trainables.runtime.programs.command import Command
from trainables.runtime.programs.function import Function
from trainables.spec import MAX_STEPS, AttemptConfig, ProgramSpec, ProgramTrial
from trainables.storage.checkpoint_folder import (
    PROGRAM,
    CorruptCheckpoint,
    new_checkpoint,
    parse_json,
    unwritable,
    verify,
)

FILES = "files"  # folder of a trial's program, beside those of its attempts
# Both names are those of a killed writer's files, which the service deletes.
SCRATCH, RESTORED = ".program.partial", ".restored.partial"


class ProgramRun:
    """A running trial of a program, in the place of `MethodRun`.

    It needs no torch, unless it asks for a GPU.
    """

    precision: str | None = None
    parameters: int | None = None

    def __init__(self, config: AttemptConfig, function: Callable[..., Any] | None) -> None:
        """Check the program; it begins with the first step.

        Raises:
            DataError: Its text has changed since the sweep began.
            DeviceError: It asks for a GPU, and torch finds none.
        """
        trial = ProgramTrial.model_validate(config.spec)
        self._spec = on_this_node(trial.program)
        self.trial = trial.model_copy(update={"program": self._spec})
        found = text_hash(self._spec)
        if function is None and self._spec.code and found != self._spec.code:
            what = "has changed since the sweep began" if found else "is not on this node"
            raise DataError(
                f"the text of `{self._spec.name}` in {self._spec.folder} {what}: put the former "
                "one back, or launch again with --set program.may_change=true"
            )
        if config.gpu:
            from trainables.runtime.device import device_for

            device_for(config.gpu)
        self.on_gpu = bool(config.gpu) and not self._spec.command
        count_anew(self.on_gpu)
        self._config, self._function = config, function
        self._folder = Path(config.folder)
        self._program: Function | Command | None = None
        self._last: Report | None = None
        self._saved: Path | None = None  # archive, in no checkpoint yet
        self._saved_at: Report | None = None  # the report that it belongs to; None: the next one
        self._num_saved = 0
        self._restored: Path | None = None

    @property
    def pids(self) -> Sequence[int]:
        """The processes of the program beside this one."""
        return () if self._program is None else self._program.pids

    @property
    def place(self) -> tuple[str, int, int]:
        """The stage, the next step, and the number of steps."""
        done = 0 if self._last is None else self._last.epoch
        return STAGE, done + 1, self._spec.steps or done + 1

    def steps(self) -> Iterator[Report]:
        """Run the program and yield its reports; the last one when it has ended.

        Without a number of steps the last one is only known then, and is repeated as final.

        Raises:
            ConfigError: A report lacks the metric, or the program cannot pause.
            TrainableError: The program ended without a report.
        """
        self._program = program = self._begin()
        while (reported := program.next()) is not None:
            self._last = self._as_report(reported)
            self._saved_at = self._saved_at or self._last
            # What follows the last step, such as writing a model, belongs to the trial, too.
            if self._last.epoch != self._spec.steps:
                yield self._last
        if self._last is None:
            raise TrainableError(f"`{self._spec.name}` ended without a report: {_how(self._spec)}")
        yield replace(self._last, is_final=True)

    def _begin(self) -> Function | Command:
        files = self._folder.parent / FILES
        files.mkdir(parents=True, exist_ok=True)
        given = (self.trial, files, self._restored, self.save_path, self._config.threads)
        return Command(*given) if self._spec.command else Function(self._function, *given)

    def _as_report(self, reported: Reported) -> Report:
        spec, step, metrics = self._spec, reported.step, reported.metrics
        before = 0 if self._last is None else self._last.epoch
        if not before < step <= (spec.steps or MAX_STEPS):
            most = f", and {spec.steps} at most (`program.steps`)" if spec.steps else ""
            anew = "; go on from what was saved: trial.restore(), or SWEEPER_CHECKPOINT"
            raise ConfigError(
                f"step {step}{f' after {before}' * bool(before)}: steps rise from 1 on{most}"
                f"{anew * bool(self._restored and step <= before)}"
            )
        if spec.metric not in metrics:
            known = ", ".join(metrics) or "none"
            raise ConfigError(f"step {step} reports no `{spec.metric}`, but {known}")
        pauses = self.trial.pauses_at
        if pauses is not None and step >= pauses and not (self._num_saved or self._restored):
            raise ConfigError(
                f"`{spec.name}` cannot pause, as `pruning.type: promote` asks for: it has saved no "
                "state to go on from. Save one before each report, or write `type: asha`"
            )
        sign = 1 if spec.goal == "minimize" else -1
        value = sign * metrics[spec.metric]
        named = [(f"val/{spec.objective}", value)]
        for name, each in metrics.items():
            if sign < 0 or name != spec.metric:
                named.append((name if "/" in name else f"{STAGE}/{name}", each))
            if sign < 0 and name == f"test/{spec.metric}":
                named.append((f"test/{spec.objective}", -each))
        for name, count in Counter(name for name, _ in named).items():
            if count > 1:
                raise ConfigError(
                    f"step {step} reports two values that results call `{name}`, as `val/…` the "
                    f"metric and `{STAGE}/…` others: name one otherwise"
                )
        return Report(
            stage=STAGE,
            epoch=step,
            num_epochs=spec.steps or step,
            metrics=dict(named),
            objective=value,
        )

    def save_path(self, path: Path) -> None:
        """Archive a file or folder as the state that belongs to the next report.

        Raises:
            OSError: It is not there, or cannot be read.
            StorageError: There is no space.
        """
        try:
            self._archive(path)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise unwritable(self._folder, error) from error
            raise

    def _archive(self, path: Path) -> None:
        self._num_saved += 1
        # The program may change the path at once, so that it is read before this returns.
        archive = self._folder / SCRATCH / f"{self._num_saved}.tar"
        archive.parent.mkdir(parents=True, exist_ok=True)
        # A link, also one in a folder, is kept as what it leads to, which the program may change.
        with tarfile.open(archive, "w", dereference=True) as tar:
            name = path.name if path.name not in ("", "..") else path.resolve().name
            tar.add(path, arcname=name, filter=_kept)
        if self._saved is not None:
            self._saved.unlink()
        self._saved, self._saved_at = archive, None

    def keep(self, checkpoints: AttemptCheckpoints, name: str) -> None:
        """Begin to write a checkpoint of what was saved; nothing was: there is none."""
        if self._saved is not None:
            archive, self._saved = self._saved, None
            checkpoints.write(name, partial(_write, archive, self._saved_at))

    def save(self, folder: Path) -> None:
        """Write a checkpoint of what was saved since the last one.

        Raises:
            TrainableError: Nothing was.
        """
        if self._saved is None:
            raise TrainableError(f"`{self._spec.name}` has saved nothing")
        archive, self._saved = self._saved, None
        _write(archive, self._saved_at, folder)

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            CorruptCheckpoint: A file is missing or damaged.
        """
        if PROGRAM not in verify(folder):  # `checkpoints.last: 0` keeps none once a trial has ended
            raise CorruptCheckpoint(f"{folder}: what the program saved is deleted")
        self._last = Report(**parse_json((folder / "state.json").read_bytes(), str(folder)))
        place = self._folder / RESTORED
        shutil.rmtree(place, ignore_errors=True)
        try:
            with tarfile.open(folder / PROGRAM) as tar:
                tar.extractall(place, filter="data")
        except tarfile.TarError as error:
            raise CorruptCheckpoint(f"{folder / PROGRAM}: {error}") from error
        self._restored = next(place.iterdir())

    def close(self, *, has_failed: bool = False) -> None:
        """End the program, whether it failed or not, and delete what only this attempt needs."""
        if self._program is not None:
            self._program.close()
        for name in (SCRATCH, RESTORED):
            shutil.rmtree(self._folder / name, ignore_errors=True)


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Return a file or folder of a checkpoint; pipes and devices hold nothing to go on with."""
    return member if member.isfile() or member.isdir() else None


def _how(spec: ProgramSpec) -> str:
    """Return how a program reports."""
    if spec.writes_runs:
        return f"it has to log `{spec.metric}` to MLflow"
    if not spec.command:
        return f'it has to call trial.report(1, {{"{spec.metric}": 0.5}}), and so on'
    where = f"append lines to {spec.results}" if spec.results else "print lines"
    return f'it has to {where} such as {{"step": 1, "{spec.metric}": 0.5}}'


def _write(archive: Path, report: Report | None, folder: Path) -> None:
    with new_checkpoint(folder) as partial_folder:
        os.replace(archive, partial_folder / PROGRAM)
        text = json.dumps(None if report is None else asdict(report))
        (partial_folder / "state.json").write_text(text)
