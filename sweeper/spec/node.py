"""Values of a file, each with its place in the file."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sweeper.errors import Fault
from sweeper.text import printable

Scalar = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Place:
    """A place: a line of a file, or a command-line option (`where` "--set refine.lr")."""

    where: str
    line: int | None = None

    def fault(self, message: str) -> Fault:
        """Return the fault of what is here."""
        return Fault(printable(self.where, limit=4096), self.line, message)


@dataclass(frozen=True, slots=True)
class Node:
    """A value, with the place of its key or, without a key, of itself."""

    value: Scalar | dict[str, "Node"] | list["Node"]
    origin: Place

    def plain(self) -> Any:
        """Return the value as plain mappings, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def children(self) -> dict[str, "Node"]:
        """Return the entries of a mapping; none for any other value."""
        return self.value if isinstance(self.value, dict) else {}

    def items(self) -> list["Node"]:
        """Return the items of a list; none for any other value."""
        return self.value if isinstance(self.value, list) else []

    def child(self, key: str) -> "Node":
        """Return the entry `key`, or an empty mapping if there is none."""
        return self.children().get(key, Node({}, self.origin))

    def at(self, path: Iterable[str | int]) -> "Node":
        """Return the node at `path`, or its nearest ancestor that exists."""
        return self.trace(path)[1]

    def trace(self, path: Iterable[str | int]) -> tuple[tuple[str | int, ...], "Node"]:
        """Return the existing part of `path`, and its node."""
        node, walked = self, []
        for step in path:
            if isinstance(node.value, dict) and step in node.value:
                node = node.value[str(step)]
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
            else:
                break
            walked.append(step)
        return tuple(walked), node
