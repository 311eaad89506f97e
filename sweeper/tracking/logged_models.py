"""The best trial of a study as a logged model of MLflow: files and a loader module, no pickle.

    MLmodel            signature, and the module that loads the model (`mlflow.pyfunc`)
    requirements.txt   versions of the libraries
    python_env.yaml    the version of Python
    data/              the exported model

A model is found again by a tag. An upload that was interrupted is therefore repeated, and one that
is complete is not. If another trial has become the best one, its model replaces the former.
"""

import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sweeper.tracking.placing import local_folder, place

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "model"  # of every logged model: `runs:/RUN_ID/model`
DATA = "data"  # the folder of the exported model in that of MLflow
UNIQUE, SWEEP_ID, DIGEST = "sweeper.id", "sweeper.sweep_id", "sweeper.digest"
REQUIREMENTS, PYTHON_ENV = "requirements.txt", "python_env.yaml"
READY: Literal["READY"] = "READY"


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """An exported model, and what MLflow states about it."""

    folder: Path
    loader: str  # module with `_load_pyfunc`
    digest: str  # of the weights
    input_shape: tuple[int, ...]  # of one sample; -1: an axis of any length
    output_shape: tuple[int, ...]
    output_dtype: str
    classes: tuple[str, ...] = ()  # columns of the outputs
    requirements: tuple[str, ...] = ()  # as of pip
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """The model of a study, and what it belongs to."""

    files: ModelFiles
    unique: str  # the tag by which the model of a study is found again
    sweep_id: str  # the tag by which all models of a sweep are found
    run_id: str  # the run of the trial
    study_run_id: str  # the run of its study
    tags: Mapping[str, str]  # further ones
    params: Mapping[str, str]  # of the trial


def keep_model(client: "MlflowClient", experiment: str, record: ModelRecord) -> str:
    """Store a model, unless it is stored already, and return its address `models:/MODEL_ID`.

    Args:
        client: The client of the store.
        experiment: The id of the experiment.
        record: The model.
    """
    from mlflow.entities import LoggedModelOutput

    files, run_id = record.files, record.run_id
    former = _found(client, experiment, UNIQUE, record.unique)
    for model in former:
        is_same = model.tags.get(DIGEST) == files.digest and model.source_run_id == run_id
        if is_same and str(model.status) == READY:
            return f"models:/{model.model_id}"
    made = client.create_logged_model(
        experiment,
        name=NAME,
        source_run_id=run_id,
        tags={
            UNIQUE: record.unique,
            SWEEP_ID: record.sweep_id,
            DIGEST: files.digest,
            **record.tags,
        },
        params=dict(record.params),
        model_type="sweeper",
    )
    with described_model(files, run_id, made.model_id) as described:
        # In a local store files are linked, without a second copy of the weights.
        target = local_folder(made.artifact_location)
        if target is not None:
            place(described, target)
            place(files.folder, target / DATA)
        else:
            client.log_model_artifacts(made.model_id, str(described))
            client.log_model_artifacts(made.model_id, str(files.folder), DATA)
    # A model counts only once it is READY, and the former ones go last: a study is never without a
    # model.
    client.finalize_logged_model(made.model_id, READY)
    for each in (run_id, record.study_run_id):  # on whose pages the model is shown
        client.log_outputs(each, [LoggedModelOutput(made.model_id, 0)])
    for model in former:
        _delete(client, model)
    return f"models:/{made.model_id}"


def delete_models(client: "MlflowClient", experiment: str, sweep_id: str) -> None:
    """Delete all models of a sweep, and their files."""
    for model in _found(client, experiment, SWEEP_ID, sweep_id):
        _delete(client, model)


def _found(client: "MlflowClient", experiment: str, tag: str, value: str) -> list[Any]:
    query, token = f"tags.`{tag}` = '{value}'", None
    found: list[Any] = []
    # MLflow answers in pages: a model that is missed on a later one would be stored again.
    while True:
        page = client.search_logged_models([experiment], query, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _delete(client: "MlflowClient", model: Any) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    # MLflow only marks a model as deleted, and leaves its files.
    kept: Any = get_artifact_repository(model.artifact_location)
    kept.delete_artifacts()
    client.delete_logged_model(model.model_id)


@contextmanager
def described_model(files: ModelFiles, run_id: str, model_id: str) -> Iterator[Path]:
    """Yield a temporary folder with the files that MLflow reads about a model."""
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    outputs: list[ColSpec | TensorSpec] = [ColSpec("double", name) for name in files.classes]
    if not outputs:
        outputs = [TensorSpec(np.dtype(files.output_dtype), (-1, *files.output_shape))]
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("float32"), (-1, *files.input_shape))]),
        outputs=Schema(outputs),
    )
    model: Any = Model(
        artifact_path=NAME,
        run_id=run_id,
        model_id=model_id,
        signature=signature,
        metadata=dict(files.metadata),
    )
    # As `mlflow.pyfunc.add_to_model` does, whose module would be imported for this line alone.
    model.add_flavor(
        "python_function",
        loader_module=files.loader,
        python_version=platform.python_version(),
        data=DATA,
        env={"virtualenv": PYTHON_ENV},
    )
    with tempfile.TemporaryDirectory(prefix="sweeper-") as scratch:
        folder = Path(scratch)
        model.save(str(folder / "MLmodel"))
        text = "\n".join(["# besides sweeper itself", *files.requirements])
        (folder / REQUIREMENTS).write_text(text + "\n", encoding="utf-8")
        env = f"python: {platform.python_version()}\ndependencies:\n- -r {REQUIREMENTS}\n"
        (folder / PYTHON_ENV).write_text(env, encoding="utf-8")
        yield folder
