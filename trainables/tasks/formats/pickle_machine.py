"""An interpreter of pickles that makes plain values, and calls nothing that a pickle names.

`pickletools` parses the opcodes. Those that Python writes for plain containers and for arrays have
a rule here; every other one is refused.
"""

import codecs
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from trainables.tasks.formats.files import BinaryFile, shown
from trainables.tasks.formats.pickled_values import CALLS, ArrayOf, Limits, Name, TypeOf, check_key

MAX_DEPTH = 64  # of nested containers, as of NumPy's lists
MAX_MARKS = 1000  # of containers that are begun
MAX_BITS = 2048  # of a whole number
ALWAYS, GROWTH = 2**24, 8  # maximal size if each mention of a value counts, also per stored byte
MODULES = {  # of Python 2, and of NumPy before version 2
    "__builtin__": "builtins",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
}
LEAVES = frozenset({bool, complex, float, int, type(None)})
_UNSET = object()


def read_pickle(file: BinaryFile) -> Any:
    """Return the value of a pickle. Strings of Python 2 are decoded as Latin-1.

    Args:
        file: A file at the beginning of a pickle. It raises where a read exceeds its content.

    Raises:
        ValueError: The pickle is damaged, asks for other values, or exceeds a limit. A damaged
            pickle may raise other errors, too.
    """
    machine = _Machine(file)
    try:
        while (code := file.read(1)) != b".":
            if code not in _RULES:
                raise ValueError(_no_rule(code))
            read, rule = _RULES[code]
            machine.steps += 1
            rule(machine, read(file) if read else None)
    except IndexError as error:
        raise ValueError("it takes more values than it has made") from error
    if machine.below or len(machine.stack) != 1:
        raise ValueError("it ends with more or less than one value")
    (value,) = machine.stack
    # A few bytes may mention one large value many times. A copy of the result would multiply it.
    _Whole(ALWAYS + GROWTH * machine.limits.read).measure(value, MAX_DEPTH)
    return value


def _no_rule(code: bytes) -> str:
    if not code:
        return "it is cut short"
    known = {each.code.encode("latin1"): each.name for each in pickletools.opcodes}
    return (
        f"it uses {known[code]}, which is refused" if code in known else f"unknown opcode {code!r}"
    )


class _Machine:
    """The stack, the memo and the limits of a pickle that is being read."""

    def __init__(self, file: BinaryFile) -> None:
        self.limits, self.steps = Limits(file), 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stack below each mark
        self.memo: list[Any] = []

    def push(self, value: object) -> None:
        self.stack.append(value)

    def push_number(self, value: int) -> None:
        if value.bit_length() > MAX_BITS:
            raise ValueError(f"it holds a whole number of {value.bit_length()} bits")
        self.stack.append(value)

    def push_made(self, value: object) -> None:
        self.limits.count("values")
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        """Take the last values."""
        return [self.stack.pop() for _ in range(count)][::-1]

    def mark(self) -> None:
        if len(self.below) == MAX_MARKS:
            raise ValueError(f"it nests more than {MAX_MARKS} values")
        self.below.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """Take the values above the last mark."""
        values, self.stack = self.stack, self.below.pop()
        return values

    def append(self, values: list[Any]) -> None:
        self._target(list).extend(values)

    def insert(self, values: list[Any]) -> None:
        target = self._target(dict, OrderedDict)
        if len(values) % 2:
            raise ValueError("it has a key without a value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            check_key(key, self.limits)
            target[key] = value

    def add(self, values: list[Any]) -> None:
        target = self._target(set)
        for value in values:
            check_key(value, self.limits)
            target.add(value)

    def _target(self, *kinds: type) -> Any:
        if type(self.stack[-1]) not in kinds:
            raise ValueError(f"it adds to a value that is no {kinds[0].__name__}")
        return self.stack[-1]

    def put(self, index: int) -> None:
        if not 0 <= index <= self.steps:  # a place in the list for each opcode at most
            raise ValueError(f"it stores value number {index} after {self.steps} opcodes")
        self.memo += [_UNSET] * (index + 1 - len(self.memo))
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        value = self.memo[index] if 0 <= index < len(self.memo) else _UNSET
        if value is _UNSET:
            raise ValueError(f"it has no value number {index}")
        # BUILD puts the array on the stack, while the memo still has its description.
        filled = value.array if isinstance(value, ArrayOf) else None
        self.stack.append(value if filled is None else filled)

    def name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise ValueError("it asks for a name that is no text")
        known = f"{MODULES.get(module, module)}.{name}"
        if known not in CALLS and known != "numpy.ndarray":
            raise ValueError(f"it asks for `{shown(f'{module}.{name}')}`, which is refused")
        self.push_made(Name(known))

    def call(self) -> None:
        called, arguments = self.pop(2)
        call = CALLS.get(called.text) if isinstance(called, Name) else None
        if call is None or type(arguments) is not tuple:
            raise ValueError("it calls what is no function")
        try:
            self.push_made(call(self.limits, *arguments))
        except TypeError as error:
            raise ValueError(f"it calls `{called.text}` with other values than known") from error

    def build(self) -> None:
        target, state = self.pop(2)
        if not isinstance(target, ArrayOf | TypeOf) or type(state) is not tuple:
            raise ValueError(f"it sets the state of a value of type {type(target).__name__}")
        self.stack.append(target.build(state, self.limits))


class _Whole:
    """A check that a value does not hold itself, and stays small if each mention counts."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[int, tuple[int, int]] = {}  # size and height of containers, by identity

    def measure(self, value: Any, depth: int) -> tuple[int, int]:
        """Return the size and the height of a value.

        Raises:
            ValueError: It is too large, too deep, or no plain value.
        """
        kind = type(value)
        if kind in LEAVES:
            return 1, 0
        if kind in (str, bytes, bytearray):
            return 1 + len(value), 0
        if isinstance(value, np.generic) or (kind is np.ndarray and not value.dtype.hasobject):
            return 1 + value.nbytes, 0
        size, height = self._known.get(id(value)) or self._measure_parts(value, depth)
        if height > depth:
            raise ValueError(f"it nests more than {MAX_DEPTH} values, or one in itself")
        return size, height

    def _measure_parts(self, value: Any, depth: int) -> tuple[int, int]:
        size, height = 1, 1
        self._known[id(value)] = (1, MAX_DEPTH + 1)  # too high to occur in itself
        for part in _parts(value) if depth else ():
            part_size, part_height = self.measure(part, depth - 1)
            size, height = size + part_size, max(height, 1 + part_height)
            if size > self._most:
                raise ValueError(f"it mentions its values so often that they exceed {self._most}")
        self._known[id(value)] = (size, height)
        return size, height


def _parts(value: Any) -> Iterable[Any]:
    kind = type(value)
    if kind in (dict, OrderedDict):
        return (part for pair in value.items() for part in pair)
    if kind is np.ndarray:
        return cast("Iterable[Any]", value.flat)
    if kind not in (list, tuple, set, frozenset):
        raise ValueError(f"it holds a value of type {kind.__name__}, which is refused")
    return cast("Iterable[Any]", value)


def _read_string(file: Any) -> str:
    # Python 2 wrote strings as literals with escapes, of which `pickletools` decodes ASCII alone.
    escaped = pickletools.read_stringnl(file, decode=False)
    return codecs.escape_decode(escaped)[0].decode("latin1")


def _make_dict(machine: _Machine, _: object) -> None:
    values = machine.marked()
    machine.push_made({})
    machine.insert(values)


def _make_frozenset(machine: _Machine, _: object) -> None:
    values = machine.marked()
    machine.push_made(set())
    machine.add(values)
    machine.push(frozenset(*machine.pop(1)))


Rule = Callable[[_Machine, Any], object]
_BY_NAME: Mapping[str, Rule] = {
    # LONG1 has at most 255 bytes, so that no number of these exceeds `MAX_BITS`.
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "FLOAT", "BINFLOAT"), _Machine.push),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"), _Machine.push),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"), _Machine.push),
    **dict.fromkeys(("INT", "LONG", "LONG4"), _Machine.push_number),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), _Machine.push),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    # The rules hold for every protocol, and a frame only says how much to read ahead.
    **dict.fromkeys(("PROTO", "FRAME"), lambda *_: None),
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_LIST": lambda machine, _: machine.push_made([]),
    "EMPTY_DICT": lambda machine, _: machine.push_made({}),
    "EMPTY_SET": lambda machine, _: machine.push_made(set()),
    "TUPLE1": lambda machine, _: machine.push_made(tuple(machine.pop(1))),
    "TUPLE2": lambda machine, _: machine.push_made(tuple(machine.pop(2))),
    "TUPLE3": lambda machine, _: machine.push_made(tuple(machine.pop(3))),
    "MARK": lambda machine, _: machine.mark(),
    "TUPLE": lambda machine, _: machine.push_made(tuple(machine.marked())),
    "LIST": lambda machine, _: machine.push_made(machine.marked()),
    "DICT": _make_dict,
    "FROZENSET": _make_frozenset,
    "APPEND": lambda machine, _: machine.append(machine.pop(1)),
    "APPENDS": lambda machine, _: machine.append(machine.marked()),
    "SETITEM": lambda machine, _: machine.insert(machine.pop(2)),
    "SETITEMS": lambda machine, _: machine.insert(machine.marked()),
    "ADDITEMS": lambda machine, _: machine.add(machine.marked()),
    "GLOBAL": lambda machine, names: machine.name(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.name(*machine.pop(2)),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
}
_READERS: Mapping[str, Any] = {
    each.name: each.arg and each.arg.reader for each in pickletools.opcodes
} | {"STRING": _read_string}
_RULES: Mapping[bytes, tuple[Any, Rule]] = MappingProxyType(
    {
        each.code.encode("latin1"): (_READERS[each.name], _BY_NAME[each.name])
        for each in pickletools.opcodes
        if each.name in _BY_NAME
    }
)
