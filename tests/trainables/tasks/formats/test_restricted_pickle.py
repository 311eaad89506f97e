import array
import io
import pickle
import struct
from collections import OrderedDict
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.support.pickles import honest
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


def test_a_pickle_of_python_2_is_read():
    loaded = load_pickle(io.BytesIO(OF_PYTHON_2))
    np.testing.assert_array_equal(loaded["data"], np.arange(3))
    assert loaded["label"] == "N"


def test_the_text_of_an_array_of_python_2_is_read():
    """NumPy wrote no flags for its type."""
    written = (
        OF_PYTHON_2.replace(b"S'u1'", b"S'U1'")
        .replace(b"S'|'\np13\nNNNI-1\nI-1\nI0", b"S'<'\np13\nNNNI4\nI4\nI0")
        .replace(b"S'\\x00\\x01\\x02'", b"S'N\\x00\\x00\\x00~\\x00\\x00\\x00A\\x00\\x00\\x00'")
    )
    assert load_pickle(io.BytesIO(written))["data"].tolist() == ["N", "~", "A"]


def test_arrays_of_numpy_since_version_2_are_read():
    written = OF_PYTHON_2.replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
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


def test_an_array_of_more_axes_than_numpy_has_is_refused_before_its_size_is_known():
    call = np.zeros(1).__reduce_ex__(5)[0]
    stored = Runs(call, b"\0", np.dtype("u1"), (1,) * 65, "C")
    with pytest.raises(DataError, match="an array of 65 axes"):
        load_pickle(io.BytesIO(pickle.dumps(stored)))


def test_nothing_of_a_refused_pickle_has_run(tmp_path):
    mark = tmp_path / "ran"
    with pytest.raises(DataError, match="refused"):
        load_pickle(io.BytesIO(pickle.dumps(Runs(open, str(mark), "w"))))
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"noise",
        pickle.dumps(np.arange(100))[:-50],
        b"\x80\x02K\x01r\xff\xff\xff\x7f.",  # the value number 2^31 - 1 of one
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",  # 2^40 bytes
        b"c__builtin__\nbytearray\n(I1099511627776\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1099511627776\ntS'O'\ntR.",
        b"cnumpy\nndarray\n(I1099511627776\ntR.",
        b"c_codecs\nencode\n(Va\nVzlib\ntR.",
    ],
)
def test_what_is_no_whole_pickle_is_named(content, tmp_path):
    path = tmp_path / "data.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.pkl: it is no pickle .*at byte \d.*Fetch"):
        load_pickle(path)


@pytest.mark.parametrize("load", [load_pickle, load_npy])
def test_a_missing_file_is_named(load, tmp_path):
    with pytest.raises(DataError, match=r"nowhere: it cannot be read"):
        load(tmp_path / "nowhere")


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


def test_an_npy_head_that_belies_its_objects_is_noticed(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        head = {"descr": "|O", "fortran_order": False, "shape": (3,)}
        np.lib.format.write_array_header_1_0(file, head)
        pickle.dump([1, 2, 3], file)
    with pytest.raises(DataError, match=r"no array of shape \[3\]"):
        load_npy(tmp_path / "a.npy")


def same(one: object, other: object) -> bool:
    """Return whether values are equal, of the same exact types, with their arrays' bits."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray | np.generic):
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            return False
        if one.dtype.hasobject:
            return all(map(same, one.flat, other.flat))
        return one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return all(map(same, [*one], [*other])) and all(map(same, one.values(), other.values()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or one != one


KINDS = st.one_of(
    *(arrays.boolean_dtypes(), arrays.integer_dtypes(), arrays.floating_dtypes()),
    *(arrays.unsigned_integer_dtypes(), arrays.complex_number_dtypes()),
    *(arrays.unicode_string_dtypes(), arrays.byte_string_dtypes()),
)
KEYS = st.one_of(st.text(), st.integers(-(2**60), 2**60), st.booleans(), st.none(), st.binary())
LEAVES = st.one_of(
    *(KEYS, st.integers(), st.floats(), st.complex_numbers(), st.sets(KEYS), st.frozensets(KEYS)),
    arrays.arrays(KINDS, arrays.array_shapes(min_dims=0, min_side=0)),
    arrays.arrays(KINDS, (3, 2)).map(np.transpose),
    arrays.arrays(KINDS, 1).map(lambda array: array[0]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        *(st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(KEYS, inner)),
        st.dictionaries(KEYS, inner).map(OrderedDict),
        st.lists(inner).map(lambda values: np.fromiter(values, object, len(values))),
    ),
    max_leaves=10,
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_kind_of_value_is_read_as_python_reads_it(protocol):
    for value in honest():
        written = pickle.dumps(value, protocol)
        assert same(load_pickle(io.BytesIO(written)), pickle.loads(written))


@pytest.mark.slow
@given(VALUES, st.sampled_from(PROTOCOLS))
@settings(deadline=None, max_examples=60)
def test_what_python_wrote_is_read_as_python_reads_it(value, protocol):
    written = pickle.dumps(value, protocol)
    assert same(load_pickle(io.BytesIO(written)), pickle.loads(written))


@pytest.mark.parametrize("array", [a for a in honest() if isinstance(a, np.ndarray)], ids=repr)
def test_each_kind_of_array_is_read_from_an_npy_file(array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    assert same(load_npy(tmp_path / "a.npy"), array)


def test_a_whole_file_is_not_kept_twice(tmp_path):
    """An array shares the bytes that were read."""
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(np.zeros(2**20, np.uint8), 4))
    assert load_pickle(tmp_path / "a.pkl").base is not None
