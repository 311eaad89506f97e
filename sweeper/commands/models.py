"""Trained models for users: export, prediction from files, and loading into Python.

PyTorch is imported only when a model is built.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.commands.result import Message
from sweeper.core.ranking import ranked
from sweeper.errors import NotFound, UsageError, unknown
from sweeper.ledger import Ledger
from sweeper.model import Trial
from sweeper.planning.catalog import as_usage_errors, home
from sweeper.planning.checkpoint_paths import CheckpointPaths, fetched
from sweeper.planning.load import from_record
from sweeper.planning.sweep_folder import existing, started
from sweeper.planning.trials import find_trial, spec_of
from sweeper.tracking.mlflow_store import download, is_artifact
from trainables.runtime.model_folder import export_model as write_model
from trainables.runtime.prediction_files import (
    Predictions,
    check_output,
    read_inputs,
    write_predictions,
)

if TYPE_CHECKING:
    from trainables.runtime.prediction import PredictionModel

__all__ = ["ModelFolder", "PredictionFile", "export_model", "load_model", "load_trial", "predict"]

MLMODEL = "MLmodel"  # of a folder that MLflow wrote
INSIDE = "data"  # its folder with the model that we exported
TAKEN = 10  # trials that a message lists


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
            here, or the folder has content.
    """
    _check_free(out)
    folder = existing(name)
    with started(folder) as (ledger, record):
        sweep = from_record(record)
        found = _chosen(ledger, study, trial)
        objective = next(s.objective for s in ledger.studies() if s.name == found.study)
    placed = CheckpointPaths(folder, sweep.checkpoints.store).placed(found)
    with fetched(placed) as checkpoint, as_usage_errors():
        write_model(
            checkpoint,
            out,
            home(),
            sweep=name,
            trial=found.name,
            metrics=metrics_of(found, objective),
        )
    return ModelFolder(
        message=f"wrote the model of {found.name} to {out.absolute()}",
        sweep=name,
        study=found.study,
        trial=found.number,
        path=out.absolute(),
    )


def metrics_of(trial: Trial, objective: str) -> dict[str, float]:
    """Return the best validation value of a trial and its test values, by metric."""
    values = {} if trial.value is None else {objective: trial.value}
    return {**values, **trial.test}


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
    names = [each.name for each in ledger.studies()]
    if study is None:
        if len(names) != 1:
            raise UsageError(
                f"the sweep has {len(names)} studies: name one by --study, or a trial by --trial. "
                f"Studies: {', '.join(names[:TAKEN])}{', ...' if len(names) > TAKEN else ''}."
            )
        (study,) = names
    elif study not in names:
        raise NotFound(unknown("study", study, names))
    best = next(iter(ranked(ledger.trials(study))), None)
    if best is None:
        raise NotFound(f"no trial of {study} is complete: name a trial by --trial.")
    return best


def load_model(source: str | Path) -> "PredictionModel":
    """Return a trained model: a torch module in evaluation mode, with `predict` and `labels`.

    Args:
        source: A checkpoint folder of a trial, a folder of `sweeper export --model`, or an address
            of MLflow: `runs:/RUN_ID/checkpoints` of a trial, `runs:/RUN_ID/model` of the best one,
            or `models:/MODEL_ID`. MLFLOW_TRACKING_URI names the store; default: as for a launch.

    Raises:
        BackendUnreachable: MLflow does not answer, or has no such artifact.
        UsageError: The folder is no model, or it is damaged; or its data or weights are missing.

    Example:
        >>> model = sweeper.load_model("wafer-model")  # doctest: +SKIP
        >>> model.predict(np.zeros((8, 1, 128))).shape  # doctest: +SKIP
        (8, 10)
    """
    text = str(source)
    if not is_artifact(text):
        return _load_folder(Path(text))
    with tempfile.TemporaryDirectory(prefix="sweeper-") as scratch:
        return _load_folder(download(text, Path(scratch)))


@as_usage_errors()
def _load_folder(folder: Path) -> "PredictionModel":
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder.")
    from trainables.runtime.prediction import load_model

    is_mlflow = (folder / MLMODEL).is_file()
    return load_model(folder / INSIDE if is_mlflow else folder, home())


def load_trial(name: str, trial: str) -> "PredictionModel":
    """Return the trained model of a trial, with its best weights.

    Args:
        name: The sweep.
        trial: The trial, as `find_trial` takes it.

    Raises:
        NotFound: There is no such sweep or trial.
        UsageError: It has no checkpoint with best weights here, or its data are missing.
    """
    folder = existing(name)
    with started(folder) as (ledger, record):
        sweep = from_record(record)
        found = find_trial(ledger, trial)
    study = next(study for study in sweep.studies() if study.name == found.study)
    placed = CheckpointPaths(folder, sweep.checkpoints.store).placed(found)
    with fetched(placed) as checkpoint, as_usage_errors():
        from trainables.runtime.prediction import load_model

        spec = spec_of(study, found.params, seed=found.seed, home=home())
        return load_model(checkpoint, home(), spec=spec)


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
        model: A sweep and a trial; or a folder or an address, as of `load_model`.
        inputs: A .npz, .npy, HDF5, Parquet, Arrow or CSV file.
        out: The file to write: .npz, .npy, .h5, .hdf5, .parquet or .pq.
        keys: Name of the array of inputs, or of the columns.
        batch_size: Samples to compute at once; None: as in the evaluation of a trial.

    Raises:
        NotFound: There is no such sweep or trial.
        StorageFull: `out` cannot be written.
        UsageError: The model cannot be loaded, or the file does not hold inputs of its task.
    """
    with as_usage_errors():
        check_output(out)
    loaded = load_trial(*model) if len(model) == 2 else load_model(model[0])
    with _faults_of(inputs), as_usage_errors():
        rows = read_inputs(inputs, loaded.task.input_shape, keys)
        values = loaded.predict(rows, batch_size)
    with as_usage_errors():
        labels = loaded.as_labels(values) if loaded.classes else None
        found = Predictions(values=values, classes=loaded.classes, labels=labels)
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
