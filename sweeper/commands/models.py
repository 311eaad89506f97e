"""Trained models for users: loading, export, and prediction from files.

PyTorch is imported only when a model is built.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.commands.result import Message
from sweeper.driver.recorder import environment_uri
from sweeper.errors import NotFound, UsageError
from sweeper.ledger import Ledger, SweepRecord
from sweeper.model import Trial
from sweeper.planning.catalog import as_usage_errors, home
from sweeper.planning.checkpoint_paths import CheckpointPaths, fetched
from sweeper.planning.model_export import export_trial
from sweeper.planning.plugins import check_installed
from sweeper.planning.sweep_folder import existing, started
from sweeper.planning.trials import find_trial
from sweeper.results.read import read_study
from sweeper.tracking.mlflow_store import CHECKPOINTS, download, tracking_uri
from trainables.runtime.model_folder import check_is_model
from trainables.runtime.prediction_files import (
    Predictions,
    check_input,
    check_output,
    read_inputs,
    write_predictions,
)

if TYPE_CHECKING:
    from trainables.runtime.prediction import PredictionModel as PredictionModel

TAKEN = 10  # trials that a message lists
WAYS = (
    "Name the checkpoint of a trial, an exported model, `runs:/RUN` or `runs:/RUN/PATH` of MLflow."
)
SCHEMES = ("runs:/", "models:/")  # of addresses in MLflow
ADDRESS = re.compile(r"runs:/+[^/]+(/.*)?|models:/+.+")


@dataclass(frozen=True, kw_only=True)
class ModelFolder(Message):
    """An exported model."""

    sweep: str
    study: str
    trial: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class PredictionFile(Message):
    """A file of predictions."""

    task: str
    samples: int
    shape: tuple[int, ...]
    path: Path


def export_model(
    name: str, out: Path, *, study: str | None = None, trial: str | None = None
) -> ModelFolder:
    """Write the model of a trial as a folder that can be loaded without the sweep.

    Args:
        name: The sweep.
        out: The new folder. It must not exist, or be empty.
        study: Take the best trial of this study; None: of the only one.
        trial: Take this trial, as `find_trial` takes it.

    Raises:
        NotFound: There is no such sweep, study or trial, or no trial of the study is complete.
        StorageFull: The folder cannot be written.
        UsageError: The sweep has several studies, the trial has no checkpoint with best weights
            here, its study uses a plugin that is not here, or the folder has content.
    """
    # This is checked before any weights are fetched from a store.
    _check_free(out)
    folder = existing(name)
    with started(folder) as (ledger, record):
        found = _chosen(ledger, study, trial)
        objective = next(s.objective for s in ledger.studies() if s.name == found.study)
    check_installed(record, found.study)
    export_trial(CheckpointPaths.recorded(folder, record.resolved), found, objective, out)
    return ModelFolder(
        message=f"wrote the model of {found.name} to {out.absolute()}",
        sweep=name,
        study=found.study,
        trial=found.number,
        path=out.absolute(),
    )


def _check_free(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out} has content: name a new folder, or an empty one.")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: name a new folder.")


def _chosen(ledger: Ledger, study: str | None, trial: str | None) -> Trial:
    """Return the trial that a user means.

    Raises:
        NotFound: There is none.
        UsageError: The user names too little or too much.
    """
    if trial is not None:
        if study is not None:
            raise UsageError("--study takes its best trial, and --trial names another: keep one.")
        return find_trial(ledger, trial)
    if study is None:
        names = [each.name for each in ledger.studies()]
        if len(names) != 1:
            raise UsageError(
                f"the sweep has {len(names)} studies: name one by --study, or a trial by --trial. "
                f"Studies: {', '.join(names[:TAKEN])}{', ...' if len(names) > TAKEN else ''}."
            )
        (study,) = names
    table = read_study(ledger, study)
    if table.best is None:
        raise NotFound(f"no trial of {study} wins: {table.why_no_best}. Name a trial by --trial.")
    return table.best


@as_usage_errors()
def load_trial(folder: Path, record: SweepRecord, trial: Trial) -> "PredictionModel":
    """Return the model of a trial of the sweep in `folder`, with its best weights.

    Raises:
        UsageError: The trial has no checkpoint here, its data or weights are missing, or its study
            uses a plugin that is not here.
    """
    from trainables.runtime.prediction import load_model

    check_installed(record, trial.study)
    places = CheckpointPaths.recorded(folder, record.resolved)
    with fetched(places.placed(trial)) as checkpoint:
        return load_model(checkpoint, home())


@as_usage_errors()
def load(place: str) -> "PredictionModel":
    """Return the model in a folder, or at an address in MLflow.

    Raises:
        UsageError: There is no such folder, or it holds no model that can be loaded here.
        NotFound: MLflow has no such run or model.
        BackendUnreachable: MLflow does not answer.
    """
    if place.startswith(SCHEMES):
        folder = download(tracking_uri(environment_uri()), artifacts_of(place))
    else:
        folder = _folder_of(place)
    from trainables.runtime.prediction import load_model

    return load_model(folder, home())


def _folder_of(place: str) -> Path:
    """Return the folder of a model.

    Raises:
        UsageError: There is no such folder.
        DataError: It holds no model.
    """
    folder = Path(place)
    if not folder.is_dir():
        raise UsageError(f"{place}: no such folder. {WAYS}")
    check_is_model(folder)
    return folder


def artifacts_of(place: str) -> str:
    """Return the address of a model's folder: that of a run alone is its checkpoint.

    Raises:
        UsageError: It is no such address.
    """
    if not ADDRESS.fullmatch(place):
        raise UsageError(f"{place}: not the address of a model. {WAYS}")
    scheme, _, path = place.partition(":/")
    is_run_alone = scheme == "runs" and "/" not in path.strip("/")
    return f"{place.rstrip('/')}/{CHECKPOINTS}" if is_run_alone else place


def _load(model: Sequence[str]) -> "PredictionModel":
    """Return the model of a sweep and a trial, or that of a folder or an address."""
    if len(model) == 1:
        return load(model[0])
    name, trial = model
    folder = existing(name)
    with started(folder) as (ledger, record):
        return load_trial(folder, record, find_trial(ledger, trial))


def predict(
    model: Sequence[str],
    inputs: Path,
    out: Path,
    *,
    keys: Sequence[str] = (),
    batch_size: int | None = None,
) -> PredictionFile:
    """Predict the samples in a file, and write the predictions.

    Args:
        model: A sweep and a trial; or a folder or an address, as of `sweeper.load_model`.
        inputs: A .npz, .npy, HDF5, Parquet, Arrow or CSV file; or a WAV file, or a folder of them.
        out: The file to write: .npz, .npy, .h5, .hdf5, .parquet, .pq or .csv.
        keys: Name of the array of inputs, or of the columns.
        batch_size: Samples to compute at once; None: as in the evaluation of a trial.

    Raises:
        NotFound: There is no such sweep or trial.
        StorageFull: `out` cannot be written.
        UsageError: The model cannot be loaded, or the file does not hold inputs of its task.
    """
    # All paths are checked before torch is loaded, which takes seconds.
    with as_usage_errors():
        check_output(out)
        if len(model) == 1 and not model[0].startswith(SCHEMES):
            _folder_of(model[0])
        check_input(inputs)
    if out.exists() and out.samefile(inputs):
        raise UsageError(f"{out} holds the inputs: write the predictions into another file.")
    loaded = _load(model)
    with _faults_of(inputs), as_usage_errors():
        task = loaded.task
        read = read_inputs(inputs, keys, task.sound, columns=task.columns)
        values = loaded.predict(read.rows, batch_size)
    with as_usage_errors():
        labels = loaded.as_labels(values) if loaded.classes else None
        found = Predictions(values=values, classes=loaded.classes, labels=labels, files=read.files)
        write_predictions(out, found)
    return PredictionFile(
        message=f"wrote {len(values)} predictions of {loaded.task.name} to {out.absolute()}",
        task=loaded.task.name,
        samples=len(values),
        shape=values.shape,
        path=out.absolute(),
    )


@contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    """Name the file in faults of its content."""
    try:
        yield
    except UsageError as error:
        text = str(error)
        raise UsageError(text if str(path) in text else f"{path}: {text}") from error
