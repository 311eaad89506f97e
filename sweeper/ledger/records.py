"""The other records of a ledger: sweep, events, notes, requests and names of checkpoints."""

import hashlib
import re
import time
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, NamedTuple

from sweeper.model import (
    AttemptEnded,
    AttemptStarted,
    CheckpointDropped,
    CheckpointNamed,
    EpochMeasured,
    SamplerStateKept,
    Trial,
    TrialEvent,
    TrialQueued,
    TrialReopened,
)
from sweeper.text import JsonObject
from trainables.report import Measurement


class EventKind(StrEnum):
    """The kinds of events, as the ledger has them."""

    SWEEP_STARTED = "sweep_started"  # payload: provenance of this launch
    STUDY_ADDED = "study_added"
    TRIAL_ADDED = "trial_added"
    ATTEMPT_STARTED = "attempt_started"
    MEASURED = "measured"  # payload: a Measurement without its checkpoint
    ATTEMPT_ENDED = "attempt_ended"  # payload: an Outcome, without quantities if it has none
    TRIAL_ENDED = "trial_ended"  # payload: state, value, best_epoch, test, failure, reason
    SWEEP_ENDED = "sweep_ended"  # payload: state, reason, perhaps cause (an EndCause)
    TRIAL_REOPENED = "trial_reopened"  # payload: was (the former state), uncounted
    CHECKPOINT_DROPPED = "checkpoint_dropped"  # payload: checkpoint, reason
    NOTED = "noted"  # payload: text, for users
    CLUSTER_RESIZED = "cluster_resized"  # payload: a ClusterSize


class EndCause(StrEnum):
    """The cause of an end of the sweep, if something went wrong."""

    ABORTED = "aborted"  # too many trials failed, or all alike
    DRIVER_DIED = "driver_died"  # earlier; the next launch records the end


OF_ATTEMPTS = (  # kinds of events that name an attempt
    EventKind.ATTEMPT_STARTED,
    EventKind.MEASURED,
    EventKind.ATTEMPT_ENDED,
    EventKind.TRIAL_ENDED,
)
AFTERWARDS = (  # kinds of events that may be written when no driver runs
    EventKind.TRIAL_ADDED,  # a driver starts an attempt at once
    EventKind.TRIAL_REOPENED,
    EventKind.CHECKPOINT_DROPPED,
    EventKind.NOTED,
)


@dataclass(frozen=True, kw_only=True)
class AttemptUse:
    """The epochs and seconds of an attempt at a trial."""

    number: int  # of the trial
    attempt: int
    epochs: int
    seconds: float  # up to its last epoch


@dataclass(frozen=True, kw_only=True)
class SweepRecord:
    """One launched sweep. `resolved` is the validated file with its profile and options."""

    name: str
    experiment: str
    resolved: JsonObject
    config_hash: str
    profile: str
    text: str  # of the user's file, merged with its base
    state: str = "new"  # new, running, finished, stopped, interrupted
    created_at: float = 0.0  # seconds since the Unix epoch
    provenance: JsonObject = field(default_factory=dict)  # git commit, versions, command

    @property
    def fingerprint(self) -> str:
        """A hexadecimal hash that differs from that of other sweeps of the same name."""
        return hashlib.sha256(f"{self.name} {self.created_at!r}".encode()).hexdigest()

    @property
    def plugins(self) -> tuple[str, ...]:
        """The plugins that the sweep uses: distribution, version and first digits of the hash."""
        used = self.provenance.get("plugins") or ()
        return tuple(f"{p['distribution']} {p['version']} {p['code'][:12]}" for p in used)


@dataclass(frozen=True, kw_only=True)
class ClusterSize:
    """The payload of CLUSTER_RESIZED."""

    nodes: int
    slots: int  # trials at once
    waiting: int  # running trials for which no node has room

    def __str__(self) -> str:
        return f"cluster of {self.nodes} nodes: {self.slots} trials at once"


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event of the append-only history. `seq` grows; `at` is seconds since the Unix epoch."""

    seq: int
    at: float
    kind: EventKind
    study: str | None
    number: int | None
    attempt: int | None
    payload: JsonObject


def lines_of(
    before: Trial, event: TrialEvent, after: Trial
) -> tuple[tuple[EventKind, dict[str, Any]], ...]:
    """Return the kinds and payloads of the history's entries for an event of a trial."""
    match event:
        case AttemptStarted():
            return ((EventKind.ATTEMPT_STARTED, {}),)
        case EpochMeasured(measurement=measurement):
            return ((EventKind.MEASURED, as_payload(measurement)),)
        case AttemptEnded(outcome=outcome):
            payload = {k: v for k, v in asdict(outcome).items() if k != "quantities" or v}
            ended = (EventKind.ATTEMPT_ENDED, payload)
            names = ("state", "failure", "reason", "value", "best_epoch", "test")
            final = (EventKind.TRIAL_ENDED, {name: getattr(after, name) for name in names})
            return (ended, final) if outcome.state.is_finished else (ended,)
        case TrialReopened():
            payload = {"was": before.state, "uncounted": after.uncounted}
            return ((EventKind.TRIAL_REOPENED, payload),)
        case CheckpointDropped():
            return ((EventKind.CHECKPOINT_DROPPED, {"checkpoint": before.checkpoint}),)
        case CheckpointNamed() | SamplerStateKept() | TrialQueued():
            return ()


def as_payload(measurement: Measurement) -> dict[str, Any]:
    """Return the short payload of a measurement, the most frequent event.

    Fields with default values are left out. So is the checkpoint: the trial's row has the latest.
    """
    values = vars(measurement) | {"checkpoint": None}
    # A history has these keys at the end, wherever the class has the fields.
    last = ("computed_by", "precision", "parameters")
    ordered = sorted(fields(measurement), key=lambda field: field.name in last)
    return {f.name: values[f.name] for f in ordered if values[f.name] != f.default}


class Moment(NamedTuple):
    """The time of an event, whose `kind` is an EventKind.

    Only a sweep's start and end and a change of the cluster's size have a `payload`.
    """

    at: float
    kind: str
    study: str | None
    number: int | None
    payload: JsonObject


@dataclass(frozen=True, kw_only=True)
class Remark:
    """A note of a user about a sweep."""

    at: float  # seconds since the Unix epoch, by the database's clock
    by: str
    text: str

    def __str__(self) -> str:
        return f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(self.at))} {self.by}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A user's request to a running sweep: `stop` or `cancel`."""

    id: int
    kind: str
    at: float
    by: str


FORM = re.compile(r"(?:.*/)?attempt-([1-9][0-9]*)/([A-Za-z][A-Za-z0-9_]*)-([0-9]{4,})", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class CheckpointName:
    """The name of a trial's state after an epoch of a stage: `attempt-2/refine-0004`.

    The name is relative to the trial's folder or place in a store, so that it stays valid when the
    sweep is moved.
    """

    attempt: int
    stage: str
    epoch: int

    @classmethod
    def parse(cls, path: str) -> "CheckpointName | None":
        """Return the name at the end of a path or URL, or None if there is none."""
        # The URL of a bucket may end with options, such as its endpoint.
        found = FORM.fullmatch(path.partition("?")[0] if "://" in path else path)
        if found is None:
            return None
        return cls(attempt=int(found[1]), stage=found[2], epoch=int(found[3]))

    def __str__(self) -> str:
        return f"attempt-{self.attempt}/{self.stage}-{self.epoch:04d}"


def name_in(path: str) -> str:
    """Return the name at the end of a path or URL, or the whole text if there is none."""
    name = CheckpointName.parse(path)
    return path if name is None else str(name)
