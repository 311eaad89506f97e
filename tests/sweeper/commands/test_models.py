"""Trained models on the command line: predictions from and to files, and what is refused."""

from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from sweeper import load_model
from sweeper.cli.main import run
from sweeper.errors import UsageError
from tests.support.tiny_trials import make_trials
from tests.support.trained_models import GENERATED, Trained, train_tiny
from trainables.runtime.model_folder import export_model

FIELDS, CLASSES = GENERATED[0], "nasbench360/satellite"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, Trained]:
    """Return a trial of fields [n, 1, 32], and one of 24 classes from [n, 1, 46]."""
    trials = make_trials(tmp_path_factory.mktemp("trials"))
    folders = tmp_path_factory.mktemp("checkpoints")
    return {
        task: train_tiny(trials, task, "linear", "fp32", folders / str(i) / "refine-0002")
        for i, task in enumerate((FIELDS, CLASSES))
    }


@pytest.fixture(scope="module")
def models(trained, tmp_path_factory) -> dict[str, Path]:
    """Return the folders of both exported models."""
    root = tmp_path_factory.mktemp("models")
    for i, (_, each) in enumerate(trained.items()):
        export_model(each.folder, root / str(i), each.spec.home)
    return {task: root / str(i) for i, task in enumerate(trained)}


@pytest.fixture
def x(trained) -> np.ndarray:
    """Return raw inputs of the fields."""
    return trained[FIELDS].store.stored("test")["x"].copy()


def write_inputs(path: Path, x: np.ndarray) -> Path:
    flat = x.reshape(len(x), -1)
    if path.suffix == ".npz":
        np.savez(path, x=x, y=np.zeros(3))
    elif path.suffix == ".npy":
        np.save(path, x)
    elif path.suffix in (".h5", ".hdf5"):
        with h5py.File(path, "w") as file:
            file["x"], file["other"] = x, np.zeros(3)
    elif path.suffix == ".csv":
        lines = [",".join(map(repr, row)) for row in flat.tolist()]
        names = ",".join(f"p{i}" for i in range(flat.shape[1]))
        path.write_text("\n".join([names, *lines]))
    else:
        parquet.write_table(pa.table({f"p{i}": flat[:, i] for i in range(flat.shape[1])}), path)
    return path


def read_predictions(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".npz":
        with np.load(path) as found:
            return found["prediction"]
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return file["prediction"][:]
    return parquet.read_table(path)["prediction"].combine_chunks().to_numpy_ndarray()


@pytest.mark.slow
@pytest.mark.parametrize("inputs", ["i.npz", "i.npy", "i.h5", "i.hdf5", "i.parquet", "i.csv"])
@pytest.mark.parametrize("output", ["o.npz", "o.npy", "o.h5", "o.parquet"])
def test_every_format_gives_the_predictions_of_the_model(models, x, tmp_path, inputs, output):
    file, out = write_inputs(tmp_path / inputs, x), tmp_path / output
    assert run(["predict", str(models[FIELDS]), str(file), "-o", str(out)]) == 0
    assert np.array_equal(read_predictions(out), load_model(models[FIELDS]).predict(x))


@pytest.mark.slow
def test_a_checkpoint_folder_predicts_as_its_exported_model(models, trained, x, monkeypatch):
    monkeypatch.setenv("SWEEPER_HOME", str(trained[FIELDS].spec.home))
    ours, theirs = load_model(str(trained[FIELDS].folder)), load_model(models[FIELDS])
    assert np.array_equal(ours.predict(x), theirs.predict(x))


@pytest.mark.slow
def test_labels_and_classes_are_written_beside_probabilities(models, trained, tmp_path):
    x, model = trained[CLASSES].store.stored("test")["x"], load_model(models[CLASSES])
    file = write_inputs(tmp_path / "i.npy", x)
    for name in ("o.npz", "o.h5", "o.parquet"):
        assert run(["predict", str(models[CLASSES]), str(file), "-o", str(tmp_path / name)]) == 0
    expected, labels = model.predict(x), model.labels(x)
    with np.load(tmp_path / "o.npz") as found:
        assert np.array_equal(found["prediction"], expected)
        assert np.array_equal(found["label"], labels)
        assert tuple(found["classes"]) == model.classes
    with h5py.File(tmp_path / "o.h5") as stored:
        assert stored["label"].asstr()[:].tolist() == labels.tolist()
    table = parquet.read_table(tmp_path / "o.parquet")
    assert table["prediction 7"].to_numpy().tolist() == expected[:, 7].tolist()
    assert table["label"].to_pylist() == labels.tolist()


@pytest.mark.slow
def test_the_array_and_the_columns_are_named_by_key(models, x, tmp_path):
    np.savez(tmp_path / "i.npz", waves=x, x=x[:, :, :5])
    columns = {f"p{i}": x[:, 0, i] for i in range(32)} | {"id": np.arange(len(x))}
    parquet.write_table(pa.table(columns), tmp_path / "i.parquet")
    expected = load_model(models[FIELDS]).predict(x)
    for name, key in (("i.npz", "waves"), ("i.parquet", "p*")):
        out = tmp_path / f"{name}.npy"
        code = run(["predict", str(models[FIELDS]), str(tmp_path / name), "-o", str(out),
                    "--key", key, "--batch-size", "64"])  # fmt: skip
        assert code == 0
        assert np.array_equal(np.load(out), expected)


@pytest.mark.slow
def test_the_first_line_of_a_table_without_a_header_is_a_sample(models, x, tmp_path, command):
    np.savetxt(tmp_path / "i.csv", x.reshape(len(x), -1), delimiter=",")
    command("predict", str(models[FIELDS]), str(tmp_path / "i.csv"), "-o", str(tmp_path / "o.npy"))
    assert len(np.load(tmp_path / "o.npy")) == len(x)


@pytest.mark.slow
def test_predictions_never_replace_their_inputs(models, x, tmp_path, command):
    file = write_inputs(tmp_path / "i.npy", x)
    told = command("predict", str(models[FIELDS]), str(file), "-o", str(file), code=2).err
    assert "holds the inputs" in told
    assert np.array_equal(np.load(file), x)


@pytest.mark.slow
def test_json_has_the_task_and_the_shape(models, x, tmp_path, command):
    file, out = write_inputs(tmp_path / "i.npy", x), tmp_path / "o.npy"
    found = command("predict", str(models[FIELDS]), str(file), "-o", str(out), "--json").json
    assert found["command"] == "predict"
    assert (found["task"], found["samples"], found["shape"]) == (FIELDS, 4, [4, 1, 32])
    assert found["path"] == str(out)


def nothing(path: Path) -> Path:
    return path


FAULTY = {
    "no file": ("i.npy", nothing, "there is no such file"),
    "another length": ("i.npy", lambda p: write_inputs(p, np.zeros((3, 1, 31))),
        "i.npy: inputs have the shape [3, 1, 31], but pdebench/advection_1d@hard takes [n, 1, 32]"),
    "too few columns": ("i.csv", lambda p: write_inputs(p, np.zeros((3, 1, 31))),
        "the shape [3, 31]"),
    "not finite": ("i.npy", lambda p: write_inputs(p, np.full((3, 1, 32), np.inf)),
        "not finite in 3 of 3"),
    "a pickle": ("i.pkl", lambda p: p.write_bytes(b"\x80\x04."), "a pickle may run code"),
    "objects": ("i.npy", lambda p: np.save(p, np.array([{}]), allow_pickle=True), "Python objects"),
    "text": ("i.txt", lambda p: p.write_text("1 2 3"), "its format is not known"),
    "damaged": ("i.npz", lambda p: p.write_bytes(b"PK\x03\x04"), "i.npz"),
    "several arrays": ("i.npz", lambda p: np.savez(p, a=1, b=2), "--key"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", FAULTY)
def test_faulty_inputs_end_with_exit_2_and_write_nothing(models, tmp_path, capsys, case):
    name, make, message = FAULTY[case]
    make(tmp_path / name)
    out = tmp_path / "o.npy"
    assert run(["predict", str(models[FIELDS]), str(tmp_path / name), "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert name in error
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["folder"], "SWEEP TRIAL INPUT, or DIR INPUT"),
        (["folder", "b", "c", "d"], "SWEEP TRIAL INPUT, or DIR INPUT"),
        (["gone", "i.npy"], "gone: no such folder"),
        (["folder", "i.npy"], "neither a checkpoint"),
    ],
)
def test_a_model_that_is_none_is_refused(here, command, arguments, message):
    (here / "folder").mkdir()
    assert message in command("predict", *arguments, "-o", "o.npy", code=2).err


@pytest.mark.parametrize(
    ("out", "message"),
    [("o.txt", "no format ends in `.txt`"), ("no/o.npy", "no is no folder"), ("o", "no format")],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_model_is_loaded(
    here, command, out, message
):
    assert message in command("predict", "gone", "i.npy", "-o", out, code=2).err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "m", "-o", "x.csv"], "leave them out"),
        (["--study", "s"], "add that option"),
        (["--model", "m", "--optuna", "sqlite:///o.db"], "give one of them"),
        (["--model", "full"], "full has content"),
        (["--model", "file"], "file is a file"),
    ],
)
def test_options_of_export_that_do_not_fit_are_refused(here, command, arguments, message):
    (here / "full").mkdir()
    (here / "full" / "a").touch()
    (here / "file").touch()
    assert message in command("export", "tiny", *arguments, code=2).err


@pytest.mark.slow
def test_a_damaged_model_is_refused(models, tmp_path):
    (tmp_path / "config.json").write_text((models[FIELDS] / "config.json").read_text())
    with pytest.raises(UsageError, match="missing, though"):
        load_model(tmp_path)
