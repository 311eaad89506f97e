"""Exported models of trials: folders that can be loaded without the sweep."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeper.model import Trial
from sweeper.planning.catalog import as_usage_errors, home
from sweeper.planning.checkpoint_paths import CheckpointPaths, fetched
from sweeper.tracking.logged_models import ModelFiles
from trainables.runtime.model_folder import export_model
from trainables.runtime.model_task import ModelConfig, ModelTask

LOADER = "trainables.runtime.pyfunc"


def export_trial(
    paths: CheckpointPaths, trial: Trial, objective: str, out: Path, *, link: bool = False
) -> ModelConfig:
    """Write the model of a trial as a new folder, and return its configuration.

    Args:
        paths: The paths of the sweep.
        trial: The trial.
        objective: The name of its validation metric.
        out: The folder. It must not exist, or be empty.
        link: Link the weights instead of copying them, where possible.

    Raises:
        StorageFull: The folder cannot be written.
        UsageError: The trial has no checkpoint with best weights here, or its data are missing.
    """
    with fetched(paths.placed(trial)) as checkpoint, as_usage_errors():
        return export_model(
            checkpoint,
            out,
            home(),
            sweep=paths.folder.name,
            trial=trial.name,
            metrics=_metrics(trial, objective),
            link=link,
        )


@contextmanager
def exported(paths: CheckpointPaths, trial: Trial, objective: str) -> Iterator[ModelFiles]:
    """Yield the model of a trial in a temporary folder, whose weights are links where possible.

    Raises:
        StorageFull, UsageError: As of `export_trial`.
    """
    with (
        as_usage_errors(),
        # Hard links need the file system of the checkpoints.
        tempfile.TemporaryDirectory(prefix=".model-", dir=paths.folder) as scratch,
    ):
        config = export_trial(paths, trial, objective, Path(scratch) / "model", link=True)
        yield ModelFiles(
            folder=Path(scratch) / "model",
            loader=LOADER,
            digest=config.files["model.safetensors"],
            input_shape=input_shape_of(config.task),
            output_shape=config.task.output_shape,
            output_dtype="float64" if config.task.gives_probabilities else "float32",
            classes=config.task.classes,
            requirements=tuple(
                f"{name}=={number}" for name, number in config.versions.items() if name != "sweeper"
            ),
            metadata={"task": config.task.name, "trial": trial.name},
        )


def input_shape_of(task: ModelTask) -> tuple[int, ...]:
    """Return the shape of an input: of a sound, any number of points."""
    if task.sound is None:
        return task.input_shape
    return (-1,) if task.sound.channels == 1 else (task.sound.channels, -1)


def _metrics(trial: Trial, objective: str) -> dict[str, float]:
    """Return the best validation value of a trial and its test values, by metric."""
    values = {} if trial.value is None else {objective: trial.value}
    return {**values, **trial.test}
