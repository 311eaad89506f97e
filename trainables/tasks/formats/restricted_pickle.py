"""Safe reader of untrusted pickles.

A pickle names the functions that rebuild its objects, so reading it may run any code. Published
data need few of these functions: those for NumPy's arrays, data types and numbers, and for plain
containers. The reader refuses every other name. It also refuses declared sizes without content,
because a pickle of ten bytes can request all memory.
"""

import codecs
import io
import math
import os
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Literal, cast

import numpy as np

from trainables.errors import DataError
from trainables.tasks.formats.files import BinaryFile, open_regular, shown

__all__ = ["load_npy", "load_pickle", "read_head"]

Encoding = Literal["ASCII", "latin1", "bytes"]

_PLAIN = (bool, complex, float, frozenset, int, list, set, str, tuple)
STEPS = {step.code.encode("latin1"): step for step in pickletools.opcodes}
LATIN = ("latin1", "latin-1", "iso-8859-1")


class _Array:
    """A substitute for `numpy.ndarray`, which a pickle names but never calls."""


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """Return the empty array that a pickle fills later.

    Raises:
        UnpicklingError: The pickle requests memory before its content.
    """
    if kind is not _Array or shape != (0,):
        asked = shown(repr(shape))
        raise pickle.UnpicklingError(f"it asks for an array of {asked} before its data")
    empty: np.ndarray = _REBUILD(np.ndarray, shape, code)
    return empty


def _encode(text: str, encoding: str) -> bytes:
    """Return bytes that Python 3 wrote for Python 2."""
    if encoding not in LATIN:
        raise pickle.UnpicklingError(f"it asks for the encoding {shown(repr(encoding))}")
    return codecs.encode(text, "latin1")


def _of_content(kind: Callable[..., Any]) -> Callable[..., Any]:
    """Return a constructor of bytes that accepts content and refuses a length."""

    def make(*content: Any) -> Any:
        if content and not isinstance(content[0], bytes | bytearray | str | list | tuple):
            raise pickle.UnpicklingError("it asks for bytes that it does not hold")
        return kind(*content)

    return make


_REBUILD: Any = np.zeros(1).__reduce__()[0]
_REBUILDERS: Mapping[str, Any] = {  # NumPy's own functions, in any version of NumPy
    "multiarray._reconstruct": _reconstruct,
    "multiarray.scalar": np.float64(0).__reduce__()[0],
    "numeric._frombuffer": np.zeros(1).__reduce_ex__(5)[0],
}
_ADMITTED: Mapping[str, Any] = MappingProxyType(
    {
        "numpy.ndarray": _Array,
        "numpy.dtype": np.dtype,
        "_codecs.encode": _encode,
        "collections.OrderedDict": OrderedDict,
    }
    | {
        f"{core}.{name}": f
        for core in ("numpy.core", "numpy._core")
        for name, f in _REBUILDERS.items()
    }
    | {
        f"{module}.{kind.__name__}": kind
        for module in ("builtins", "__builtin__")
        for kind in _PLAIN
    }
    | {
        f"{module}.{kind.__name__}": _of_content(kind)
        for module in ("builtins", "__builtin__")
        for kind in (bytes, bytearray)
    }
)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return the object of an allowed name.

        Raises:
            UnpicklingError: The name is not allowed.
        """
        if f"{module}.{name}" not in _ADMITTED:
            asked = shown(f"{module}.{name}")
            raise pickle.UnpicklingError(f"it asks for `{asked}`, which is refused")
        return _ADMITTED[f"{module}.{name}"]


def load_pickle(file: Path | BinaryFile, *, encoding: Encoding = "latin1") -> Any:
    """Return the content of a pickle of arrays, numbers, strings and containers.

    Args:
        file: A path, or a file that is open for reading bytes, for example in an archive.
        encoding: Encoding of strings from Python 2. Arrays from Python 2 need `latin1` or `bytes`.

    Raises:
        DataError: The file is no pickle, is truncated, or requests other objects.
    """
    if isinstance(file, Path):
        with open_regular(file) as opened:
            return load_pickle(opened, encoding=encoding)
    try:
        _check_lengths(file)
        return _Unpickler(file, encoding=encoding).load()
    except Exception as error:  # a damaged pickle may raise anything
        reason = shown(str(error)) or type(error).__name__
        what = f"no pickle of arrays and plain containers ({reason}; at byte {file.tell()})"
        raise _unreadable(file, what) from error


def _check_lengths(file: BinaryFile) -> None:
    """Check, opcode by opcode, that a pickle holds as many bytes as it declares.

    Raises:
        ValueError: The pickle is truncated, has an unknown opcode, or stores a value under a number
            that is larger than the number of its values. The unpickler would allocate memory for
            all lower numbers.
    """
    start, count = file.tell(), 0
    while True:
        code = file.read(1)
        step = STEPS.get(code)
        if step is None:
            raise ValueError("it is cut short" if not code else f"unknown opcode {code!r}")
        argument: Any = 0
        if step.name == "STRING":  # pickletools would decode it as ASCII
            if not file.readline().endswith(b"\n"):
                raise ValueError("it is cut short")
        elif step.arg is not None:
            argument = step.arg.reader(cast("IO[bytes]", file))
        count += 1
        if step.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > count:
            raise ValueError(f"it stores value number {argument} after {count} opcodes")
        if step.name == "STOP":
            break
    file.seek(start)


def load_npy(file: Path | BinaryFile, *, encoding: Encoding = "latin1") -> np.ndarray:
    """Return the array of a .npy file. It may hold objects, which NumPy stores as a pickle.

    Raises:
        DataError: The file is no .npy file, is truncated, or its pickle requests other objects.
    """
    if isinstance(file, Path):
        with open_regular(file) as opened:
            return load_npy(opened, encoding=encoding)
    try:
        shape, fortran, dtype = read_head(file)
        if not dtype.hasobject:
            return _read_numbers(file, shape, fortran, dtype)
    except Exception as error:  # a damaged file may raise anything
        reason = shown(str(error)) or type(error).__name__
        raise _unreadable(file, f"no .npy file ({reason}; at byte {file.tell()})") from error
    objects = load_pickle(file, encoding=encoding)
    if not isinstance(objects, np.ndarray) or objects.shape != shape:
        raise _unreadable(file, f"no array of shape {list(shape)}, as its head says")
    return objects


def read_head(file: BinaryFile) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of a .npy file.

    Returns:
        Shape, True for Fortran order, and type.

    Raises:
        ValueError: The file has no valid header.
    """
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its version is {version}")
    one = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if one else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    return shape, fortran, dtype


def _read_numbers(
    file: BinaryFile, shape: tuple[int, ...], fortran: bool, dtype: np.dtype
) -> np.ndarray:
    declared = math.prod(shape) * dtype.itemsize
    if any(length < 0 for length in shape) or not dtype.itemsize:
        raise ValueError(f"its head declares {dtype}{list(shape)}")
    there = declared
    if isinstance(file, io.BufferedReader):  # its `read` would allocate all declared bytes
        there = os.fstat(file.fileno()).st_size - file.tell()
    content = file.read(min(there, declared))
    if len(content) < declared:
        raise ValueError(
            f"it was cut short: its head declares {declared} bytes of numbers, but {len(content)} "
            "are there"
        )
    array = np.frombuffer(content, dtype=dtype, count=math.prod(shape))
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _unreadable(file: BinaryFile, what: str) -> DataError:
    name = getattr(file, "name", "a file in an archive")
    return DataError(f"{name}: it is {what}. Fetch the published file again.")
