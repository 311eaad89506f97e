"""The handle of one trial."""

from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.model import Trial as Record
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.sweep_folder import started
from sweeper.text import JsonObject

if TYPE_CHECKING:
    from sweeper.commands.models import PredictionModel

FIELDS = fields(Record)


@dataclass(frozen=True, kw_only=True, repr=False)
class Trial(Record):
    """One trial of a sweep, as the ledger had it when the handle was made.

        best = sweep.best("mona/pdebench/advection_1d")
        best.params["refine.lr"], best.value, best.test

    Its attributes:
        folder: The folder of its sweep.
        study, number: Its place in the sweep.
        kind: preset, control, sampled, replicate, rerun or suggested.
        state: waiting, running, complete, pruned, paused, failed or interrupted.
        params: All hyperparameters, by `stage.parameter`.
        seed: The seed of its training.
        value: The best validation value, which the search minimizes.
        epoch: The epoch of that value, in the stage that reports it.
        test: Test values by metric (`test/nrmse`) at that epoch; empty before the end.
        reason: Why it was pruned or has failed.
        checkpoint: The place of its weights: a folder, or a URL in a store; None: not kept.
    """

    folder: Path

    @classmethod
    def of(cls, folder: Path, resolved: JsonObject, trial: Record) -> "Trial":
        """Return the handle of a trial of the sweep in `folder`, with this resolved form."""
        placed = CheckpointPaths.recorded(folder, resolved).placed(trial)
        return cls(folder=folder, **{each.name: getattr(placed, each.name) for each in FIELDS})

    @property
    def epoch(self) -> int | None:
        return self.best_epoch

    @property
    def sweep(self) -> str:
        """The name of its sweep."""
        return self.folder.name

    def load_model(self) -> "PredictionModel":
        """Return the trained network with its best weights, in evaluation mode.

        `predict` maps raw inputs `[n, *shape]` of the task, as the task's data have them, to
        outputs in the task's unit: probabilities `[n, classes]`, fields `[n, channels, *grid]` or
        values `[n, outputs]`. `labels` maps them to names of classes.

            model = sweep.best().load_model()
            model.predict(x)

        Raises:
            UsageError: The trial kept no weights, or they, the task's data or the pretrained
                weights are not on this machine.
        """
        from sweeper.commands.models import load_trial

        # The ledger may name later weights than this handle, which is of one moment.
        with started(self.folder) as (ledger, record):
            return load_trial(self.folder, record, ledger.trial(self.study, self.number))

    def __repr__(self) -> str:
        value = "" if self.value is None else f", {self.value:.6g}"
        return f"<Trial {self.name} of {self.sweep}: {self.kind}, {self.state}{value}>"

    def _repr_html_(self) -> str:
        from sweeper.render.notebook import trial_html

        values = {"validation": self.value, **self.test, "epoch": self.epoch, "seed": self.seed}
        return trial_html(f"{self.name} of {self.sweep}", self.state, {**values, **self.params})


def load_model(place: str | PathLike[str]) -> "PredictionModel":
    """Return a trained network in evaluation mode.

        sweeper.load_model("runs:/0a1b2c3d4e5f60718293a4b5c6d7e8f9").predict(x)

    Args:
        place: A checkpoint folder of a trial, the folder of an exported model, or an address in
            MLflow: `runs:/RUN` of a trial's run, `runs:/RUN/PATH` or `models:/MODEL`.

    Raises:
        UsageError: There is no such folder, or it holds no model that can be loaded here.
        NotFound: MLflow has no such run or model.
        BackendUnreachable: MLflow does not answer.
    """
    from sweeper.commands.models import load

    return load(str(place))
