"""Arrays of NumPy's files and of HDF5, in every order and packing."""

import h5py
import numpy as np
import pytest

from tests.support.own_data import define, in_order, labels, read
from trainables.errors import DataError
from trainables.tasks.own.formats import numpy_files, samples

N = 50


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Read few rows at once, so that every file takes several blocks."""
    monkeypatch.setattr(samples, "READ_BYTES", 500)
    monkeypatch.setattr("trainables.tasks.formats.hdf5.SLAB_BYTES", 500)


def numbers(kind="f8"):
    return (np.random.default_rng(0).normal(size=(N, 3, 8)) * 50).astype(kind)


def input_of(path, **more):
    return {"path": path, "key": "x", "layout": "NCL", **more}


def check(folder, definition, x):
    imported = read(folder, definition)
    np.testing.assert_array_equal(in_order(imported, "x"), x.astype(np.float32))
    np.testing.assert_array_equal(in_order(imported, "y"), labels(N))


@pytest.mark.parametrize("kind", ["f8", ">f4", "i2", "u1"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz(kind, save, order, tmp_path):
    x = numbers(kind)
    save(tmp_path / "data.npz", x=np.asarray(x, order=order), y=labels(N))
    check(tmp_path, define(input=input_of("data.npz")), x)


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(order, tmp_path):
    np.save(tmp_path / "x.npy", np.asarray(numbers(), order=order))
    np.save(tmp_path / "y.npy", labels(N))
    definition = define(input={"path": "x.npy", "layout": "NCL"}, target={"path": "y.npy"})
    check(tmp_path, definition, numbers())


@pytest.mark.parametrize("how", [{}, {"chunks": (7, 3, 4), "compression": "gzip"}])
@pytest.mark.parametrize("kind", ["f8", ">f4", "i2", "u1"])
def test_hdf5(how, kind, tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file.create_dataset("group/x", data=numbers(kind), **how)
        file["y"] = labels(N)
    check(tmp_path, define(input=input_of("data.h5") | {"key": "group/x"}), numbers(kind))


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
    assert any("20 were padded by zeros and 20 cut" in n for n in imported.description["notes"])


def test_an_archive_of_very_many_arrays_is_refused_with_the_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(numpy_files, "MAX_ARRAYS", 1)
    np.savez(tmp_path / "data.npz", x=numbers(), y=labels(N))
    with pytest.raises(DataError, match=r"npz: it has more than 1 arrays, which is the limit"):
        read(tmp_path, define(input=input_of("data.npz")))


def test_the_list_of_an_archive_is_read_once_for_all_its_arrays(monkeypatch, tmp_path):
    """Otherwise many members take the square of their number."""
    opened = []
    real = numpy_files.open_regular
    monkeypatch.setattr(numpy_files, "open_regular", lambda path: opened.append(path) or real(path))
    np.savez(tmp_path / "data.npz", x=numbers(), y=labels(N), z=numbers())
    read(tmp_path, define(input=input_of("data.npz")))
    assert len(opened) <= 2  # of the inputs, and of the outputs
