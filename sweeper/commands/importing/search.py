"""A search of another tool in the words of a sweep file, and what such a file cannot say."""

import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeper.errors import FileFaults
from sweeper.spec.distributions import Choice, Distribution, Float, Int
from sweeper.spec.faults import shown
from sweeper.spec.node import Node, Scalar
from sweeper.spec.reader import parse, read_text

# Names that a sweep file has for itself.
RESERVED = {"epochs": "num_epochs", "seed": "seed_", "folder": "folder_", "data": "data_"}
SHELL = re.compile(r"[|&;<>$`*?~#\n]")  # what only a shell understands
WIDE = 3.0  # standard deviations of the range in place of a normal distribution
ONE_METRIC = "one metric is followed, until the budget ends"


class Part:
    """A mapping in a file of another tool. It remembers which of its keys were read.

    A value of another kind than a method returns is a fault at its line (`FileFaults`).
    """

    def __init__(self, node: Node) -> None:
        self._node, self._read = node, set[str]()

    @classmethod
    def of_file(cls, path: Path, tool: str) -> "Part":
        """Return the content of a YAML or JSON file."""
        return cls(parse(read_text(path), str(path), needs=f"expected a file of {tool}."))

    def scalar(self, key: str) -> Scalar:
        """Return a scalar, or None."""
        value = self._value(key)
        if isinstance(value, dict | list):
            raise self._fault(key, "a single value")
        return value

    def text(self, key: str) -> str:
        """Return a scalar as text; "" without one."""
        return "" if (value := self.scalar(key)) is None else str(value)

    def number(self, key: str) -> int | float | None:
        """Return a number, which may be quoted, or None."""
        value = self.scalar(key)
        if isinstance(value, str):
            value = number_in(value)
        elif value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._fault(key, "a number")
        return value

    def whole(self, key: str) -> int | None:
        """Return a positive integer, or None."""
        value = self.number(key)
        return None if value is None else max(1, round(value))

    def values(self, key: str) -> list[Any] | None:
        """Return a list as plain data, or None."""
        value = self._value(key)
        if value is not None and not isinstance(value, list):
            raise self._fault(key, "a list")
        return None if value is None else [each.plain() for each in value]

    def part(self, key: str) -> "Part":
        """Return a mapping, which is empty where there is none."""
        value = self._value(key)
        if value is not None and not isinstance(value, dict):
            raise self._fault(key, "a mapping")
        return Part(self._node.child(key))

    def parts(self, key: str) -> Iterator["Part"]:
        """Yield the mappings of a list."""
        value = self._value(key)
        for each in value if isinstance(value, list) else ():
            yield Part(each)

    def __contains__(self, key: str) -> bool:
        return key in self._node.children()

    def __iter__(self) -> Iterator[str]:
        return iter(self._node.children())

    def is_part(self, key: str) -> bool:
        """Return whether a key has a mapping."""
        return isinstance(self._node.child(key).value, dict) and key in self

    @property
    def rest(self) -> list[str]:
        """The keys that were not read."""
        return [key for key in self if key not in self._read]

    def plain(self, key: str) -> Any:
        """Return whatever a key has as plain data."""
        self._read.add(key)
        return self._node.child(key).plain() if key in self else None

    def _value(self, key: str) -> Scalar | dict[str, Node] | list[Node]:
        self._read.add(key)
        return self._node.child(key).value if key in self else None

    def _fault(self, key: str, wanted: str) -> FileFaults:
        node = self._node.child(key)
        message = f"`{key}` must be {wanted}, but got {shown(node.plain())}."
        return FileFaults([node.origin.fault(message)])


def number_in(text: Any) -> int | float | None:
    """Return the finite number that a text has, or None."""
    # Integers come first, because two whole bounds make a range of integers.
    for kind in (int, float):
        with suppress(TypeError, ValueError):
            return found if math.isfinite(found := kind(text)) else None
    return None


def without_shell(text: str) -> list[str] | None:
    """Return the words of a command for a shell, or None if it uses what only a shell knows."""
    try:
        return None if SHELL.search(text) else shlex.split(text)
    except ValueError:  # a quotation without an end
        return None


@dataclass(kw_only=True)
class ImportedSearch:
    """A search as a sweep file has it. Readers fill it, and say what they drop and why.

    Attributes:
        tool: The other tool.
        name: Its name there.
        command: The words of the program, in which {NAME} is a parameter; empty: none is named.
        options: The word by which a parameter is passed where the source does not spell it out;
            "": none, for the program reads SWEEPER_PARAMS.
        metric: The reported value.
        is_maximised: Whether larger values of it are better.
        steps: Reports of a whole trial.
        parameters: What is searched.
        fixed: What is not.
        settings: Other keys of a sweep file, by section.
        dropped: What is not taken over: the place in the source, and the reason.
    """

    tool: str
    name: str = ""
    command: list[str] = field(default_factory=list)
    options: str = "--{name}={value}"
    metric: str = ""
    is_maximised: bool = False
    steps: int | None = None
    parameters: dict[str, Distribution] = field(default_factory=dict)
    fixed: dict[str, Scalar] = field(default_factory=dict)
    settings: dict[str, dict[str, object]] = field(
        default_factory=lambda: {"search": {"sampler": "tpe"}, "pruning": {"type": "none"}}
    )
    dropped: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # own name of a parameter by that there

    def drop(self, place: str, reason: str) -> None:
        """Remember what is not taken over, and why."""
        self.dropped[place] = reason

    def drop_rest(self, part: Part, reason: str, prefix: str = "") -> None:
        """Remember the keys of a part that were not read."""
        for key in part.rest:
            self.drop(f"{prefix}{key}", reason)

    def set(self, section: str, **values: object) -> None:
        """Set keys of a section of the sweep file, except those that are None."""
        given = {key: value for key, value in values.items() if value is not None}
        if given:
            self.settings.setdefault(section, {}).update(given)

    def sample(self, samplers: Mapping[str, str], name: str) -> None:
        """Set the sampler that stands for one of the source."""
        if name not in samplers:
            self.drop(f"sampler {name}", "has no counterpart; written is tpe")
        self.set("search", sampler=samplers.get(name, "tpe"))

    def range(
        self, name: str, low: float, high: float, *, log: bool = False, step: float | None = None
    ) -> None:
        """Add a range of numbers: of integers, if both bounds and the step are."""
        if low == high:
            self.constant(name, low)
        elif high < low or (log and low <= 0) or not (math.isfinite(low) and math.isfinite(high)):
            self.drop(f"parameter {name}", f"{low} to {high} is no range")
        else:
            if step is not None and (log or not 0 < step <= high - low):
                self.drop(f"step of {name}", "only uniform ranges have one, within their bounds")
                step = None
            whole = all(isinstance(each, int) for each in (low, high, step or 1))
            self.parameters[self._own(name)] = (
                Int(low=int(low), high=int(high), log=log, step=int(step or 1))
                if whole
                else Float(low=float(low), high=float(high), log=log, step=step)
            )

    def unbounded(self, name: str, kind: str) -> None:
        """Remember that a distribution without bounds became a range."""
        self.drop(f"{kind} of {name}", f"has no bounds; written are {WIDE:.0f} deviations")

    def choice(self, name: str, values: Iterable[Any]) -> None:
        """Add a choice, without values that are no scalars or are there twice."""
        kept: list[Scalar] = []
        for value in values:
            if not isinstance(value, Scalar):
                self.drop(f"value {value} of {name}", "only numbers and texts can be chosen")
            elif value not in kept:
                kept.append(value)
            elif repr(value) not in map(repr, kept):  # true beside 1
                self.drop(f"value {value} of {name}", "equals another one in a sweep file")
        if len(kept) == 1:
            self.constant(name, kept[0])
        elif kept:
            self.parameters[self._own(name)] = Choice(values=tuple(kept))

    def constant(self, name: str, value: Any) -> None:
        """Add a value that is not searched."""
        if name == "seed":
            self.drop("seed", "each trial has a seed of its own, {seed}")
        elif isinstance(value, Scalar):
            self.fixed[self._own(name)] = value
        else:
            self.drop(f"parameter {name}", f"a {type(value).__name__} is no value here")

    def run(self, words: str | Iterable[object]) -> None:
        """Take a command of the source: a text for a shell, or words."""
        if not isinstance(words, str):
            self.command = [str(word) for word in words]
        elif (split := without_shell(words)) is None:
            # `${HOME}` would be a parameter of the sweep.
            self.command = ["sh", "-c", re.sub(r"\$\{(\w+)\}", r"$\1", words)]
        else:
            self.command = split

    def word(self, name: str, form: str | None = None) -> str:
        """Return the word of a command that passes a parameter of the source."""
        return (form or self.options).format(name=name, value=f"{{{self.names.get(name, name)}}}")

    def _own(self, name: str) -> str:
        own = re.sub(r"\W", "_", name.lstrip("-"), flags=re.ASCII)[:60]
        own = RESERVED.get(own, own if own[:1].isalpha() else f"_{own}")
        # Several names of the source may become the same one.
        while own in self.parameters or own in self.fixed:
            own += "_"
        self.names[name] = own
        return own
