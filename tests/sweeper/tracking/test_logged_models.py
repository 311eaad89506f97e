"""Logged models of MLflow: stored once for each study, found again, replaced, and deleted."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from sweeper.errors import UsageError
from sweeper.tracking import logged_models
from sweeper.tracking.logged_models import ModelFiles
from sweeper.tracking.mlflow_recorder import MlflowRecorder, Sources
from tests.support.servers.mlflow_server import recorder
from tests.support.tiny_trials import make_trials
from tests.support.trained_models import GENERATED, Trained, train_tiny
from trainables.runtime.model_folder import export_model

pytestmark = pytest.mark.slow
SHAPE = (1, 32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    trials = make_trials(tmp_path_factory.mktemp("trials"))
    folder = tmp_path_factory.mktemp("checkpoint") / "refine-0002"
    return train_tiny(trials, GENERATED[0], "linear", "fp32", folder)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory) -> ModelFiles:
    folder = tmp_path_factory.mktemp("exported") / "model"
    config = export_model(trained.folder, folder, trained.spec.home)
    return ModelFiles(
        folder=folder,
        loader="trainables.runtime.pyfunc",
        digest=config.files["model.safetensors"],
        input_shape=SHAPE,
        output_shape=SHAPE,
        output_dtype="float32",
        requirements=("numpy>=1",),
        metadata={"task": GENERATED[0]},
    )


@pytest.fixture
def record(ledger, exported, new_store) -> Callable[..., MlflowRecorder]:
    """Make recorders of one ledger and one store."""
    uri = new_store()

    def make(files: ModelFiles | Exception = exported) -> MlflowRecorder:
        @contextmanager
        def model_of(trial, objective) -> Iterator[ModelFiles]:
            if isinstance(files, Exception):
                raise files
            yield files

        return recorder(ledger, uri, sources=Sources(model_of=model_of))

    make.client = MlflowClient(uri)
    make.uri = uri
    return make


def models_of(client: MlflowClient) -> list:
    (experiment,) = (e for e in client.search_experiments() if e.name == "pdebench")
    return list(client.search_logged_models([experiment.experiment_id]))


def runs(client: MlflowClient, level: str) -> dict:
    experiment = client.get_experiment_by_name("pdebench").experiment_id
    found = client.search_runs([experiment], f"tags.`sweeper.level` = '{level}'")
    return {
        run.data.tags["sweeper.study"]: run for run in found if "sweeper.study" in run.data.tags
    }


def test_each_study_has_the_model_of_its_best_trial(record, exported):
    assert record().sync().pending == 0
    models, studies = models_of(record.client), runs(record.client, "study")
    assert {m.tags["sweeper.study"] for m in models} == studies.keys()
    for model in models:
        study = studies[model.tags["sweeper.study"]]
        assert model.name == "model"
        assert str(model.status) == "READY"
        assert study.data.tags["sweeper.model"] == f"models:/{model.model_id}"
        assert model.tags["sweeper.trial"] == study.data.tags["sweeper.best_trial"]
        source = record.client.get_run(model.source_run_id)
        assert source.data.tags["sweeper.trial"] == model.tags["sweeper.trial"]
        for run in (study, source):
            linked = record.client.get_run(run.info.run_id).outputs.model_outputs
            assert [each.model_id for each in linked] == [model.model_id]
        files = {p.relative_to(model.artifact_location).as_posix()
                 for p in Path(model.artifact_location).rglob("*") if p.is_file()}  # fmt: skip
        assert files == {"MLmodel", "requirements.txt", "python_env.yaml", "data/README.md",
                         "data/config.json", "data/model.safetensors"}  # fmt: skip
        text = (Path(model.artifact_location) / "MLmodel").read_text()
        assert "loader_module: trainables.runtime.pyfunc" in text
        assert "cloudpickle" not in text


def test_a_second_shipping_changes_nothing(record, ledger):
    record().sync()
    before = [m.model_id for m in models_of(record.client)]
    again = record()
    ledger.note_mirror(again.name, {"cursor": "0"})  # as if the process had died before it
    assert again.sync().pending == 0
    assert [m.model_id for m in models_of(record.client)] == before


def test_an_upload_that_was_cut_off_is_repeated_and_leaves_one_model(record, ledger, monkeypatch):
    def fail(folder: Path, target: Path) -> None:
        raise ConnectionError("away")

    with monkeypatch.context() as broken:
        broken.setattr(logged_models, "place", fail)
        assert "away" in record().sync().last_error
    assert [str(m.status) for m in models_of(record.client)] == ["PENDING"]
    assert record().sync().pending == 0
    found = models_of(record.client)
    assert {str(m.status) for m in found} == {"READY"}
    assert len(found) == len(runs(record.client, "study"))


def test_another_best_model_replaces_the_former(record, ledger, exported):
    record().sync()
    former = models_of(record.client)
    other = ModelFiles(**{**vars(exported), "digest": "0" * 64})
    again = record(other)
    ledger.note_mirror(again.name, {"cursor": "0"})
    again.sync()
    found = models_of(record.client)
    assert {m.tags["sweeper.digest"] for m in found} == {"0" * 64}
    assert len(found) == len(former)
    assert not any((Path(m.artifact_location) / "MLmodel").exists() for m in former)


def test_a_model_that_cannot_be_exported_keeps_nothing_else_from_mlflow(record):
    assert record(UsageError("mona/x/0: no checkpoint on this machine")).sync().pending == 0
    assert models_of(record.client) == []
    for run in runs(record.client, "study").values():
        assert run.data.tags["sweeper.model"] == "none: mona/x/0: no checkpoint on this machine"
        assert run.info.status in ("FINISHED", "KILLED")


def test_models_are_deleted_with_their_runs(record):
    shipped = record()
    shipped.sync()
    places = [Path(m.artifact_location) for m in models_of(record.client)]
    shipped.delete_runs()
    assert models_of(record.client) == []
    assert not any((place / "MLmodel").exists() for place in places)


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")  # MLflow's own code
def test_pyfunc_and_the_command_line_of_mlflow_predict_the_same(record, trained, tmp_path):
    """`mlflow.pyfunc.load_model` in this process, `mlflow models predict` in another one."""
    record().sync()
    x = trained.store.stored("test")["x"].copy()
    expected = trained.model().predict(x)
    model = models_of(record.client)[0]
    former = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(record.uri)
    try:
        for uri in (f"models:/{model.model_id}", f"runs:/{model.source_run_id}/model"):
            loaded = mlflow.pyfunc.load_model(uri)
            assert np.array_equal(loaded.predict(x), expected)
        signature = loaded.metadata.signature
        assert signature.inputs.inputs[0].shape == (-1, *SHAPE)
        assert signature.outputs.inputs[0].shape == (-1, *SHAPE)
        with pytest.raises(mlflow.exceptions.MlflowException, match="does not match"):
            loaded.predict(x[:, :, :5])
    finally:
        mlflow.set_tracking_uri(former)
    (tmp_path / "x.json").write_text(f'{{"inputs": {x.tolist()}}}')
    command = [sys.executable, "-m", "mlflow", "models", "predict", "-m",
               f"models:/{model.model_id}", "-i", "x.json", "-o", "y.json", "-t", "json",
               "--env-manager", "local"]  # fmt: skip
    environment = {"MLFLOW_TRACKING_URI": record.uri, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **environment},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    predicted = np.array(json.loads((tmp_path / "y.json").read_text())["predictions"], np.float32)
    np.testing.assert_allclose(predicted, expected, rtol=1e-6)
