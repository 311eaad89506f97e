"""Requests to the process that runs a sweep for a Python program, and their results."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

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


REQUESTS = TypeAdapter(LaunchRequest)  # between them and JSON


@dataclass(frozen=True, kw_only=True)
class LaunchResult:
    """The end of a request: an exit code of the command line, or an error, which has its own."""

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
