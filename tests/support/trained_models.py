"""Finished trials of tiny networks on tasks of every kind, and their checkpoints."""

from dataclasses import dataclass
from pathlib import Path

from tests.support.planted_tasks import NAMES, plant
from tests.support.tiny_trials import Trials
from trainables.runtime.prediction import PredictionModel, load_model
from trainables.runtime.training import Training
from trainables.spec import DataSpec, TrialSpec
from trainables.tasks.loading import prepare_task
from trainables.tasks.registry import task_info
from trainables.tasks.store.store import Store

GENERATED = ("pdebench/advection_1d@hard", "pdebench/darcy_2d@hard", "pdebench/navier_stokes_1d")


@dataclass(frozen=True)
class Trained:
    """A finished trial, and its checkpoint."""

    training: Training
    spec: TrialSpec
    folder: Path
    recorded: dict[str, float]  # metrics of the test split

    @property
    def store(self) -> Store:
        return Store(prepare_task(self.spec.task, self.spec.data, self.spec.home))

    def model(self) -> PredictionModel:
        return load_model(self.folder, self.spec.home)


def train_tiny(trials: Trials, task: str, head: str, precision: str, folder: Path) -> Trained:
    info = task_info(task)
    spec = trials.spec("nft", info.dimension)
    data = spec.data
    if task in NAMES:
        plant(task, trials.home)
        data = DataSpec()
    model = spec.model.model_copy(update={"head": head, "precision": precision})
    changes = {"task": task, "proxy": None, "data": data, "model": model}
    spec = spec.model_copy(update=changes)
    training = trials.begin(spec)
    *_, last = training.reports()
    training.save(folder)
    recorded = {k.removeprefix("test/"): v for k, v in last.metrics.items() if "test/" in k}
    return Trained(training, spec, folder, recorded)
