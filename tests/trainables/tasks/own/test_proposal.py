"""Proposed task files: each of them imports as it is, and says what was meant."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image
from ruamel.yaml import YAML
from scipy.io import wavfile

from tests.support.own_data import labels
from trainables.errors import DataError
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.own.proposal import propose
from trainables.tasks.own.reading import read_own
from trainables.tasks.store.split import SPLITS

N = 60


def rng():
    return np.random.default_rng(0)


def check(path: Path, tmp_path: Path) -> TaskDefinition:
    """Return the definition that is proposed, once its data could be read."""
    text = propose(path)
    assert "FILL IN" not in text
    definition = TaskDefinition.model_validate(YAML(typ="safe").load(text))
    (tmp_path / ".scratch").mkdir(parents=True)
    imported = read_own(definition, path.parent, tmp_path / ".scratch")
    assert set(imported.splits) == set(SPLITS)
    return definition


@pytest.mark.parametrize(
    ("count", "share"), [(60, "0.2  # 12 of 60"), (110, "0.3  # 33 of"), (2000, "0.1  # 200 of")]
)
def test_enough_samples_validate_if_there_are_enough(count, share, tmp_path):
    np.savez(tmp_path / "data.npz", x=rng().normal(size=(count, 4)), y=labels(count))
    assert f"  val: {share}" in propose(tmp_path / "data.npz", enough=30)


@pytest.mark.parametrize(
    ("shape", "kind", "layout"),
    [
        ((N, 30), "f4", "NL"),
        ((N, 3, 30), "f4", "NCL"),
        ((N, 30, 3), "f4", "NLC"),
        ((N, 9, 8), "u1", "NHW"),
        ((N, 3, 9, 8), "f8", "NCHW"),
        ((N, 9, 8, 3), "u1", "NHWC"),
        ((N, 3, 30), "c8", "NCL"),
    ],
)
def test_archives_of_arrays(shape, kind, layout, tmp_path):
    x = (rng().normal(size=shape) * 50 + 100).astype(kind)
    np.savez(tmp_path / "My Wafer 1.npz", labels=labels(N), x=x)
    definition = check(tmp_path / "My Wafer 1.npz", tmp_path)
    assert definition.name == "mine/my-wafer-1"
    assert definition.input.layout == layout
    assert (definition.input.key, definition.target.key) == ("x", "labels")
    assert definition.kind == "classification"


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (np.array(["a", "b", "c"] * 20), "classification"),
        (np.eye(3)[labels(N)], "classification"),
        (rng().integers(0, 2, (N, 4)), "multilabel"),
        (rng().normal(size=N), "regression"),
        (np.arange(N, dtype=np.float64), "regression"),
        (rng().normal(size=(N, 2)), "regression"),
        (rng().normal(size=(N, 3, 30)), "dense"),
        (np.arange(N) // 6, "classification"),
    ],
)
def test_kinds_by_the_outputs(y, kind, tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["signal"], file["y"] = rng().normal(size=(N, 3, 30)), y.tolist()
    assert check(tmp_path / "data.h5", tmp_path).kind == kind


def test_files_of_splits_and_missing_values(tmp_path):
    (tmp_path / "set").mkdir()
    for name in ("train", "test"):
        x = rng().normal(size=(N, 30))
        x[3, 4] = np.nan
        np.savez(tmp_path / "set" / f"{name}.npz", x=x, y=labels(N))
    definition = check(tmp_path / "set", tmp_path)
    assert definition.splits.train == ("set/train.npz",)
    assert definition.splits.test == ("set/test.npz",)
    assert definition.input.missing == "mean"


def test_an_array_with_its_labels_in_a_file_beside_it(tmp_path):
    np.save(tmp_path / "x.npy", rng().normal(size=(N, 30)))
    np.save(tmp_path / "labels.npy", labels(N))
    assert check(tmp_path / "x.npy", tmp_path).target.path == ("labels.npy",)


def test_an_array_without_labels_has_a_line_to_fill_in(tmp_path):
    np.save(tmp_path / "x.npy", rng().normal(size=(N, 30)))
    assert "# FILL IN target.path" in propose(tmp_path / "x.npy")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_of_points(suffix, tmp_path):
    x = rng().normal(size=(N, 25))
    columns = {"id": np.arange(N)} | {f"t{i}": x[:, i] for i in range(25)}
    table = pa.table(columns | {"class": ["ja", "nein"] * (N // 2)})
    path = tmp_path / f"series.{suffix}"
    if suffix == "csv":
        pa.csv.write_csv(table, path)
    else:
        pa.parquet.write_table(table, path)
    definition = check(path, tmp_path)
    assert definition.input.columns == ("t*",)
    assert definition.target.key == "class"


def test_tables_of_lists_of_unequal_length(tmp_path):
    x = [rng().normal(size=5 + i % 4).tolist() for i in range(N)]
    pa.parquet.write_table(pa.table({"x": x, "label": labels(N)}), tmp_path / "s.parquet")
    assert check(tmp_path / "s.parquet", tmp_path).input.length == 7


def test_a_column_of_splits(tmp_path):
    part = ["train"] * 40 + ["val"] * 10 + ["test"] * 10
    columns = {"a": rng().normal(size=N), "b": rng().normal(size=N), "split": part, "y": labels(N)}
    pa.csv.write_csv(pa.table(columns), tmp_path / "data.csv")
    assert check(tmp_path / "data.csv", tmp_path).splits.column == "split"


def save_images(folder, *, sizes=((8, 8),)):
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng().integers(0, 255, (*sizes[number % len(sizes)], 3)).astype(np.uint8)
            pixels[0, 0] = number
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_folders_of_images(tmp_path):
    save_images(tmp_path / "pets")
    definition = check(tmp_path / "pets", tmp_path)
    assert (definition.target.source, definition.input.path) == ("folder", ("pets",))


def test_folders_of_images_by_split_and_of_several_sizes(tmp_path):
    for split in ("train", "test"):
        save_images(tmp_path / "pets" / split, sizes=((8, 8), (9, 8)))
    definition = check(tmp_path / "pets", tmp_path)
    assert definition.splits.train == ("pets/train",)
    assert definition.input.size is not None


def save_sounds(folder):
    folder.mkdir()
    for number in range(N):
        wave = rng().integers(-99, 99, 20 + number % 3).astype(np.int16)
        wavfile.write(folder / f"{('up', 'down')[number % 2]}_{number}.wav", 8000, wave)


def test_sounds_with_a_table_of_labels(tmp_path):
    save_sounds(tmp_path / "audio")
    rows = [f"{p.name},{p.name.partition('_')[0]}" for p in (tmp_path / "audio").glob("*.wav")]
    (tmp_path / "audio" / "meta.csv").write_text("\n".join(["name,category", *rows]))
    target = check(tmp_path / "audio", tmp_path).target
    assert (target.source, target.file_column, target.label_column) == ("csv", "name", "category")


def test_sounds_with_labels_in_their_names(tmp_path):
    save_sounds(tmp_path / "audio")
    text = propose(tmp_path / "audio")
    assert "# FILL IN target.pattern" in text
    definition = TaskDefinition.model_validate(YAML(typ="safe").load(text))
    (tmp_path / ".scratch").mkdir()
    imported = read_own(definition, tmp_path, tmp_path / ".scratch")
    assert imported.description["classes"] == ["down", "up"]


@pytest.mark.parametrize("name", ["nothing", "notes.txt"])
def test_what_cannot_be_read_is_refused(name, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError):
        propose(tmp_path / name)


def test_no_torch_is_loaded_for_other_formats(tmp_path):
    np.savez(tmp_path / "data.npz", x=rng().normal(size=(N, 30)), y=labels(N))
    code = (
        "import sys; from pathlib import Path; from trainables.tasks.own.proposal import propose; "
        f"propose(Path({str(tmp_path / 'data.npz')!r})); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
