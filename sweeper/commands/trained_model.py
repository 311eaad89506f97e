"""Trained models of trials, for Python programs."""

import re
from pathlib import Path

from sweeper.driver.recorder import environment_uri
from sweeper.errors import UsageError
from sweeper.ledger import SweepRecord
from sweeper.model import Trial
from sweeper.planning.catalog import as_usage_errors, home
from sweeper.planning.checkpoint_paths import CheckpointPaths, fetched
from sweeper.planning.load import from_record
from sweeper.planning.trials import spec_of
from sweeper.tracking.mlflow_store import CHECKPOINTS, download, tracking_uri
from trainables.runtime.prediction import PredictionModel, load_model

__all__ = ["PredictionModel", "load", "load_trial"]

WAYS = (
    "Name the checkpoint of a trial, an exported model, `runs:/RUN` or `runs:/RUN/PATH` of MLflow."
)
SCHEMES = ("runs:/", "models:/")  # of addresses in MLflow
ADDRESS = re.compile(r"runs:/+[^/]+(/.*)?|models:/+.+")


@as_usage_errors()
def load_trial(folder: Path, record: SweepRecord, trial: Trial) -> PredictionModel:
    """Return the model of a trial of the sweep in `folder`, with its best weights.

    Raises:
        UsageError: The trial has no checkpoint here, or its data or weights are missing.
    """
    places = CheckpointPaths.recorded(folder, record.resolved)
    (study,) = (each for each in from_record(record).studies() if each.name == trial.study)
    spec = spec_of(study, trial.params, seed=trial.seed, home=home())
    with fetched(places.placed(trial)) as checkpoint:
        return load_model(checkpoint, home(), spec=spec)


@as_usage_errors()
def load(place: str) -> PredictionModel:
    """Return the model in a folder, or at an address in MLflow.

    Raises:
        UsageError: There is no such folder, or it holds no model that can be loaded here.
        NotFound: MLflow has no such run or model.
        BackendUnreachable: MLflow does not answer.
    """
    if place.startswith(SCHEMES):
        return load_model(download(tracking_uri(environment_uri()), _artifacts(place)), home())
    folder = Path(place)
    if not folder.is_dir():
        raise UsageError(f"{place}: no such folder. {WAYS}")
    return load_model(folder, home())


def _artifacts(place: str) -> str:
    """Return the address of a model's folder: that of a run alone is its checkpoint.

    Raises:
        UsageError: It is no such address.
    """
    if not ADDRESS.fullmatch(place):
        raise UsageError(f"{place}: not the address of a model. {WAYS}")
    scheme, _, path = place.partition(":/")
    is_run_alone = scheme == "runs" and "/" not in path.strip("/")
    return f"{place.rstrip('/')}/{CHECKPOINTS}" if is_run_alone else place
