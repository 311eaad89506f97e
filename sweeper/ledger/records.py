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
    Outcome,
    SamplerStateKept,
    Trial,
    TrialEvent,
    TrialKind,
    TrialQueued,
    TrialReopened,
    TrialState,
    known_fields,
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
    TRIAL_REOPENED = "trial_reopened"  # payload: was (the former state), forgiven
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
            payload = {"was": before.state, "forgiven": after.forgiven}
            return ((EventKind.TRIAL_REOPENED, payload),)
        case CheckpointDropped():
            return ((EventKind.CHECKPOINT_DROPPED, {"checkpoint": before.checkpoint}),)
        case CheckpointNamed() | SamplerStateKept() | TrialQueued():
            return ()


def happened(event: Event) -> TrialEvent | None:
    """Return what an entry of the history says about the state of its trial, or None."""
    payload = event.payload
    match event.kind:
        case EventKind.ATTEMPT_STARTED:
            return AttemptStarted(attempt=event.attempt or 0)
        case EventKind.MEASURED:
            return EpochMeasured(measurement=Measurement(**payload))
        case EventKind.ATTEMPT_ENDED:
            known = {**known_fields(Outcome, payload), "state": TrialState(payload["state"])}
            return AttemptEnded(outcome=Outcome(**known))
        case EventKind.TRIAL_REOPENED:
            return TrialReopened()
        case EventKind.CHECKPOINT_DROPPED:
            return CheckpointDropped()
    return None


def added(event: Event) -> Trial:
    """Return the trial that an entry of the history adds."""
    planned = event.payload
    return Trial(
        study=event.study or "",
        number=event.number or 0,
        kind=TrialKind(planned["kind"]),
        params=planned["params"],
        sampled=tuple(planned["sampled"]),
        seed=int(planned["seed"]),
        origin=planned["origin"],
    )


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


class RequestKind(StrEnum):
    """The requests that users make through the ledger."""

    STOP = "stop"  # the sweep, once its running trials have finished
    CANCEL = "cancel"  # the sweep, now
    STOP_TRIAL = "stop_trial"  # a running one, after its next epoch
    SKIP_TRIAL = "skip_trial"  # one that waits or is still to come
    RETRY_TRIAL = "retry_trial"  # a failed one
    ADD_TRIAL = "add_trial"  # with values of the user


class RequestState(StrEnum):
    """The states of a request about a trial."""

    OPEN = "open"  # nobody has read it
    ACCEPTED = "accepted"  # it will be obeyed: after an epoch, or when the trial would begin
    OBEYED = "obeyed"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Target:
    """The object of a request: the sweep, a trial, or a trial to be."""

    study: str | None = None  # None: the sweep
    number: int | None = None  # None: the trial is yet to be
    planned: JsonObject | None = None  # its `params`, `sampled` (names) and `seed` (as text)


@dataclass(frozen=True, kw_only=True)
class Request(Target):
    """A user's request about a sweep or one of its trials."""

    id: int
    kind: RequestKind
    at: float  # seconds since the Unix epoch, by the database's clock
    by: str
    state: RequestState = RequestState.OPEN
    answer: str | None = None  # for the user

    @property
    def is_open(self) -> bool:
        return self.state is RequestState.OPEN


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to a request about a trial."""

    request: int
    state: RequestState
    text: str
    number: int | None = None  # of a trial that was added


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
