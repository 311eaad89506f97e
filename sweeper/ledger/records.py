"""What the ledger holds besides studies and trials: the sweep itself, and the stream of events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class EventKind(StrEnum):
    SWEEP_STARTED = "sweep_started"  # payload: provenance of this launch
    STUDY_ADDED = "study_added"
    TRIAL_ADDED = "trial_added"
    ATTEMPT_STARTED = "attempt_started"
    MEASURED = "measured"  # payload: one Measurement
    ATTEMPT_ENDED = "attempt_ended"  # payload: state, failure, reason, log
    TRIAL_ENDED = "trial_ended"  # payload: state, value, best_epoch, test, failure, reason
    SWEEP_ENDED = "sweep_ended"  # payload: state


@dataclass(frozen=True, kw_only=True)
class SweepRecord:
    """One sweep as launched. `resolved` is the validated file, profile and options merged."""

    name: str
    experiment: str
    resolved: Mapping[str, Any]
    config_hash: str
    profile: str
    text: str  # of the file, as the user wrote it
    state: str = "new"  # new, running, finished, interrupted
    created_at: float = 0.0  # seconds since the epoch
    provenance: Mapping[str, Any] = field(default_factory=dict)  # git commit, versions, command


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of the append-only history. `seq` grows; `at` is seconds since the epoch."""

    seq: int
    at: float
    kind: EventKind
    study: str | None
    number: int | None
    attempt: int | None
    payload: Mapping[str, Any]
