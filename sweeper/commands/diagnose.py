"""Diagnostics of the best weights of one trial, each a Parquet file to plot.

    landscape     the loss around the weights, on a plane of two random directions
    intermediate  OTDD of mixtures to source and target, by the share of source tokens
    scatter       source, target and mixtures on the plane of their principal components
    otdd          OTDD between source and embedded target, over disjoint subsets of samples

A trial that trained a scorer of tokens mixes by its scores after the last epoch; any other trial
mixes by random scores.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet

from sweeper.commands import look
from sweeper.commands.result import Result
from sweeper.driver.recorder import make_recorder
from sweeper.errors import UsageError, unknown
from sweeper.model import Trial
from sweeper.planning.catalog import as_usage_errors, home
from sweeper.planning.checkpoint_paths import (
    DIAGNOSTICS_FOLDER,
    CheckpointPaths,
    fetched,
    folder_of_trial,
)
from sweeper.planning.resuming import from_record
from sweeper.planning.sweep_folder import existing, started
from sweeper.planning.trials import find_trial, spec_of
from sweeper.results.reproduction.evidence import Evidence, Plane
from sweeper.spec.sweep import Sweep
from trainables.diagnostics.intermediate import Scorer, intermediate, random_scores
from trainables.diagnostics.scatter import scatter
from trainables.diagnostics.spread import otdd_spread
from trainables.errors import ConfigError, DeviceError, TrainableError
from trainables.methods.pare.replacement import SCORER
from trainables.runtime import checkpoints
from trainables.runtime.device import named_device
from trainables.runtime.model_folder import read_origin
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.sources.source import Source
from trainables.storage.atomic import new_file
from trainables.tasks.generation import Progress
from trainables.tasks.task import Task
from trainables.training.landscape import landscape, validation_loss

SAMPLES = 512  # of each modality, if nothing else is asked for
SEED = 0  # of directions and random scores, the same for all trials

Numbers = Mapping[str, float | str]  # the results of a diagnostic, by name
Found = tuple[Mapping[str, Any], Numbers]  # columns of the file, and the results


@dataclass(frozen=True, kw_only=True)
class DiagnosticFile(Result):
    """One diagnostic: its file, and its results."""

    what: str
    rows: int
    found: Numbers
    path: Path


@dataclass(frozen=True, kw_only=True)
class Diagnosis(Result):
    """The diagnostics of one trial."""

    sweep: str
    study: str
    trial: int
    checkpoint: str | None
    folder: Path
    files: tuple[DiagnosticFile, ...]
    notes: tuple[str, ...]


def diagnose(
    name: str,
    trial: str,
    *,
    what: Sequence[str] | None,
    samples: int,
    progress: Progress,
    device: str | None = None,
) -> Diagnosis:
    """Write the files of the diagnostics `what`, or of all that the trial has data for.

    Args:
        name: Name of the sweep.
        trial: As `find_trial` takes it.
        what: Names of diagnostics; None: all that the trial has data for.
        samples: The most of each modality, or of a split, to use.
        progress: Shows what is being computed.
        device: `cpu`, `cuda` or `cuda:N`; None: the kind of device that the sweep trains on, but
            the CPU while a sweep is running here.

    Raises:
        NotFound: There is no such sweep, study or trial.
        UsageError: There is no such diagnostic or device, the trial has no checkpoint, or its data
            do not allow a diagnostic that was asked for.
    """
    for each in what or ():
        if each not in DIAGNOSTICS:
            raise UsageError(unknown("diagnostic", each, DIAGNOSTICS))
    folder = existing(name)
    with started(folder) as (ledger, record):
        sweep = from_record(record)
        places = CheckpointPaths(folder, sweep.checkpoints.store)
        found = places.placed(find_trial(ledger, trial))
        out, written, notes = write(
            folder, sweep, found, what=what, samples=samples, progress=progress, device=device
        )
        recorder = make_recorder(ledger, sweep, places)
        if written and not recorder.attach(found.study, found.number, out):
            notes.append("MLflow does not have the trial's run, or did not take the files.")
    return Diagnosis(
        sweep=name,
        study=found.study,
        trial=found.number,
        checkpoint=found.checkpoint,
        folder=out,
        files=tuple(written),
        notes=tuple(notes),
    )


def with_planes(evidence: Evidence) -> Evidence:
    """Return the evidence of a sweep with the plane of the loss for one seed of each study.

    Evidence of trainings that evaluated no landscape is returned as it is. A study whose trial has
    no checkpoint any more has no plane.

    Raises:
        NotFound: The sweep has no folder here.
    """
    if not evidence.has_landscapes:
        return evidence
    folder, planes = existing(evidence.name), []
    with started(folder) as (_, record):
        sweep = from_record(record)
        places = CheckpointPaths(folder, sweep.checkpoints.store)
        for arm in evidence.arms:
            # A training that an equal trial has trained has no weights of its own.
            kept = [each for each in arm.trainings if each.checkpoint is not None]
            first = min(kept, key=lambda each: each.seed, default=None)
            # A control that is no arm is a trial of its method's study, which has a plane already.
            if first is not None and first.study == arm.name:
                planes.append(_plane(folder, sweep, places.placed(first)))
    return replace(evidence, planes=tuple(planes))


def _plane(folder: Path, sweep: Sweep, trial: Trial) -> Plane:
    """Return the plane of a trial, from the file of an earlier diagnosis if there is one."""
    file = folder_of_trial(folder, trial) / DIAGNOSTICS_FOLDER / "landscape.parquet"
    if not file.is_file():
        write(folder, sweep, trial, what=["landscape"], samples=SAMPLES, progress=lambda *_: None)
    columns = parquet.read_table(file).to_pydict()
    steps = zip(columns["a"], columns["b"], strict=True)
    return Plane.of(trial.study, trial.seed, dict(zip(steps, columns["loss"], strict=True)))


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trial with its best weights."""

    training: Training
    samples: int  # the most of each modality or split to use

    @property
    def task(self) -> Task:
        return self.training.domains.target

    @property
    def source(self) -> Source:
        source = self.training.domains.source
        if source is None:
            raise ConfigError("The trial reads no source: its method needs none.")
        return source

    @property
    def scored(self) -> str:
        """The kind of scores that tokens have."""
        return "trained" if SCORER in self.training.state.extras else "random"

    @property
    def scorer(self) -> Scorer:
        extras = self.training.state.extras
        return extras[SCORER] if SCORER in extras else random_scores(SEED)


@as_usage_errors()
def write(
    sweep_folder: Path,
    sweep: Sweep,
    trial: Trial,
    *,
    what: Sequence[str] | None,
    samples: int,
    progress: Progress,
    device: str | None = None,
) -> tuple[Path, list[DiagnosticFile], list[str]]:
    """Write the diagnostics `what`, or all that can be made.

    Returns:
        The folder, its files, and why other diagnostics are left out.

    Raises:
        UsageError: The trial has no best weights here, or no data for a diagnostic of `what`.
    """
    chosen_device, notes = choose_device(sweep, device)
    trained = Trained(training=_at_best(sweep, trial, chosen_device), samples=samples)
    out = folder_of_trial(sweep_folder, trial) / DIAGNOSTICS_FOLDER
    written: list[DiagnosticFile] = []
    chosen = dict.fromkeys(what or DIAGNOSTICS)
    for done, each in enumerate(chosen):
        progress(each, done, len(chosen))
        try:
            columns, found = DIAGNOSTICS[each](trained)
        except TrainableError as error:
            # Who names a diagnostic wants it, and who names none wants those that can be made.
            if what is not None:
                raise
            notes.append(f"{each} is left out: {error}")
            continue
        path = out / f"{each}.parquet"
        with new_file(path) as aside:
            parquet.write_table(pa.table(dict(columns)), aside)
        rows = len(next(iter(columns.values())))
        written.append(DiagnosticFile(what=each, rows=rows, found=found, path=path))
    return out, written, notes


def choose_device(sweep: Sweep, name: str | None) -> tuple[torch.device, list[str]]:
    """Return the device to compute on, and a note if it is not the kind of the trials'."""
    if name is not None:
        return named_device(name), []
    if not sweep.resources.gpu:
        return named_device("cpu"), []
    # A diagnosis must not take the GPU's memory from running trials.
    running = [each.sweep for each in look.sweeps().sweeps if each.state == "running"]
    why = "torch finds no GPU here; see `sweeper doctor`"
    if running:
        why = f"sweep {running[0]} is running; to use the GPU all the same, add --device cuda"
    else:
        with suppress(DeviceError):
            return named_device("cuda"), []
    return named_device("cpu"), [f"computed on the CPU: {why}."]


def _at_best(sweep: Sweep, trial: Trial, device: torch.device) -> Training:
    """Build the trial and load its best weights."""
    (study,) = (study for study in sweep.studies if study.name == trial.study)
    spec = spec_of(study, trial.params, seed=trial.seed, home=home())
    with fetched(trial) as folder:
        # A replicate may have its own draw of the data, which its checkpoint states.
        spec = spec.model_copy(update={"data": read_origin(folder, home()).spec.data})
        training = Training.begin(spec, WarmParts(), device=device)
        checkpoints.load_best(training.state, folder)
    return training


def _landscape(trained: Trained) -> Found:
    state, task = trained.training.state, trained.task

    def loss() -> float:
        return validation_loss(state, task, most=trained.samples)

    plane = landscape(state.model, loss, seed=SEED)
    a, b = np.meshgrid(plane.a, plane.b, indexing="ij")
    middle = len(plane.a) // 2
    return {"a": a.ravel(), "b": b.ravel(), "loss": plane.loss.ravel()}, {
        "loss": float(plane.loss[middle, middle]),
        "curvature": plane.curvature,
    }


def _intermediate(trained: Trained) -> Found:
    model, size = trained.training.state.model, trained.samples
    found = intermediate(model, trained.task, trained.source, trained.scorer, most=size)
    columns = {"share": found.share, "to_source": found.to_source, "to_target": found.to_target}
    return columns, {
        "to_source_falls": found.falls,
        "to_target_rises": found.rises,
        "scores": trained.scored,
    }


def _scatter(trained: Trained) -> Found:
    model, size = trained.training.state.model, trained.samples
    found = scatter(model, trained.task, trained.source, trained.scorer, most=size)
    x, y = found.points.T
    columns = {"kind": found.kind, "x": x, "y": y, "label": found.label}
    return columns, {"variance_shown": found.shown, "scores": trained.scored}


def _otdd(trained: Trained) -> Found:
    model = trained.training.state.model
    found = vars(otdd_spread(model, trained.task, trained.source, most=trained.samples))
    return {name: [value] for name, value in found.items()}, found


DIAGNOSTICS: Mapping[str, Callable[[Trained], Found]] = {
    "landscape": _landscape,
    "intermediate": _intermediate,
    "scatter": _scatter,
    "otdd": _otdd,
}
