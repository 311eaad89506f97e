"""A Trainable that trains nothing: it answers as the real one does, and fails on demand.

Whatever happens, it first writes what it did into a file of its own process: a history that owes
nothing to the ledger, which `tests.support.toy.history` compares with it.
"""

import json
import os
import resource
import shutil
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune
from ray._raylet import setproctitle
from safetensors.numpy import load_file, save_file

from tests.support.toy.curve import START, step_value
from tests.support.toy.faults import Fault, happen
from trainables.errors import ConfigError, TrainableError
from trainables.report import Failed, Measured, Measurement, Report, StepResult, to_plain
from trainables.runtime.attempt_log import append, capturing
from trainables.runtime.memory import MemoryLimit
from trainables.spec import AttemptConfig
from trainables.storage.checkpoint_folder import CorruptCheckpoint, new_checkpoint, verify
from trainables.trainable import ATTEMPT


class ToyTrainable(tune.Trainable):
    """Runs the toy trial that `config` describes, as that of a `Trainable`.

    Its `spec` holds `study`, `number`, `attempt`, `params`, `seed`, `stages` (epochs by name; the
    last one reports the objective), `epoch_s`, `checkpoint_bytes`, `history` (a folder) and
    `faults`.
    """

    _memory_limit: MemoryLimit | None = None

    def setup(self, config: dict[str, Any]) -> None:
        self.cleanup()
        attempt: AttemptConfig = config[ATTEMPT]
        self._began = time.monotonic()
        self._failure: Failed | None = None
        self._notes: list[str] = []
        self.spec, self.label, self.folder = attempt.spec, attempt.label, Path(attempt.folder)
        if attempt.memory_bytes is not None:
            tell = partial(append, self.folder)
            self._memory_limit = MemoryLimit(attempt.memory_bytes, tell)
        self._faults = [Fault(**fault) for fault in self.spec["faults"]]
        self._plan = [(s, e, n) for s, n in self.spec["stages"].items() for e in range(1, n + 1)]
        setproctitle(f"ray::sweeper {self.label} starting")
        self._suffer(0)
        self.step_done, self.value = 0, START
        if self.spec["params"]["refine.lr"] <= 0:
            error = ConfigError("refine.lr: has to be positive")
            self._failure = _failure(error, None, None, infeasible=True)
        self._go_on_from([Path(folder) for folder in attempt.resume])
        self._reports = self._train()

    def _go_on_from(self, folders: list[Path]) -> None:
        for folder in folders:
            try:
                verify(folder)
            except CorruptCheckpoint as error:
                self._notes.append(f"checkpoint {folder.name} is damaged ({error})")
                continue
            self.step_done = json.loads((folder / "state.json").read_text())["step"]
            self.value = float(load_file(folder / "last.safetensors")["value"][0])
            return

    def _train(self) -> Iterator[Report]:
        """Yield a report an epoch."""
        self._write("started", step=self.step_done)  # not before: Tune sets up actors in vain
        last_stage = self._plan[-1][0]
        for step in range(self.step_done + 1, len(self._plan) + 1):
            stage, epoch, num_epochs = self._plan[step - 1]
            is_nan = self._suffer(step)
            time.sleep(self.spec["epoch_s"])
            self.value = step_value(self.value, self.spec["params"], self.spec["seed"], step)
            self.step_done = step
            self._write("epoch", step=step, stage=stage, epoch=epoch, value=self.value)
            is_final, judged = step == len(self._plan), stage == last_stage
            value = float("nan") if is_nan else self.value
            metrics = {f"{stage}/train_loss": self.value**2}
            metrics[f"{stage}/learning_rate"] = self.spec["params"]["refine.lr"]
            metrics |= {"val/loss": value} if judged else {}
            metrics |= {"test/loss": value * 1.1} if is_final else {}
            yield Report(
                stage=stage,
                epoch=epoch,
                num_epochs=num_epochs,
                metrics=metrics,
                objective=value if judged else None,
                is_final=is_final,
            )

    def _suffer(self, step: int) -> bool:
        """Cause the faults of this step; return whether its objective is not a number."""
        trial, marks = (self.spec["study"], self.spec["number"]), Path(self.spec["history"])
        due = [fault for fault in self._faults if fault.is_due(*trial, step, marks)]
        for fault in due:
            self._write("fault", step=step, kind=fault.kind)
            if fault.kind != "nan":
                happen(fault, self.folder)
        return any(fault.kind == "nan" for fault in due)

    def step(self) -> dict[str, Any]:
        with capturing(self.folder):
            result = self._failure or self._epoch()
            if isinstance(result, Failed):
                self._failure = result
            notes, self._notes = tuple(self._notes), []
            for note in notes:
                print(note, flush=True)
        return to_plain(replace(result, notes=notes))

    def _epoch(self) -> StepResult:
        stage, epoch, epochs = self._plan[self.step_done]
        setproctitle(f"ray::sweeper {self.label} {stage} {epoch}/{epochs}")
        try:
            report = next(self._reports)
            folder = self.folder / f"{stage}-{epoch:04d}"
            self._save(folder)
            self._keep_two(folder)
        except Exception as error:
            return _failure(error, stage, epoch)
        measurement = Measurement(
            **vars(report),
            checkpoint=str(folder),
            seconds=time.monotonic() - self._began,
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )
        return Measured(measurement=measurement)

    def _save(self, folder: Path) -> None:
        """Write a folder in the layout of real ones, whose weights take so many bytes, twice."""
        weights = {"value": np.full(max(1, self.spec["checkpoint_bytes"] // 8), self.value)}
        with new_checkpoint(folder) as partial_folder:
            for name in ("last", "best"):
                save_file(weights, partial_folder / f"{name}.safetensors")
            (partial_folder / "state.json").write_text(json.dumps({"step": self.step_done}))

    def _keep_two(self, newest: Path) -> None:
        folders = sorted(self.folder.glob("*-[0-9]*"), key=lambda path: path.stat().st_mtime_ns)
        for old in [path for path in folders if path != newest][:-1]:
            shutil.rmtree(old, ignore_errors=True)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self._save(Path(checkpoint_dir, "state"))

    def load_checkpoint(self, checkpoint: str | dict[str, Any] | None) -> None:
        assert isinstance(checkpoint, str)
        self._go_on_from([Path(checkpoint, "state")])
        self._reports = self._train()

    def cleanup(self) -> None:
        if self._memory_limit is not None:
            self._memory_limit.lift()
            self._memory_limit = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def _write(self, event: str, **facts: Any) -> None:
        """Append a line, which is with the kernel before anything else happens."""
        line = {k: self.spec[k] for k in ("study", "number", "attempt")}
        line |= {"event": event, "pid": os.getpid(), "time": time.time(), **facts}
        name = f"{os.uname().nodename}-{os.getpid()}.jsonl"
        with Path(self.spec["history"], name).open("a") as file:
            file.write(json.dumps(line) + "\n")


def _failure(
    error: Exception, stage: str | None, epoch: int | None, *, infeasible: bool = False
) -> Failed:
    name, trace = type(error).__name__, "".join(traceback.format_exception(error))
    print(trace, flush=True)
    return Failed(
        traceback=trace,
        reason=str(error) if isinstance(error, TrainableError) else f"{name}: {error}",
        error=name,
        infeasible=infeasible,
        stage=stage,
        epoch=epoch,
    )
