"""Messages between the processes of a trial, each a line of JSON.

The first process writes `Begin`, `Train` and `End`. The others answer with `Begun` and `Broken`.
Their input ends if the first process dies.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Begin:
    """Load a trial."""

    spec: Mapping[str, Any]  # a TrialSpec as JSON
    threads: int  # of the process
    gpu: float  # as in `AttemptConfig`


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train one epoch together, after receiving the state."""

    stage: int  # index in the trial
    epoch: int  # counted from 0
    precision: str
    optimizer: Mapping[str, Any]  # the numbers of its state
    dtypes: Mapping[str, str]  # of the tensors of its state, by name
    shapes: Mapping[str, list[int]]  # likewise


@dataclass(frozen=True, kw_only=True)
class End:
    """Release the trial."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """The trial is loaded."""


@dataclass(frozen=True, kw_only=True)
class Broken:
    """An error has ended the process."""

    error: str  # name of the error's class; "" if the process died without one
    reason: str  # its message
    traceback: str
    by_others: bool  # True: another process had left before


Message = Begin | Train | End | Begun | Broken
KINDS: Mapping[str, type[Message]] = {
    kind.__name__: kind for kind in (Begin, Train, End, Begun, Broken)
}


def to_line(message: Message) -> bytes:
    """Return a message as one line."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)}).encode() + b"\n"


def parse(line: bytes) -> Message:
    """Return the message that `to_line` wrote."""
    plain = json.loads(line)
    return KINDS[plain.pop("kind")](**plain)
