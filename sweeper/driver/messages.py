"""The messages between a supervisor and its driver: JSON objects, one a line.

The supervisor writes one `DriverJob`. The driver writes `StartsRay` around the start of Ray, and
last its outcome.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from sweeper.errors import SweeperError, from_record, to_record


@dataclass(frozen=True, kw_only=True)
class DriverJob:
    """The task of a driver; written to its standard input, since `storage` may be secret."""

    folder: str
    storage: str | None
    address: str
    owner: str  # of the lease
    requests_after: int  # users' requests up to this one are old
    insecure: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the job as plain data, from which `DriverJob(**data)` makes it again."""
        return asdict(self)


@dataclass(frozen=True)
class StartsRay:
    """The message around the start of a Ray cluster on this machine: before and after it."""

    is_starting: bool

    def to_json(self) -> dict[str, Any]:
        """Return the message as plain data."""
        return {"starts_ray": self.is_starting}


@dataclass(frozen=True)
class Ended:
    """A driver that ended in its own right."""

    signal: int | None = None  # that ended the sweep early
    why: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Refused:
    """A driver that ended with a deliberate error."""

    error: SweeperError

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as plain data."""
        return {"error": to_record(self.error)}


@dataclass(frozen=True)
class Died:
    """A driver that died; another one is started."""

    how: str

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as plain data."""
        return {"died": self.how}


@dataclass(frozen=True)
class RayNotStarted:
    """A driver whose Ray did not start; another one is started after a pause."""

    why: str

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as plain data."""
        return {"not_started": self.why}


DriverOutcome = Ended | Refused | Died | RayNotStarted


def parse(line: str) -> DriverOutcome | StartsRay:
    """Return the message that a driver wrote as a line.

    Raises:
        ValueError: The line is no whole JSON object.
    """
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError(f"no message of a driver: {line}")
    if "starts_ray" in message:
        return StartsRay(message["starts_ray"])
    if "error" in message:
        return Refused(from_record(message["error"]))
    if "died" in message:
        return Died(message["died"])
    if "not_started" in message:
        return RayNotStarted(message["not_started"])
    return Ended(signal=message.get("signal"), why=message.get("why"))
