"""Pickles that are made to break their reader: each is refused, in little time and memory."""

import io
import itertools
import pickle
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import ROOT
from tests.support.pickles import (
    FALSE,
    NONE,
    TRUE,
    array,
    call,
    group,
    held,
    kind,
    named,
    number,
    text,
    whole,
)
from trainables.errors import DataError
from trainables.tasks.formats.restricted_pickle import load_npy, load_pickle
from trainables.tasks.importing import import_task

POINTERS = held(b"A" * 320)
OBJECTS = kind("O8", order="|", tail=(-1, -1, 63))
FLAGLESS = kind("O8", order="|")
F8 = kind("f8")


def fields(value: bytes, names: bytes = group(text("a"))) -> bytes:
    """Parts of a state: no subarray, names, and fields."""
    return NONE + names + b"}" + text("a") + value + b"s"


# A field far beyond the item.
BEYOND = kind("V8", order="|", parts=fields(group(F8, number(2**28))), tail=(8, 1, 0))

# Types whose state turns bytes of the file into pointers or reads beyond the item, in every
# construction that takes a type; what NumPy itself never writes; and objects by themselves.
CRAFTED = {
    "bytes as objects": array(OBJECTS, (40,), POINTERS),
    "bytes as objects without the flag": array(FLAGLESS, (40,), POINTERS),
    "the flag of objects on numbers": array(kind("f8", tail=(-1, -1, 63)), (40,), POINTERS),
    "a field": array(kind("V8", order="|", parts=fields(group(F8, number(0)))), (1,),
        held(b"8" * 8)),
    "a field of objects": array(
        kind("V8", order="|", parts=fields(group(OBJECTS, number(0))), tail=(8, 1, 0)), (40,),
        POINTERS),
    "a field beyond the item": array(BEYOND, (1,), held(b"8" * 8)),
    "a subarray": array(
        kind("V8", order="|", parts=group(F8, group(number(2**28))) + NONE * 2, tail=(8, 1, 0)),
        (1,), held(b"8" * 8)),
    "another item size": array(kind("V8", order="|", tail=(2**28, 1, 0)), (1,), held(b"8" * 8)),
    "another alignment": array(kind("f8", tail=(8, 2**20, 0)), (1,), held(b"8" * 8)),
    "a dictionary as state": call("numpy", "dtype", text("f8"), FALSE, TRUE) + b"}b",
    "a scalar of objects": call("numpy.core.multiarray", "scalar", OBJECTS, held(b"A" * 8)),
    "a scalar of objects without the flag": call("numpy.core.multiarray", "scalar", FLAGLESS,
        held(b"A" * 8)),
    "a scalar with a field": call("numpy.core.multiarray", "scalar", BEYOND, held(b"8" * 8)),
    "a scalar of few bytes": call("numpy.core.multiarray", "scalar", kind("U9", tail=(36, 4, 8)),
        held(b"8")),
    "a buffer of objects": call("numpy.core.numeric", "_frombuffer", POINTERS, OBJECTS,
        group(number(40)), text("C")),
    "a buffer of objects without the flag": call("numpy._core.numeric", "_frombuffer", POINTERS,
        FLAGLESS, group(number(40)), text("C")),
    "a buffer with a field": call("numpy._core.numeric", "_frombuffer", held(b"8" * 8), BEYOND,
        group(number(1)), text("C")),
    "a buffer of few bytes": call("numpy._core.numeric", "_frombuffer", held(b"8"), F8,
        group(number(9)), text("C")),
    "types joined by commas": array(call("numpy", "dtype", text("f8,O8"), FALSE, TRUE), (1,),
        held(b"A" * 16)),
    "a type of repeated objects": array(call("numpy", "dtype", text("(2,)O"), FALSE, TRUE), (1,),
        held(b"A" * 16)),
    "a type of a list": call("numpy", "dtype", b"]", FALSE, TRUE),
    "a type of dates": array(kind("M8"), (1,), held(b"8" * 8)),
    "objects in place of their bytes": array(F8, (1,), b"]Na"),
    "few objects": array(OBJECTS, (2,), b"]Na"),
    "another subclass": call("numpy.core.multiarray", "_reconstruct", named("numpy", "dtype"),
        group(number(0)), held(b"b")),
    "an array filled twice": array(F8, (1,), held(b"8" * 8)) + group(number(1)) + b"b",
    "another version": array(F8, (1,), held(b"8" * 8), version=2),
    "a negative length": array(F8, (-1, -1), held(b"8" * 8)),
    "a length that is true": call("numpy._core.numeric", "_frombuffer", held(b"8" * 8), F8,
        group(TRUE), text("C")),
    "booleans that are none": array(kind("b1", order="|"), (4,), held(b"\x00\x01\x02\xff")),
    "letters that are none": array(kind("U1", tail=(4, 4, 8)), (1,), held(b"\xff" * 4)),
    "a type by itself": F8,
    "an array without its state": call("numpy.core.multiarray", "_reconstruct",
        named("numpy", "ndarray"), group(number(0)), held(b"b")),
    "a name by itself": b"]" + named("numpy", "dtype") + b"a",
    "a state for a list": b"]}b",
    "an object made of a type": named("collections", "OrderedDict") + b")\x81",
    "an old object": b"(i__builtin__\nset\n",
    "an object of a table": b"\x82\x01",
    "an object of another program": b"Pname\n",
    "a buffer outside": b"\x97",
    "a value of no key": b"}(N" + b"u",
    "a list as a key": b"}]Ns",
}  # fmt: skip


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_description_is_refused(name):
    with pytest.raises(DataError, match="it is no pickle of arrays and plain containers"):
        load_pickle(io.BytesIO(whole(CRAFTED[name])))


def test_a_crafted_file_in_place_of_a_published_one_is_named(tmp_path):
    data = b"}(" + text("data") + array(FLAGLESS, (40,), POINTERS)
    path = tmp_path / "challenge2017.pkl"
    path.write_bytes(whole(data + text("label") + b"(" + text("N") * 40 + b"lu"))
    with pytest.raises(DataError, match=r"challenge2017\.pkl: it is no pickle .*Fetch"):
        import_task("nasbench360/ecg", [path], tmp_path / "home")


def test_the_parts_of_crafted_pickles_are_read_where_they_are_honest():
    """Show that honest descriptions, written like the rows above, are read."""
    content = np.arange(3.0).tobytes()
    for part in (
        array(F8, (3,), held(content)),
        call("numpy._core.numeric", "_frombuffer", held(content), F8, group(number(3)), text("C")),
    ):
        np.testing.assert_array_equal(load_pickle(io.BytesIO(whole(part))), np.arange(3.0))
    assert load_pickle(io.BytesIO(whole(array(OBJECTS, (1,), b"]Na")))).tolist() == [None]
    one = call("numpy.core.multiarray", "scalar", F8, held(content[-8:]))
    assert load_pickle(io.BytesIO(whole(one))) == 2.0


MEMO = b"\x94"  # stores the last value, under the next number


def get(index: int) -> bytes:
    return b"j" + struct.pack("<I", index)


# A pair of a pair of pairs ..., each stored once: 2**60 values.
TUPLES = b")" + b"".join(MEMO + get(i) + b"\x86" for i in range(60))
MEGABYTE = held(bytes(2**20)) + MEMO
BOMBS = {
    "lists without end": b"]" * 10**4,
    "lists in lists": b"]" * 10**4 + b"a" * (10**4 - 1),
    "tuples in tuples": b")" + b"\x85" * 10**4,
    "a list in itself": b"]" + MEMO + get(0) + b"a",
    "a dictionary in itself": b"}" + MEMO + text("a") + get(0) + b"s",
    "a list of itself, twice": b"]" + MEMO + b"(" + get(0) * 2 + b"e",
    "doubled tuples": TUPLES,
    "doubled tuples as a key": b"}" + TUPLES + b"Ns",
    "doubled tuples as a shape": call("numpy._core.numeric", "_frombuffer", held(b""), F8, TUPLES,
        text("C")),
    "doubled tuples as an encoding": call("_codecs", "encode", text("a"), TUPLES),
    "doubled tuples as a type": call("numpy", "dtype", TUPLES, FALSE, TRUE),
    "doubled tuples as a name": text("numpy") + TUPLES + b"\x93",
    "marks": b"(" * 10**4,
    "a megabyte, often": b"](" + MEGABYTE + (get(0)) * 10**4 + b"e",
    "a megabyte, often copied":
        b"](" + MEGABYTE + (named("builtins", "bytearray") + get(0) + b"\x85R") * 10**4 + b"e",
    "a long list, often copied":
        b"](" + b"K\x01" * 10**3 + b"e" + MEMO
        + b"](" + (named("builtins", "set") + get(0) + b"\x85R") * 10**4 + b"e",
    "a long key, often compared":
        b"}" + (text("a" * 10**6) + b"N") + b"s"
        + text("a" * 10**6) + MEMO + (get(0) + b"Ns") * 10**4,
    "numbers with one hash":
        b"}(" + b"".join(number(i * (2**61 - 1)) + b"N" for i in range(99)) + b"u",
    "complex numbers with one hash":
        b"\x8f(" + b"".join(
            named("builtins", "complex")
            + b"".join(b"G" + struct.pack(">d", x) for x in (-1000003.0 * i, i)) + b"\x86R"
            for i in range(99)
        ) + b"\x90",
    "keys of tuples without end":
        b"}(" + b"".join(number(i) + b"\x85N" for i in range(10**4 + 1)) + b"u",
    "a long whole number": b"\x8b" + struct.pack("<i", 10**6) + b"1" * 10**6,
    "a long decimal": b"L" + b"1" * 10**4 + b"L\n",
    "an empty array of many rows": array(F8, (2**40, 0), held(b"")),
    "text of no letters": array(kind("U0", tail=(0, 4, 8)), (2**40,), held(b"")),
    "a large type": array(kind("S999999999", order="|", tail=(999999999, 1, 0)), (1,), held(b"1")),
    "arrays of objects in one another":
        b"N" + MEMO
        + b"".join(array(OBJECTS, (1,), b"]" + get(i) + b"a") + MEMO for i in range(2000)),
}  # fmt: skip


@pytest.fixture
def _small_memory() -> Iterator[None]:
    """A quarter of a gigabyte more than this process has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.usefixtures("_small_memory")
@pytest.mark.parametrize("name", BOMBS)
def test_a_pickle_that_would_grow_or_take_long_is_refused(name):
    with pytest.raises(DataError, match="it is no pickle") as caught:
        load_pickle(io.BytesIO(whole(BOMBS[name])))
    assert "MemoryError" not in str(caught.value)


@pytest.mark.parametrize("bad", [[("a", "<f8")], "<M8[s]"])
def test_an_npy_file_of_other_types_is_refused(bad):
    np.save(file := io.BytesIO(), np.zeros(2, np.dtype(bad)))  # type: ignore[call-overload]
    file.seek(0)
    with pytest.raises(DataError, match=r"it holds an array of .* which is refused"):
        load_npy(file)


@pytest.mark.parametrize(
    ("first", "count", "seconds"),
    [
        (7, 2000, 0),
        pytest.param(0, 20_000, 300, marks=[pytest.mark.soak, pytest.mark.timeout(1800)]),
    ],
)
def test_mutated_pickles_never_break_their_reader(tmp_path, first, count, seconds):
    """In processes of their own, which a crash would end."""
    current, end = tmp_path / "current", time.monotonic() + seconds
    for seed in itertools.count(first):
        words = [sys.executable, "-m", "tests.support.pickles", str(seed), str(count), str(current)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
        (size,) = struct.unpack("<I", current.read_bytes()[:4])
        assert done.returncode == 0, (seed, current.read_bytes()[4 : 4 + size], done.stderr)
        assert int(done.stdout) > count / 20  # some still hold a value
        if time.monotonic() >= end:
            break


def test_the_mutated_pickles_break_an_ordinary_reader():
    crafted = whole(call("builtins", "eval", text("1 + 1")))
    assert pickle.loads(crafted) == 2
    with pytest.raises(DataError, match=r"`builtins\.eval`, which is refused"):
        load_pickle(io.BytesIO(crafted))
