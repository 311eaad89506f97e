"""The Ray Tune Trainable: one `step` is one Report pulled out of the method's stages.

The only file here that knows Ray. An actor outlives its trials (`reset_config`) and keeps the
backbone, data and source features warm, so it says in its process title which trial it runs.

Each step also writes a checkpoint into the trial's folder before it reports, so that whatever the
service knows to be measured can be gone on from. Two checkpoints are kept, the older as a fallback.
"""

import shutil
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray._raylet import setproctitle  # type: ignore[attr-defined]  # Ray's own: another library's has no effect in a worker

from trainables.checkpoint import CorruptCheckpoint
from trainables.errors import ConfigError, TrainableError
from trainables.peak_memory import count_anew, peak_bytes
from trainables.spec import TrialSpec
from trainables.training import Training
from trainables.warm import WarmParts

PARTS = WarmParts()  # of this process


class Trainable(tune.Trainable):
    """Runs the trial that `config` describes.

    `config` holds `spec` (a TrialSpec as plain data), `label` (study and trial, for people),
    `folder` (where this attempt writes checkpoints), `resume` (checkpoint folders to go on from,
    newest first; none to start afresh) and `threads` (CPU threads to use).

    A deliberate error ends the trial with a result that says why, and leaves the actor warm;
    `infeasible` says that the trial cannot begin because of its settings.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self._began = time.monotonic()
        self._failure: TrainableError | None = None
        torch.set_num_threads(max(1, int(config["threads"])))
        self.label: str = config["label"]
        self.folder = Path(config["folder"])
        setproctitle(f"ray::sweeper {self.label} starting")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        count_anew(torch.device(device))
        try:
            spec = TrialSpec.model_validate(config["spec"])
            self.training = Training.begin(spec, PARTS, device=device)
            self._go_on_from([Path(folder) for folder in config["resume"]])
            self._reports = self.training.reports()
        except TrainableError as error:
            self._failure = error

    def _go_on_from(self, folders: list[Path]) -> None:
        for folder in folders:
            try:
                self.training.load(folder)
                return
            except CorruptCheckpoint as error:
                print(f"sweeper: {error}; falling back to the one before it", flush=True)

    def step(self) -> dict[str, Any]:
        try:
            if self._failure is not None:
                raise self._failure
            setproctitle(f"ray::sweeper {self.label} {self.training.progress}")
            report = next(self._reports)
        except TrainableError as error:
            text = "".join(traceback.format_exception(error))
            infeasible = isinstance(error, ConfigError) and error is self._failure
            return {
                "failure": text,
                "reason": str(error),
                "infeasible": infeasible,
                "done": True,
            }
        folder = self.folder / f"{report.stage}-{report.epoch:04d}"
        self.training.save(folder)
        self._keep_two(folder)
        return {
            "report": asdict(report),
            "checkpoint": str(folder),
            "seconds": time.monotonic() - self._began,
            "peak_memory_bytes": peak_bytes(self.training.state.device),
            "done": report.is_final,
        }

    def _keep_two(self, newest: Path) -> None:
        folders = sorted(self.folder.glob("*-[0-9]*"), key=lambda path: path.stat().st_mtime_ns)
        for old in [path for path in folders if path != newest][:-1]:
            shutil.rmtree(old, ignore_errors=True)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.training.save(Path(checkpoint_dir, "state"))

    def load_checkpoint(self, checkpoint: str | dict[str, Any] | None) -> None:
        assert isinstance(checkpoint, str)
        self.training.load(Path(checkpoint, "state"))
        self._reports = self.training.reports()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True
