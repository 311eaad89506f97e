"""The contract of exported models: of every family of encoders, and of own tasks of every kind."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.own_tasks import definition, registry_restored
from tests.support.tiny_encoders import CAUSAL, SAVERS, SEQUENCES, save_encoder
from tests.support.tiny_trials import DIMENSIONS, Trials, by_turns
from trainables.errors import WeightsError
from trainables.methods.registry import METHODS
from trainables.runtime.model_folder import export_model
from trainables.runtime.prediction import load_model
from trainables.spec import DataSpec, TrialSpec
from trainables.tasks.importing import import_task
from trainables.tasks.loading import prepare_task
from trainables.tasks.own.benchmark import own_benchmark
from trainables.tasks.registry import register
from trainables.tasks.store.store import Store

pytestmark = pytest.mark.slow
CASES = [*((kind, "none") for kind in SAVERS), *((kind, "double") for kind in CAUSAL)]


def begun(trials: Trials, spec: TrialSpec, folder: Path) -> Path:
    """Save a checkpoint of a trial whose best weights are those that it begins with."""
    training = trials.begin(spec)
    training.state.keep_best(1.0)
    training.save(folder)
    return folder


def check_rebuilt(trials: Trials, spec: TrialSpec, folder: Path) -> None:
    """Check that an exported model predicts alike, after its pretrained weights are gone."""
    checkpoint = begun(trials, spec, folder / "refine-0001")
    x = Store(prepare_task(spec.task, spec.data, trials.home)).stored("test")["x"]
    expected = load_model(checkpoint, trials.home).predict(x)
    export_model(checkpoint, folder / "model", trials.home)
    shutil.rmtree(folder / "weights", ignore_errors=True)
    assert np.array_equal(load_model(folder / "model", folder).predict(x), expected)


@pytest.mark.parametrize(("kind", "bidirectional"), CASES)
def test_the_network_of_every_family_is_rebuilt_without_its_folder(
    trials, tmp_path, kind, bidirectional
):
    dimension = "1d" if kind in SEQUENCES else "2d"
    tokens = 8 if dimension == "1d" else 16 if kind == "dinov2" else None
    backbone = {
        "name": str(save_encoder(kind, tmp_path / "weights")),
        "tokens": tokens,
        "bidirectional": bidirectional,
    }
    spec = trials.spec("nft", dimension).model_dump() | {"backbone": backbone, "proxy": None}
    check_rebuilt(trials, TrialSpec.model_validate(spec), tmp_path)


OWN_NETWORKS = [name for name, method in METHODS.items() if method.network is not None]


@pytest.mark.parametrize(("method", "dimension"), by_turns(*((name,) for name in OWN_NETWORKS)))
def test_a_network_of_its_own_is_rebuilt_from_its_settings(trials, tmp_path, method, dimension):
    spec = trials.spec(method, dimension)
    check_rebuilt(trials, spec, tmp_path)
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"Network: {METHODS[method].title}" in card
    assert "ackbone" not in card


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_a_network_in_front_of_the_embedder_is_rebuilt_and_counted(trials, tmp_path, dimension):
    spec = trials.spec("l2g", dimension)
    check_rebuilt(trials, spec, tmp_path)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["model"]["spec"]["stages"]["search"] |= {"sizes": [255], "width": 32, "depth": 100}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"weights, but model.safetensors holds fewer"):
        load_model(tmp_path / "model", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modes": 250, "width": 1000}, "weights, but model.safetensors holds fewer"),
        ({"modes": 1e9}, "describes no network that can be built"),
        ({"method": "unheard_of"}, "method `unheard_of` is not here"),
    ],
)
def test_an_untrusted_description_of_a_network_fills_no_memory(trials, tmp_path, change, message):
    spec = trials.spec("fno", "2d", {"refine.width": 4, "refine.modes": 2})
    export_model(begun(trials, spec, tmp_path / "refine-0001"), tmp_path / "model", trials.home)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    method = change.pop("method", "fno")
    config["model"]["spec"]["method"] = method
    config["model"]["spec"]["stages"]["refine"] |= change
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=message):
        load_model(tmp_path / "model", tmp_path)


def own(tmp_path: Path, kind: str) -> tuple[dict, np.ndarray]:
    """Write the data of an own task of images, and return its definition and its inputs."""
    rng = np.random.default_rng(0)
    x = (100 + 20 * rng.normal(size=(60, 2, 8, 8))).astype(np.float32)
    y = {
        "classification": np.array(["cat", "dog", "owl"])[rng.integers(0, 3, 60)],
        "multilabel": rng.integers(0, 2, (60, 3)),
        "regression": 1000 + 50 * rng.normal(size=(60, 2)),
        "dense": rng.normal(size=(60, 1, 8, 8)),
    }[kind]
    np.savez(tmp_path / "wafer.npz", x=x, y=y)
    more = {"target": {"key": "y", "layout": "NCHW"}} if kind == "dense" else {}
    task = definition(f"mine/{kind}", kind=kind, licence="CC0-1.0", citation="Me, 2026", **more)
    return task, x


@pytest.mark.parametrize("method", ["nft", "perceiver_io"])
@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression", "dense"])
def test_an_own_task_predicts_raw_inputs_in_its_unit_and_by_its_names(
    trials, tmp_path, kind, method
):
    home = tmp_path / "home"
    with registry_restored():
        task, x = own(tmp_path, kind)
        file = tmp_path / "own.task.yaml"
        register(own_benchmark([task], home, {task.name: file}))
        import_task(task.name, [tmp_path], home)
        base = trials.spec(method, "2d")
        spec = base.model_copy(
            update={
                "task": task.name,
                "home": home,
                "proxy": None,
                "data": DataSpec(),
                "definition": task.content,
            }
        )
        checkpoint = begun(trials, spec, tmp_path / "refine-0001")
    with registry_restored():  # the checkpoint knows its own task
        ours = load_model(checkpoint, home)
        expected = ours.predict(x)
        export_model(checkpoint, tmp_path / "model", home)
    shutil.rmtree(home)
    model = load_model(tmp_path / "model", tmp_path)
    assert np.array_equal(model.predict(x), expected)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "Licence of the data: CC0-1.0" in card
    assert "Citation of the data: Me, 2026" in card
    if kind == "classification":
        assert model.classes == ("cat", "dog", "owl")
        assert set(model.labels(x)) <= {"cat", "dog", "owl"}
    if kind == "regression":
        assert model.predict(x).shape == (60, 2)
        assert abs(model.predict(x).mean() - 1000) < 200
