"""Arrays by name, of every format and type, written by the libraries of the formats."""

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from tests.support.own_data import define, in_order, labels, read
from trainables.errors import DataError
from trainables.tasks.own.formats import numpy_files
from trainables.tasks.store.split import SPLITS

N = 40
NAMED = {"path": "data.npz", "key": "x", "layout": "NCL"}


def numbers(kind="f8"):
    return (np.random.default_rng(0).normal(size=(N, 3, 8)) * 50).astype(kind)


def of(path, key="x"):
    return define(input={"path": path, "key": key, "layout": "NCL"})


def check(folder, definition, x):
    imported = read(folder, definition)
    np.testing.assert_array_equal(in_order(imported, "x"), x.astype(np.float32))
    np.testing.assert_array_equal(in_order(imported, "y"), labels(N))


def save_hdf5(path, x, y, **how):
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=x, **how)
        file["y"] = y


def save_matlab(path, x, y, **how):
    scipy.io.savemat(path, {"x": x, "y": y.astype(float)}, **how)


def save_matlab_7_3(path, x, y):
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("x", data=x.T, chunks=(4, 3, 7), compression="gzip")
        file["y"] = y.astype(float)[:, None]  # 1 x n in MATLAB
        file["x"].attrs["MATLAB_class"] = np.bytes_("double")


def save_torch(path, x, y):
    x = torch.from_numpy(x.astype(x.dtype.newbyteorder("=")))
    torch.save({"x": x, "y": torch.from_numpy(y), "epoch": 3}, path)


SAVE = {
    "npz": lambda path, x, y: np.savez(path, x=x, y=y),
    "packed.npz": lambda path, x, y: np.savez_compressed(path, x=x, y=y),
    "fortran.npz": lambda path, x, y: np.savez(path, x=np.asfortranarray(x), y=y),
    "h5": save_hdf5,
    "packed.h5": lambda *of: save_hdf5(*of, chunks=(7, 3, 4), compression="gzip"),
    "mat": lambda *of: save_matlab(*of, oned_as="row"),
    "column.mat": lambda *of: save_matlab(*of, oned_as="column"),
    "packed.mat": lambda *of: save_matlab(*of, do_compression=True),
    "new.mat": save_matlab_7_3,
    "pt": save_torch,
}


@pytest.mark.parametrize("kind", ["f8", ">f4", "f2", "i2", "i8", "u1"])
@pytest.mark.parametrize("name", SAVE)
def test_arrays_by_name_come_back(name, kind, tmp_path):
    if kind == "f2" and "mat" in name:
        pytest.skip("MATLAB has no half precision")
    SAVE[name](tmp_path / f"data.{name}", np.abs(numbers()).astype(kind), labels(N))
    check(tmp_path, of(f"data.{name}"), np.abs(numbers()).astype(kind))


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(order, tmp_path):
    np.save(tmp_path / "x.npy", np.asarray(numbers(), order=order))
    np.save(tmp_path / "y.npy", labels(N))
    definition = define(input={"path": "x.npy", "layout": "NCL"}, target={"path": "y.npy"})
    check(tmp_path, definition, numbers())


def test_an_array_in_a_group_of_hdf5(tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["group/x"], file["y"] = numbers(), labels(N)
    check(tmp_path, of("data.h5", "group/x"), numbers())


def test_hdf5_text_labels_complex_inputs_and_sequences_of_unequal_length(tmp_path):
    sequences = [np.arange(2 + i % 5, dtype=np.float32) + i for i in range(N)]
    with h5py.File(tmp_path / "data.h5", "w") as file:
        packed = file.create_dataset("x", (N,), h5py.vlen_dtype(np.float32))
        for row, sequence in enumerate(sequences):
            packed[row] = sequence
        file["y"] = [["früh", "spät"][i % 2] for i in range(N)]
    imported = read(tmp_path, define(input={"path": "data.h5", "key": "x", "length": 4}))
    assert imported.description["classes"] == ["früh", "spät"]
    expected = np.stack([np.pad(s, (0, 4))[:4] for s in sequences])
    np.testing.assert_array_equal(in_order(imported, "x")[:, 0], expected)
    assert any("16 were padded by zeros and 16 cut" in n for n in imported.description["notes"])


def test_an_archive_of_very_many_arrays_is_refused_with_the_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(numpy_files, "MAX_ARRAYS", 1)
    np.savez(tmp_path / "data.npz", x=numbers(), y=labels(N))
    with pytest.raises(DataError, match=r"npz: it has more than 1 arrays, which is the limit"):
        read(tmp_path, define(input=NAMED))


def test_the_list_of_an_archive_is_read_once_for_all_its_arrays(monkeypatch, tmp_path):
    """Otherwise many members take the square of their number."""
    opened = []
    real = numpy_files.open_regular
    monkeypatch.setattr(numpy_files, "open_regular", lambda path: opened.append(path) or real(path))
    np.savez(tmp_path / "data.npz", x=numbers(), y=labels(N), z=numbers())
    read(tmp_path, define(input=NAMED))
    assert len(opened) <= 2  # of the inputs, and of the outputs


def test_cells_of_text_are_labels(tmp_path):
    names = np.array([["früh", "spät"][i % 2] for i in range(N)], dtype=object)
    scipy.io.savemat(tmp_path / "data.mat", {"x": numbers(), "y": names})
    imported = read(tmp_path, of("data.mat"))
    assert imported.description["classes"] == ["früh", "spät"]
    np.testing.assert_array_equal(in_order(imported, "y"), np.arange(N) % 2)


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


def test_patterns_of_columns_do_not_mean_the_split_of_a_data_set(datasets, tmp_path):
    """`s*` means the stored columns alone, and `split` still divides the samples."""
    rows = {"train": range(24), "validation": range(24, 30), "test": range(30, N)}
    datasets.DatasetDict(
        {
            split: datasets.Dataset.from_dict(
                {"s0": [float(i) for i in part], "s1": [1.0 for _ in part],
                 "y": [i % 3 for i in part]}
            )
            for split, part in rows.items()
        }
    ).save_to_disk(tmp_path / "set")  # fmt: skip
    definition = define(input={"path": "set", "columns": ["s*"]}, splits={"column": "split"})
    imported = read(tmp_path, definition)
    assert in_order(imported, "x").shape[-1] == 2
    assert {name: len(part.sample_id) for name, part in imported.splits.items()} == {
        "train": 24,
        "val": 6,
        "test": N - 30,
    }
