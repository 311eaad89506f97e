"""The results of commands: typed for the command line, plain data for JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a command, or a part of one.

    Its fields are the keys of the JSON object; a key that is a Python keyword has a `_` here.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset()  # fields that JSON lacks where they are None
    KEYS: ClassVar[tuple[str, ...]] = ()  # of a class with a `to_json` of its own

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

    @classmethod
    def __get_pydantic_core_schema__(
        cls, kind: Any, handler: "GetCoreSchemaHandler"
    ) -> "CoreSchema":
        """Let a JSON Schema have the types of fields, where these are the keys."""
        from pydantic_core.core_schema import any_schema

        return any_schema() if cls.KEYS else handler(kind)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: "CoreSchema", handler: "GetJsonSchemaHandler"
    ) -> "JsonSchemaValue":
        """Return the JSON Schema of `to_json`: all keys but optional ones, and no others."""
        found = handler.resolve_ref_schema(handler(core))
        types = {name.rstrip("_"): each for name, each in found.get("properties", {}).items()}
        found["type"] = "object"
        found["properties"] = {key: types.get(key, {}) for key in cls.KEYS or types}
        found["required"] = [key for key in found["properties"] if key not in cls.OPTIONAL]
        found["additionalProperties"] = False
        return found


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
