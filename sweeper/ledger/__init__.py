"""The ledger: the single source of truth about trials, in a small SQL schema."""

from sweeper.ledger.ledger import Ledger
from sweeper.ledger.reading import LedgerReader
from sweeper.ledger.records import (
    AFTERWARDS,
    Answer,
    EndCause,
    Event,
    EventKind,
    Moment,
    Request,
    RequestKind,
    RequestState,
    SweepRecord,
    Target,
)

__all__ = [
    "AFTERWARDS",
    "Answer",
    "EndCause",
    "Event",
    "EventKind",
    "Ledger",
    "LedgerReader",
    "Moment",
    "Request",
    "RequestKind",
    "RequestState",
    "SweepRecord",
    "Target",
]
