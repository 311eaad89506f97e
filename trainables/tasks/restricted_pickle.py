"""Pickles of other people, opened without running them.

A pickle names the functions that rebuild it, so that reading one may run anything. Published data
need few of them: those that rebuild NumPy's arrays, data types and numbers, and the plain
containers. Every other name is refused.
"""

import codecs
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Literal, Protocol, runtime_checkable

import numpy as np

from trainables.errors import DataError
from trainables.tasks.archives import Stream

__all__ = ["load_npy", "load_pickle"]

Encoding = Literal["ASCII", "latin1", "bytes"]

_PLAIN = (bool, bytearray, bytes, complex, float, frozenset, int, list, set, str, tuple)
_REBUILDERS: Mapping[str, Any] = {  # NumPy's own, whatever it calls their module today
    "multiarray._reconstruct": np.zeros(1).__reduce__()[0],
    "multiarray.scalar": np.float64(0).__reduce__()[0],
    "numeric._frombuffer": np.zeros(1).__reduce_ex__(5)[0],
}
_ADMITTED: Mapping[str, Any] = MappingProxyType(
    {
        "numpy.ndarray": np.ndarray,
        "numpy.dtype": np.dtype,
        "_codecs.encode": codecs.encode,  # how Python 3 writes bytes for Python 2
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
)


@runtime_checkable
class BinaryFile(Stream, Protocol):
    """A file that is open for reading bytes, be it in an archive."""

    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Returns what an admitted name stands for.

        Raises:
            UnpicklingError: The name is not admitted.
        """
        if f"{module}.{name}" not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for `{module}.{name}`, which is refused")
        return _ADMITTED[f"{module}.{name}"]


def load_pickle(file: Path | Stream, *, encoding: Encoding = "latin1") -> Any:
    """Returns what a pickle of arrays, numbers, strings and containers holds.

    Args:
        file: A path, or a file that is open for reading bytes (of an archive, say).
        encoding: Of the strings that Python 2 wrote; arrays of Python 2 need `latin1` or `bytes`.

    Raises:
        DataError: It is no pickle, is cut short, or asks for anything else.
    """
    if isinstance(file, Path):
        with _opened(file) as opened:
            return load_pickle(opened, encoding=encoding)
    try:
        return _Unpickler(file, encoding=encoding).load()
    except Exception as error:  # a damaged pickle may raise anything
        reason = str(error) or type(error).__name__
        raise _unreadable(file, f"no pickle of arrays and plain containers ({reason})") from error


def load_npy(file: Path | BinaryFile, *, encoding: Encoding = "latin1") -> np.ndarray:
    """Returns the array of a .npy file, also one of objects, which NumPy stores as a pickle.

    Raises:
        DataError: It is no .npy file, is cut short, or its pickle asks for what is refused.
    """
    if isinstance(file, Path):
        with _opened(file) as opened:
            return load_npy(opened, encoding=encoding)
    try:
        start = file.tell()
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"its version is {version}")
        one = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if one else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if not dtype.hasobject:
            file.seek(start)
            array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
            return array
    except Exception as error:
        raise _unreadable(file, f"no .npy file ({error})") from error
    objects = load_pickle(file, encoding=encoding)
    if not isinstance(objects, np.ndarray) or objects.shape != shape:
        raise _unreadable(file, f"no array of shape {list(shape)}, as its head says")
    return objects


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: it cannot be read ({error.strerror}).") from error


def _unreadable(file: Stream, what: str) -> DataError:
    name = getattr(file, "name", "a file in an archive")
    return DataError(f"{name}: it is {what}. Fetch the published file again.")
