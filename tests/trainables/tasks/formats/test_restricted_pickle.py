import array
import io
import pickle
from collections import OrderedDict
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from trainables.errors import DataError
from trainables.tasks.formats.restricted_pickle import load_npy, load_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

# What NumPy 1 of Python 2 wrote for {"data": np.arange(3, dtype="uint8"), "label": "N"}.
OF_PYTHON_2 = (
    b"(dp0\nS'data'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\n"
    b"S'b'\np5\ntp6\nRp7\n(I1\n(I3\ntp8\ncnumpy\ndtype\np9\n(S'u1'\np10\nI0\nI1\ntp11\nRp12\n(I3\n"
    b"S'|'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\nS'\\x00\\x01\\x02'\np15\ntp16\nbsS'label'\np17\nS'N'\n"
    b"p18\ns."
)


class Runs:
    """Whose pickle asks for a function, and names it."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_numbers_and_plain_containers_come_back(protocol):
    stored = {
        "train": OrderedDict(images=np.arange(12, dtype=np.uint8).reshape(3, 4), labels=[1, 2]),
        "scalar": np.float32(0.5),
        "objects": np.array([np.arange(2), "text", None], dtype=object),
        "letters": np.array(["N", "~"]),
        "fortran": np.asfortranarray(np.ones((2, 3))),
        "plain": ({1, 2}, frozenset({3}), b"bytes", bytearray(b"more"), 2 + 1j, True, None),
    }
    loaded = load_pickle(io.BytesIO(pickle.dumps(stored, protocol=protocol)))
    np.testing.assert_array_equal(loaded["train"]["images"], stored["train"]["images"])
    assert loaded["train"]["labels"] == [1, 2]
    assert loaded["scalar"] == np.float32(0.5)
    np.testing.assert_array_equal(loaded["objects"][0], [0, 1])
    np.testing.assert_array_equal(loaded["letters"], stored["letters"])
    np.testing.assert_array_equal(loaded["fortran"], stored["fortran"])
    assert loaded["plain"] == stored["plain"]


@pytest.mark.parametrize("encoding", ["latin1", "bytes"])
def test_a_pickle_of_python_2_is_read(encoding):
    loaded = load_pickle(io.BytesIO(OF_PYTHON_2), encoding=encoding)
    key = "data" if encoding == "latin1" else b"data"
    np.testing.assert_array_equal(loaded[key], np.arange(3))


@pytest.mark.parametrize("name", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_arrays_of_numpy_before_and_after_version_2_are_read(name):
    written = OF_PYTHON_2.replace(b"numpy.core.multiarray", name)
    np.testing.assert_array_equal(load_pickle(io.BytesIO(written))["data"], np.arange(3))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("stored", "refused"),
    [
        (Runs(eval, "1"), r"\.eval"),
        (Runs(Path.unlink, "x"), r"getattr|pathlib"),
        (Runs(np.load, "x"), "numpy.*load"),
        (date(2020, 1, 1), r"datetime\.date"),
        (array.array("d", [1.0]), r"array\."),
        ({"deep": [np.array([Runs(eval, "1")], dtype=object)]}, r"\.eval"),
    ],
)
def test_whatever_else_a_pickle_asks_for_is_refused_and_named(stored, refused, protocol):
    with pytest.raises(DataError, match=rf"it asks for `.*({refused}).*`, which is refused"):
        load_pickle(io.BytesIO(pickle.dumps(stored, protocol=protocol)))


def test_nothing_of_a_refused_pickle_has_run(tmp_path):
    mark = tmp_path / "ran"
    with pytest.raises(DataError, match="refused"):
        load_pickle(io.BytesIO(pickle.dumps(Runs(open, str(mark), "w"))))
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"noise", pickle.dumps(np.arange(100))[:-50]])
def test_what_is_no_whole_pickle_is_named(content, tmp_path):
    path = tmp_path / "data.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.pkl: it is no pickle.*Fetch"):
        load_pickle(path)


@pytest.mark.parametrize("load", [load_pickle, load_npy])
def test_a_missing_file_is_named(load, tmp_path):
    with pytest.raises(DataError, match=r"nowhere: it cannot be read"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "stored", [np.arange(6.0).reshape(2, 3), np.array({"data": np.arange(3)}, dtype=object)]
)
def test_an_npy_file_is_read_of_numbers_and_of_objects(stored, tmp_path):
    np.save(tmp_path / "a.npy", stored)
    loaded = load_npy(tmp_path / "a.npy")
    assert loaded.shape == stored.shape
    if stored.dtype == object:
        np.testing.assert_array_equal(loaded.item()["data"], stored.item()["data"])
    else:
        np.testing.assert_array_equal(loaded, stored)


def test_an_npy_file_of_objects_runs_nothing(tmp_path):
    np.save(tmp_path / "a.npy", np.array(Runs(eval, "1"), dtype=object))
    with pytest.raises(DataError, match=r"a\.npy.*eval`, which is refused"):
        load_npy(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "content", [b"", b"noise", b"\x93NUMPY\x01\x00noise", b"\x93NUMPY\x09\x00"]
)
def test_what_is_no_npy_file_is_named(content, tmp_path):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npy: it is no \.npy file"):
        load_npy(tmp_path / "a.npy")


def test_an_npy_file_that_was_cut_short_is_named(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(100))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-8])
    with pytest.raises(DataError, match=r"a\.npy: it is no \.npy file"):
        load_npy(tmp_path / "a.npy")


def test_an_npy_head_that_belies_its_objects_is_noticed(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        head = {"descr": "|O", "fortran_order": False, "shape": (3,)}
        np.lib.format.write_array_header_1_0(file, head)
        pickle.dump([1, 2, 3], file)
    with pytest.raises(DataError, match=r"no array of shape \[3\]"):
        load_npy(tmp_path / "a.npy")
