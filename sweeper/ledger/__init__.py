"""The ledger: the single source of truth about trials, in a small SQL schema."""

from sweeper.ledger.ledger import Ledger
from sweeper.ledger.reading import LedgerReader
from sweeper.ledger.records import (
    AFTERWARDS,
    EndCause,
    Event,
    EventKind,
    Moment,
    Request,
    SweepRecord,
)

__all__ = [
    "AFTERWARDS",
    "EndCause",
    "Event",
    "EventKind",
    "Ledger",
    "LedgerReader",
    "Moment",
    "Request",
    "SweepRecord",
]
