"""The results of commands: typed for the command line, plain data for JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

__all__ = ["Message", "Result", "plain"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a command, or a part of one.

    Its fields are the keys of the JSON object; a key that is a Python keyword has a `_` here.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset()  # fields that JSON lacks where they are None

    @classmethod
    def of(cls, *sources: object, **others: Any) -> Self:
        """Return a result of fields that a source has by the same name, and of `others`."""
        same = {
            field.name: getattr(source, field.name)
            for source in sources
            for field in fields(cls)
            if field.name not in others and hasattr(source, field.name)
        }
        return cls(**same, **others)

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain data."""
        found = {field.name.rstrip("_"): getattr(self, field.name) for field in fields(self)}
        return {
            name: plain(value)
            for name, value in found.items()
            if value is not None or name not in self.OPTIONAL
        }


@dataclass(frozen=True, kw_only=True)
class Message(Result):
    """A result that people read as a text of one or several lines."""

    message: str


def plain(value: object) -> object:
    """Return a value as JSON has it: records as objects, paths as text."""
    if isinstance(value, Result):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value
