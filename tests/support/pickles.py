"""Crafted and mutated pickles, and a check of what the reader makes of them.

`python -m tests.support.pickles SEED COUNT FILE` reads COUNT mutated pickles. The one that is being
read lies in FILE, so that it is known after a crash.
"""

import io
import mmap
import pickle
import pickletools
import random
import struct
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trainables.errors import DataError
from trainables.tasks.formats.restricted_pickle import load_npy, load_pickle

PLAIN = (bool, int, float, complex, str, bytes, bytearray, type(None))
CONTAINERS = (list, tuple, dict, OrderedDict, set, frozenset)
SIZE = 2**16  # of a mutated pickle
NUMBERS = (0, 1, -1, 255, 2**28, 2**31 - 1, 2**40, 2**61 - 1, 2**63 - 1)

NONE, TRUE, FALSE = b"N", b"\x88", b"\x89"


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def held(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def group(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return named(module, name) + group(*arguments) + b"R"


def kind(
    name: str,
    *,
    order: str = "<",
    parts: bytes = NONE * 3,
    tail: tuple[int, int, int] = (-1, -1, 0),
) -> bytes:
    """A type of NumPy with a state: its order, its subarray, names and fields, and the rest."""
    state = group(number(3), text(order), parts, *map(number, tail))
    return call("numpy", "dtype", text(name), FALSE, TRUE) + state + b"b"


def array(of: bytes, shape: tuple[int, ...], content: bytes, *, version: int = 1) -> bytes:
    """An array as NumPy writes it before protocol 5."""
    empty = call(
        "numpy.core.multiarray",
        "_reconstruct",
        named("numpy", "ndarray"),
        group(number(0)),
        held(b"b"),
    )
    return empty + group(number(version), group(*map(number, shape)), of, FALSE, content) + b"b"


def whole(*parts: bytes) -> bytes:
    return b"\x80\x05" + b"".join(parts) + b"."


def honest() -> list[object]:
    """One value of each kind that the reader makes."""
    noise = np.random.default_rng(0)
    names = ["?", "i1", "u1", ">i4", "f2", ">f8", "F", "g"]
    numbers = [np.arange(12).reshape(3, 4).astype(name) for name in names]
    arrays = [
        *numbers,
        *(np.array(["ab", "é", ""]), np.array([b"x", b"yy"]), np.frombuffer(b"abcdefgh", "V4")),
        *(np.array([True, False]), np.array(3.0), np.zeros((0, 5)), np.array(["x"], ">U3")),
        *(np.asfortranarray(noise.normal(size=(3, 4))), noise.normal(size=(4, 6))[::2, ::3]),
        np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
        np.array([1, "a", None, np.arange(3)], dtype=object),
        np.asfortranarray(np.array([[1, 2], [3, "x"]], dtype=object)),
        np.array({"data": np.arange(3)}, dtype=object),
    ]
    scalars = [np.ones(1, name)[0] for name in [*names, "f8", "U2", "S2"]]
    empty = [np.str_(), np.bytes_(), "", b"", bytearray(), [], (), {}, set(), frozenset()]
    shared = [1, 2.5, "é\n\\x'", 2**70]
    plain = [None, True, 1j, -(2**31), b"\x00\xff", bytearray(b"z"), "\ud800", {1, "a"}]
    tied = {"a": shared, "b": (shared, arrays[0]), (1, "x"): frozenset({(1, 2)}), None: [["N"] * 3]}
    return [*arrays, *scalars, *empty, *plain, tied, OrderedDict(a=arrays, b=scalars), empty]


def written() -> list[bytes]:
    """The pickles of honest values by every protocol, .npy files, and a crafted pickle."""
    pickles = [pickle.dumps(value, protocol) for value in honest() for protocol in range(6)]
    for value in honest():
        if isinstance(value, np.ndarray):
            np.save(file := io.BytesIO(), value)
            pickles.append(file.getvalue())
    crafted = whole(array(kind("O8", order="|"), (40,), held(b"A" * 320)))
    return [*pickles, crafted]


def mutated(seed: int, count: int) -> Iterator[bytes]:
    """Yield pickles with changed bytes, or with changed, doubled and foreign opcodes."""
    chance = random.Random(seed)
    sources = written()
    split = [parts for parts in map(_opcodes, sources) if parts]
    pool = sorted({part for parts in split for part in parts if len(part) < 200})
    pool += [each.code.encode("latin1") for each in pickletools.opcodes] + [*map(number, NUMBERS)]
    for _ in range(count):
        if chance.random() < 0.75:
            parts = list(chance.choice(split))
            for _ in range(chance.choice((1, 1, 2, 3, 6, 12))):
                place = chance.randrange(len(parts) + 1)
                other = chance.choice(split)
                first = chance.randrange(len(other))
                new = chance.choice(([], [chance.choice(pool)], other[first : first + 20]))
                parts[place : place + chance.randrange(2)] = new
            yield b"".join(parts)[:SIZE]
        else:
            content = bytearray(chance.choice(sources))
            for _ in range(chance.choice((1, 2, 4, 8))):
                place = chance.randrange(len(content) + 1)
                content[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
            yield bytes(content)[:SIZE]


def _opcodes(content: bytes) -> list[bytes]:
    """Split a pickle at its opcodes."""
    try:
        places = [place for *_, place in pickletools.genops(content)]
    except Exception:  # a .npy file
        return []
    return [content[a:b] for a, b in zip(places, [*places[1:], len(content)], strict=True)]


def check_value(value: object, seen: set[int]) -> None:
    """Assert that a value and its parts are of the allowed types, and can be used."""
    if isinstance(value, np.generic | np.ndarray):
        assert type(value) is np.ndarray or isinstance(value, np.generic)
        assert value.dtype.kind in "biufcSUVO"
        assert value.dtype.names is None
    else:
        assert type(value) in PLAIN + CONTAINERS
    if id(value) in seen or type(value) in PLAIN:
        return
    seen.add(id(value))
    if type(value) in (dict, OrderedDict):
        assert isinstance(value, dict)
        value = [*value, *value.values()]
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        value.tolist(), value.tobytes(), value.view(), repr(value)
    elif isinstance(value, np.ndarray | list | tuple | set | frozenset):
        for part in value.flat if isinstance(value, np.ndarray) else value:
            check_value(part, seen)


def check(content: bytes) -> bool:
    """Assert that the readers refuse a pickle or give allowed values, and return if any does."""
    given = False
    for read in (load_pickle, load_npy):
        try:
            value = read(io.BytesIO(content))
        except DataError:
            continue
        check_value(value, set())
        assert repr(value)
        given = True
    return given


def main(seed: int, count: int, path: Path) -> None:
    """Check mutated pickles, and print how many gave a value."""
    path.write_bytes(bytes(SIZE + 4))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), SIZE + 4) as current:
        given = 0
        for content in mutated(seed, count):
            current[: len(content) + 4] = struct.pack("<I", len(content)) + content
            given += check(content)
    print(given)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
