"""Turns a trial of the ledger into what a Trainable runs, and thins its checkpoint at the end."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeper.app.describe import spec_of
from sweeper.space.schema import Checkpoints
from sweeper.space.sweep import StudyPlan, Sweep
from sweeper.study import Measurement, Trial
from trainables import checkpoint


class TrialBuilder:
    """Builds a Trainable's config (a `SpecBuilder`) for the trials of one sweep."""

    def __init__(self, sweep: Sweep, folder: Path, home: Path) -> None:
        self._sweep, self._folder, self._home = sweep, folder, home
        self._studies: Mapping[str, StudyPlan] = {s.name: s for s in sweep.studies()}

    def __call__(self, trial: Trial) -> dict[str, Any]:
        study = self._studies[trial.study]
        spec = spec_of(self._sweep, study, trial.params, seed=trial.seed, home=self._home)
        trial_folder = folder_of_trial(self._folder, trial)
        return {
            "spec": spec.model_dump(mode="json", by_alias=True),
            "label": f"{trial.study} {trial.number:03d}",
            "folder": str(trial_folder / f"attempt-{trial.attempt}"),
            "resume": [str(path) for path in measured(trial, checkpoints(trial_folder))],
            "threads": self._sweep.resources.cpu,
        }


def folder_of_trial(sweep_folder: Path, trial: Trial) -> Path:
    """Returns where a trial's attempts keep their checkpoints."""
    study = trial.study.replace("/", "-").replace("@", "-")
    return sweep_folder / "trials" / study / f"{trial.number:04d}"


def checkpoints(trial_folder: Path) -> list[Path]:
    """Returns the checkpoints of all attempts at a trial, newest first."""
    manifests = trial_folder.glob("attempt-*/[!.]*/manifest.json")  # a hidden one is being written
    ordered = sorted(manifests, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [path.parent for path in ordered]


def measured(trial: Trial, found: list[Path]) -> list[Path]:
    """Leaves out checkpoints of epochs that the ledger does not have: a process that was stopped
    between saving and being heard left them, and an epoch skipped would never be measured."""
    paths = [str(path) for path in found]
    return found[paths.index(trial.checkpoint) :] if trial.checkpoint in paths else []


class Retention:
    """Keeps one checkpoint of each trial that has ended (an `Observer`): it holds best and last,
    or what the file's `checkpoints` leaves of them."""

    def __init__(self, folder: Path, keep: Checkpoints) -> None:
        self._folder, self._keep = folder, keep

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        """Deletes all checkpoints of a trial that has just ended but the one the ledger names."""
        if not trial.state.is_finished:
            return
        for folder in checkpoints(folder_of_trial(self._folder, trial)):
            if str(folder) != trial.checkpoint:
                shutil.rmtree(folder, ignore_errors=True)
            elif not (self._keep.best and self._keep.last):
                checkpoint.thin(folder, best=bool(self._keep.best), last=bool(self._keep.last))
