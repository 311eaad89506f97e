"""A trained model of sounds: it takes WAV files and waves, and gives classes by name."""

import csv
import shutil

import mlflow
import numpy as np
import pytest
from scipy.io import wavfile

from sweeper import load_model
from sweeper.cli.main import run
from sweeper.planning.model_export import LOADER, input_shape_of
from sweeper.tracking.logged_models import ModelFiles, described_model
from tests.support.own_tasks import registry_restored
from tests.support.tiny_trials import make_trials
from trainables.runtime.model_folder import export_model, read_model
from trainables.spec import DataSpec
from trainables.tasks.importing import import_own
from trainables.tasks.own.benchmark import own_benchmark
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.registry import register
from trainables.tasks.store.store import Store

pytestmark = pytest.mark.slow
RATE = 8000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with sounds in `audio`, and the exported model of them in `model`."""
    root = tmp_path_factory.mktemp("sounds")
    (root / "audio").mkdir()
    for number in range(24):
        points = np.arange(700 + 10 * number)
        tone = 9000 * np.sin(points * (0.4, 1.6)[number % 2])
        name = f"{('low', 'high')[number % 2]}_{number:02}.wav"
        wavfile.write(root / "audio" / name, RATE, tone.astype(np.int16))
    definition = TaskDefinition.model_validate(
        {
            "name": "mine/tones",
            "kind": "classification",
            "input": {"path": "audio", "representation": "log_mel", "length": 800},
            "target": {"source": "pattern", "pattern": "^(?P<label>[^_]+)_"},
            "splits": {"val": 0.25, "test": 0.25},
        }
    )
    trials = make_trials(root / "home")
    with registry_restored():
        register(own_benchmark([definition], root / "home", {"mine/tones": root / "a.task.yaml"}))
        import_own("mine/tones", root / "home")
        changes = {"task": "mine/tones", "proxy": None, "data": DataSpec()}
        changes |= {"definition": definition.content}
        training = trials.begin(trials.spec("nft", "2d").model_copy(update=changes))
        list(training.reports())
        training.save(root / "checkpoint")
        export_model(root / "checkpoint", root / "model", root / "home")
    return root


def test_a_folder_of_sounds_becomes_a_table_of_classes(folder, tmp_path):
    out = tmp_path / "o.csv"
    assert run(["predict", str(folder / "model"), str(folder / "audio"), "-o", str(out)]) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    files = sorted((folder / "audio").iterdir())
    assert [*rows[0]] == ["id", "label", "prediction high", "prediction low"]
    assert [row["id"] for row in rows] == [file.name for file in files]
    model, sounds = load_model(folder / "model"), [wavfile.read(file)[1] for file in files]
    expected = model.predict(sounds)
    found = [[float(row["prediction high"]), float(row["prediction low"])] for row in rows]
    np.testing.assert_array_equal(found, expected)
    assert [row["label"] for row in rows] == model.labels(sounds).tolist()
    # The store has the same images.
    store = Store(folder / "home" / "data" / "mine" / "tones" / "official")
    places = store.columns("test")["sample_id"]
    alike = model.predict([sounds[place] for place in places])  # batches of one size: one rounding
    np.testing.assert_array_equal(model.predict(store.stored("test")["x"]), alike)


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")  # MLflow's own code
def test_mlflow_takes_waves_of_any_length_and_gives_a_column_a_class(folder, tmp_path):
    task = read_model(folder / "model", tmp_path).config.task
    files = ModelFiles(
        folder=folder / "model",
        loader=LOADER,
        digest="",
        input_shape=input_shape_of(task),
        output_shape=task.output_shape,
        output_dtype="float64",
        classes=task.classes,
    )
    with described_model(files, "0" * 32, "m-0") as described:
        shutil.copytree(described, tmp_path / "logged")
    shutil.copytree(folder / "model", tmp_path / "logged" / "data")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "logged"))
    assert loaded.metadata.signature.outputs.input_names() == ["high", "low"]
    found = loaded.predict(np.zeros((3, 500), np.float32))
    assert [*found.columns] == ["high", "low"]
    np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("name", "rate", "expected"),
    [("a.wav", 16000, "16000, but that of the task is 8000"), ("none", None, "no such file")],
)
def test_what_is_no_sound_of_the_task_is_refused(name, rate, expected, folder, tmp_path, capsys):
    if rate is not None:
        wavfile.write(tmp_path / name, rate, np.zeros(50, np.int16))
    out = tmp_path / "o.csv"
    assert run(["predict", str(folder / "model"), str(tmp_path / name), "-o", str(out)]) == 2
    assert expected in capsys.readouterr().err
    assert not out.exists()
