"""Arrays of MATLAB, torch and `datasets`, written by SciPy, h5py, torch and that package."""

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from tests.support.own_data import define, in_order, labels, read
from trainables.errors import TaskDataError
from trainables.tasks.own.formats import samples
from trainables.tasks.store.split import SPLITS

N = 40


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Read few rows at once, so that every file takes several blocks."""
    monkeypatch.setattr(samples, "READ_BYTES", 500)
    monkeypatch.setattr("trainables.tasks.own.formats.matlab.SLAB_BYTES", 500)


def numbers(kind="f8"):
    return (np.random.default_rng(0).normal(size=(N, 3, 8)) * 50).astype(kind)


def of(path, layout="NCL"):
    return define(input={"path": path, "key": "x", "layout": layout})


def check(folder, definition, x):
    imported = read(folder, definition)
    np.testing.assert_array_equal(in_order(imported, "x"), x.astype(np.float32))
    np.testing.assert_array_equal(in_order(imported, "y"), labels(N))
    return imported


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("vector", ["row", "column"])
def test_matlab_files_as_scipy_writes_them(packed, vector, tmp_path):
    content = {"x": numbers(), "y": labels(N).astype(float)}
    scipy.io.savemat(tmp_path / "data.mat", content, do_compression=packed, oned_as=vector)
    check(tmp_path, of("data.mat"), numbers())


def test_cells_of_text_are_labels(tmp_path):
    names = np.array([["früh", "spät"][i % 2] for i in range(N)], dtype=object)
    scipy.io.savemat(tmp_path / "data.mat", {"x": numbers(), "y": names})
    imported = read(tmp_path, of("data.mat"))
    assert imported.description["classes"] == ["früh", "spät"]
    np.testing.assert_array_equal(in_order(imported, "y"), np.arange(N) % 2)


def test_cells_of_numbers_and_structs_are_refused(tmp_path):
    ragged = np.empty(N, dtype=object)
    ragged[:] = [np.ones(2 + i % 3) for i in range(N)]
    scipy.io.savemat(tmp_path / "data.mat", {"x": ragged, "y": labels(N), "s": {"a": 1}})
    with pytest.raises(TaskDataError, match="cell array"):
        read(tmp_path, of("data.mat"))
    (tmp_path / ".scratch").rmdir()
    with pytest.raises(TaskDataError, match="is a struct"):
        read(tmp_path, define(input={"path": "data.mat", "key": "s"}))


@pytest.mark.parametrize("kind", ["f8", "i2"])
def test_matlab_files_of_version_7_3_have_their_axes_in_reverse(kind, tmp_path):
    with h5py.File(tmp_path / "data.mat", "w", userblock_size=512) as file:
        file.create_dataset("x", data=numbers(kind).T, chunks=(4, 3, 7), compression="gzip")
        file["y"] = labels(N).astype(float)[:, None]  # 1 x n in MATLAB
        file["x"].attrs["MATLAB_class"] = np.bytes_("double")
    check(tmp_path, of("data.mat"), numbers(kind))


def test_complex_numbers_of_version_7_3(tmp_path):
    x = numbers() + 1j * numbers()[::-1]
    pairs = np.empty(x.T.shape, [("real", "f8"), ("imag", "f8")])
    pairs["real"], pairs["imag"] = x.T.real, x.T.imag
    with h5py.File(tmp_path / "data.mat", "w", userblock_size=512) as file:
        file["x"], file["y"] = pairs, labels(N).astype(float)[None]
        file["y"].attrs["MATLAB_class"] = np.bytes_("double")
    input_ = {"path": "data.mat", "key": "x", "layout": "NCL", "complex": "channels"}
    imported = read(tmp_path, define(input=input_))
    expected = np.concatenate([x.real, x.imag], axis=1).astype(np.float32)
    np.testing.assert_array_equal(in_order(imported, "x"), expected)


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.int64, torch.uint8])
def test_tensors(kind, tmp_path):
    x = torch.from_numpy(np.abs(numbers())).to(kind)
    torch.save({"x": x, "y": torch.from_numpy(labels(N)), "epoch": 3}, tmp_path / "data.pt")
    check(tmp_path, of("data.pt"), x.numpy())


def test_bfloat16_and_lists_of_tensors(tmp_path):
    x = torch.from_numpy(numbers()).bfloat16()
    torch.save([x, torch.from_numpy(labels(N))], tmp_path / "data.pt")
    definition = define(input={"path": "data.pt", "key": "0", "layout": "NCL"}, target={"key": "1"})
    check(tmp_path, definition, x.float().numpy())


@pytest.fixture
def datasets(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
    import datasets as package

    package.disable_progress_bars()
    return package


def test_a_saved_data_set(datasets, tmp_path):
    names = ["früh", "spät", "nie"]
    content = {
        "x": numbers().tolist(),
        "y": labels(N).tolist(),
        "who": [f"p{i % 8}" for i in range(N)],
    }
    features = datasets.Features(
        x=datasets.Array2D((3, 8), "float32"),
        y=datasets.ClassLabel(names=names),
        who=datasets.Value("string"),
    )
    datasets.Dataset.from_dict(content, features).save_to_disk(tmp_path / "set", num_shards=3)
    imported = read(tmp_path, of("set"))
    np.testing.assert_array_equal(in_order(imported, "x"), numbers().astype(np.float32))
    found = np.array(imported.description["classes"])[in_order(imported, "y")]
    assert found.tolist() == [names[i] for i in labels(N)]


def test_a_saved_data_set_with_splits_and_images(datasets, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (N, 6, 7, 3), dtype=np.uint8)
    rows = {"train": range(24), "validation": range(24, 30), "test": range(30, N)}
    features = datasets.Features(x=datasets.Image(), y=datasets.Value("int64"))
    datasets.DatasetDict(
        {
            split: datasets.Dataset.from_dict(
                {"x": [Image.fromarray(pixels[i]) for i in part], "y": [i % 3 for i in part]},
                features,
            )
            for split, part in rows.items()
        }
    ).save_to_disk(tmp_path / "set")
    definition = define(
        input={"path": "set", "key": "x", "layout": "NHWC"}, splits={"column": "split"}
    )
    imported = read(tmp_path, definition)
    np.testing.assert_array_equal(in_order(imported, "x"), pixels.transpose(0, 3, 1, 2))
    for split, part in zip(SPLITS, rows.values(), strict=True):
        assert sorted(imported.splits[split].sample_id.tolist()) == [*part]
