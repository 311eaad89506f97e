"""Arrays, types of NumPy and containers, as pickles describe them by calls.

A pickle describes an array by the function that makes it and by a state. No function that a pickle
names is called: the descriptions that NumPy and Python write are recognised as a whole, and their
values are made from checked bytes, shapes and names of types.
"""

import math
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from trainables.tasks.formats.files import BinaryFile, shown

LATIN = ("latin1", "latin-1", "iso-8859-1")
TYPE = re.compile(r"b1|[iufc]\d{1,2}|[SUV]\d{1,9}|O[48]?")
NUMBERS = "biufcSUV"  # kinds of types without objects and dates
MAX_AXES = 64  # of NumPy's arrays
MAX_EMPTY = 2**24  # maximal product of the other lengths of an empty array
MAX_KEY = 2**16  # maximal length of a key
MAX_HASHED = 2**61 - 1  # smaller whole numbers have distinct hashes
COPIES = 4  # of each byte at most: text, bytes, an array, and one to spare
MAX_MADE: Mapping[str, int] = MappingProxyType(
    # Nested arrays of objects are freed recursively. Tuples of numbers can be made of one hash.
    {"values": 5_000_000, "arrays of objects": 1000, "keys of several values": 10_000}
)


class Limits:
    """Limits of what one pickle may make. Each method raises ValueError beyond them."""

    def __init__(self, file: BinaryFile) -> None:
        self._file, self._start, self._used = file, file.tell(), 0
        self._made: Counter[str] = Counter()

    @property
    def read(self) -> int:
        """The bytes of the pickle so far."""
        return self._file.tell() - self._start

    def use(self, size: int) -> None:
        """Count bytes or elements that are checked or copied."""
        self._used += size
        if self._used > COPIES * self.read:
            raise ValueError(f"it uses {self.read} bytes again and again")

    def count(self, what: str) -> None:
        """Count a value of a kind in `MAX_MADE`."""
        self._made[what] += 1
        if self._made[what] > MAX_MADE[what]:
            raise ValueError(f"it holds more than {MAX_MADE[what]:,} {what}")


@dataclass(frozen=True)
class Name:
    """The name of a function or a type."""

    text: str


@dataclass(eq=False)
class TypeOf:
    """A type of NumPy. Its state sets its byte order."""

    dtype: np.dtype

    def build(self, state: Any, limits: Limits) -> "TypeOf":
        """Set the byte order.

        Raises:
            ValueError: The state says more than NumPy writes.
        """
        # A state with fields or flags could make bytes of the file into pointers. It is compared as
        # a whole, and its byte order alone is taken over.
        plain = all(type(part) in (int, str, bytes, type(None)) for part in state)
        version, order, *rest = state if plain else (0, "")
        own: Any = self.dtype.__reduce__()[2]
        flags = {0, own[-1]}  # NumPy of Python 2 wrote 0 for text
        if version != 3 or rest[:-1] != list(own[2:-1]) or rest[-1] not in flags:
            raise ValueError(f"it changes the type {self.dtype}, which is refused")
        self.dtype = self.dtype.newbyteorder(_ascii(order))  # type: ignore[arg-type]
        return self


@dataclass(eq=False)
class ArrayOf:
    """An array, which its state fills."""

    array: np.ndarray | None = None

    def build(self, state: Any, limits: Limits) -> np.ndarray:
        """Return the array of a state.

        Raises:
            ValueError: The state is not as NumPy writes it, or its bytes do not fill the shape.
        """
        version, shape, kind, fortran, content = state
        if version != 1 or self.array is not None:
            raise ValueError("it changes an array, which is refused")
        if isinstance(kind, TypeOf) and kind.dtype.hasobject:
            self.array = _objects(content, shape, limits)
        else:
            stored = _numbers(content, kind, shape, "F" if fortran else "C", limits)
            self.array = stored.astype(stored.dtype.newbyteorder("="), copy=False)  # as NumPy does
        return self.array


def check_key(key: object, limits: Limits) -> None:
    """Check a key of a dictionary or a member of a set.

    Raises:
        ValueError: Its hash or its comparison may take long.
    """
    if type(key) is str and len(key) <= MAX_KEY:
        return
    if type(key) is tuple or isinstance(key, np.generic):
        limits.count("keys of several values")
    parts = key if type(key) is tuple else (key,)
    if not all(map(_is_plain, parts)) or len(parts) > MAX_KEY:
        raise ValueError(f"it has a key of type {type(key).__name__}, which is refused")


def _is_plain(part: object) -> bool:
    if isinstance(part, str | bytes):
        return len(part) <= MAX_KEY
    if type(part) is int:
        return abs(part) < MAX_HASHED
    return part is None or isinstance(part, float | bool | np.bool_ | np.integer | np.floating)


def check_numbers(array: np.ndarray) -> np.ndarray:
    """Return an array of numbers, text or bytes.

    Raises:
        ValueError: It has fields or objects, or its bytes are no text or no booleans.
    """
    dtype = array.dtype
    if dtype.kind not in NUMBERS or dtype.names is not None:
        raise ValueError(f"it holds an array of {shown(str(dtype))}, which is refused")
    # NumPy relies on both: it counts other booleans wrongly, and cannot read other text.
    most, unit = {"b": (1, "u1"), "U": (0x10FFFF, "u4")}.get(dtype.kind, (0, ""))
    if most and array.size:
        codes = array.reshape(-1, order="A").view(np.dtype(unit).newbyteorder(dtype.byteorder))
        if codes.max() > most:
            raise ValueError(f"it holds bytes that are no {dtype}")
    return array


def _numbers(content: Any, kind: Any, shape: Any, order: Any, limits: Limits) -> np.ndarray:
    stored, size = _bytes(content, limits), _size(shape)
    if not isinstance(kind, TypeOf) or kind.dtype.hasobject or not kind.dtype.itemsize:
        raise ValueError("it describes an array as NumPy does not")
    if len(stored) != size * kind.dtype.itemsize:
        raise ValueError(f"an array {kind.dtype}{list(shape)} has {len(stored)} bytes")
    limits.use(len(stored))
    return check_numbers(np.ndarray(shape, kind.dtype, stored, order=order))


def _objects(content: Any, shape: Any, limits: Limits) -> np.ndarray:
    size = _size(shape)
    if type(content) is not list or len(content) != size:
        raise ValueError(f"an array of {size} objects has no list of them")
    limits.count("arrays of objects")
    limits.use(size)
    # `np.array` would make further axes of lists among the objects.
    return np.fromiter(content, object, size).reshape(shape)


def _size(shape: Any) -> int:
    """Return the number of elements of a shape."""
    if type(shape) is not tuple or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError("it asks for an array whose shape is no lengths")
    if len(shape) > MAX_AXES:  # the product of many lengths takes hours
        raise ValueError(f"it asks for an array of {len(shape)} axes")
    if 0 in shape and math.prod(n for n in shape if n) > MAX_EMPTY:
        raise ValueError(f"it asks for an empty array of {shown(str(list(shape)))}")
    return math.prod(shape)


def _bytes(content: object, limits: Limits) -> bytes | bytearray:
    """Return bytes that may be stored as text, by Python 2 or for it."""
    if type(content) is str:
        limits.use(len(content))
        return content.encode("latin1")
    if not isinstance(content, bytes | bytearray):
        raise ValueError("it asks for bytes that it does not hold")
    return content


def _ascii(text: object) -> str:
    """Return a short text of Python 2 or 3, and other values as no text."""
    if isinstance(text, bytes):
        return text.decode("ascii")
    return text if isinstance(text, str) else ""


def _type(limits: Limits, text: object, aligned: object, copied: object) -> TypeOf:
    del limits, aligned, copied  # of use for fields alone
    name = _ascii(text)
    if not TYPE.fullmatch(name):
        raise ValueError(f"it asks for the type `{shown(name)}`, which is refused")
    return TypeOf(np.dtype("O" if name.startswith("O") else name))


def _reconstruct(limits: Limits, kind: object, shape: object, code: object) -> ArrayOf:
    if kind != Name("numpy.ndarray") or shape != (0,) or _bytes(code, limits) != b"b":
        raise ValueError("it asks for an array before its data")
    return ArrayOf()


def _scalar(limits: Limits, kind: object, content: object) -> object:
    # The type of an empty text has no size, and `_numbers` would refuse it.
    if isinstance(kind, TypeOf) and kind.dtype.str[1:] in ("U0", "S0") and not content:
        return kind.dtype.type()
    return _numbers(content, kind, (), "C", limits)[()]


def _from_buffer(
    limits: Limits, content: Any, kind: Any, shape: Any, order: Any, axes: Any = None
) -> np.ndarray:
    # NumPy writes the order of the axes for K alone.
    if order not in ("C", "F", "K") or (order == "K") != (type(axes) is tuple):
        raise ValueError("it asks for an array of another order")
    array = _numbers(content, kind, shape, "F" if order == "F" else "C", limits)
    return array if axes is None else array.transpose(axes)


def _encode(limits: Limits, text: object, encoding: object) -> bytes | bytearray:
    if encoding not in LATIN:
        raise ValueError("it asks for another encoding than Latin-1")
    return _bytes(text, limits)


def _content(limits: Limits, content: object = b"", encoding: object = "latin1") -> bytes:
    """Return the content of bytes. A length alone is refused."""
    made = _encode(limits, content, encoding)
    limits.use(len(made))
    return bytes(made)


def _complex(limits: Limits, real: object, imaginary: object) -> complex:
    if not isinstance(real, float) or not isinstance(imaginary, float):
        raise ValueError("it asks for a complex number of other values")
    return complex(real, imaginary)


def _members(limits: Limits, members: object = ()) -> Sequence[object]:
    """Return the values in the call of a container."""
    if not isinstance(members, list | tuple):
        raise ValueError("it asks for a container of other values")
    limits.use(len(members))
    return members


def _keys(limits: Limits, *members: object) -> Sequence[object]:
    found = _members(limits, *members)
    for member in found:
        check_key(member, limits)
    return found


def _ordered(limits: Limits, *pairs: object) -> OrderedDict[object, object]:
    """Return the dictionary of pairs that Python 2 wrote."""
    made: OrderedDict[object, object] = OrderedDict()
    for pair in _members(limits, *pairs):
        key, value = _members(limits, pair)
        check_key(key, limits)
        made[key] = value
    return made


CALLS: Mapping[str, Callable[..., object]] = MappingProxyType(
    {
        "numpy.dtype": _type,
        "numpy._core.multiarray._reconstruct": _reconstruct,
        "numpy._core.multiarray.scalar": _scalar,
        "numpy._core.numeric._frombuffer": _from_buffer,
        "_codecs.encode": _encode,
        "collections.OrderedDict": _ordered,
        "builtins.bytearray": lambda limits, *content: bytearray(_content(limits, *content)),
        "builtins.bytes": _content,
        "builtins.complex": _complex,
        "builtins.frozenset": lambda limits, *members: frozenset(_keys(limits, *members)),
        "builtins.set": lambda limits, *members: set(_keys(limits, *members)),
    }
)
