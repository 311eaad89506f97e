"""Requests to the process that runs a sweep for a Python program, and their results."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from sweeper.errors import SweeperError, from_record, to_record
from sweeper.planning.load import Options
from sweeper.text import JsonObject


class LaunchAction(StrEnum):
    """Action of a process in the background."""

    LAUNCH = "launch"
    RESUME = "resume"
    EXTEND = "extend"
    RETRY = "retry"
    RERUN = "rerun"


@dataclass(frozen=True, kw_only=True)
class LaunchRequest:
    """One launch of a file, or one continuation of a sweep."""

    action: LaunchAction
    sweep: str
    file: str = ""  # of a launch
    options: Options = field(default_factory=Options)  # address and insecure, of all actions
    trials: int | None = None  # of `extend`
    trial: str = ""  # of `rerun`
    seed: int | None = None  # of `rerun`

    def to_json(self) -> dict[str, Any]:
        """Return the request as plain data."""
        include = [str(path) for path in self.options.include]
        return {**asdict(self), "options": {**asdict(self.options), "include": include}}

    @classmethod
    def from_json(cls, record: JsonObject) -> "LaunchRequest":
        """Return the request of a record of `to_json`."""
        options: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in record["options"].items()
        }
        options["include"] = tuple(map(Path, options["include"]))
        action = LaunchAction(record["action"])
        return cls(**{**record, "action": action, "options": Options(**options)})


@dataclass(frozen=True, kw_only=True)
class LaunchResult:
    """The end of a request: an exit code of the command line, or an error."""

    exit_code: int = 0
    error: SweeperError | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain data."""
        record = None if self.error is None else to_record(self.error)
        return {"exit_code": self.exit_code, "error": record}

    @classmethod
    def from_json(cls, record: JsonObject) -> "LaunchResult":
        """Return the result of a record of `to_json`."""
        error = None if record["error"] is None else from_record(record["error"])
        return cls(exit_code=record["exit_code"], error=error)
