"""The messages between a supervisor and its driver: JSON objects, one a line.

The supervisor writes one `DriverJob`. The driver writes `StartsRay` around the start of Ray, and
last its outcome.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.errors import SweeperError, from_record, to_record
from sweeper.text import JsonObject

Facts = Mapping[str, JsonObject]  # of each study, as its preparation found them


@dataclass(frozen=True, kw_only=True)
class DriverJob:
    """The task of a driver; written to its standard input, since `storage` may be secret."""

    folder: str
    storage: str | None = None
    address: str
    owner: str  # of the lease
    requests_after: int  # users' requests up to this one are old
    insecure: bool = False
    function: str | None = None  # that a running program passes, as Ray packs it
    facts: Facts | None = None  # found by a driver before, whose Ray did not start


@dataclass(frozen=True)
class StartsRay:
    """The message around the start of a Ray cluster on this machine: before and after it."""

    is_starting: bool


@dataclass(frozen=True)
class Ended:
    """A driver that ended in its own right."""

    signal: int | None = None  # that ended the sweep early
    why: str | None = None


@dataclass(frozen=True)
class Refused:
    """A driver that ended with a deliberate error."""

    error: SweeperError


@dataclass(frozen=True)
class Died:
    """A driver that died; another one is started."""

    how: str


@dataclass(frozen=True)
class RayNotStarted:
    """A driver whose Ray did not start; another one is started after a pause."""

    why: str
    facts: Facts | None = None


DriverOutcome = Ended | Refused | Died | RayNotStarted
DriverMessage = StartsRay | DriverOutcome


def to_json(message: DriverMessage) -> dict[str, object]:
    """Return a message as plain data."""
    match message:
        case StartsRay(is_starting):
            return {"starts_ray": is_starting}
        case Refused(error):
            return {"error": to_record(error)}
        case Died(how):
            return {"died": how}
        case RayNotStarted(why, facts):
            return {"not_started": why, "facts": facts}
        case Ended(signal, why):
            return {"signal": signal, "why": why}


def parse(line: str) -> DriverMessage:
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
        return RayNotStarted(message["not_started"], message.get("facts"))
    return Ended(signal=message.get("signal"), why=message.get("why"))
