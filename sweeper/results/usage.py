"""The use of a sweep's running time, compared with the prediction.

A drive is the time from a start of the sweep to its end or, if the driver died, to its last event.
The utilisation is the time of attempts divided by the product of slots and driven time.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from sweeper.ledger import AFTERWARDS, EndCause, EventKind, Ledger, Moment
from sweeper.text import HOUR

TITLES = {"trial_hours": "hours of trials", "epochs": "epochs", "wall_hours": "hours driven"}


@dataclass(frozen=True, kw_only=True)
class Usage:
    """The use of time in all drives of a sweep."""

    wall_s: float  # sum over drives
    trial_s: float  # sum over attempts
    slot_s: float | None  # slots summed over wall time; None: slots are unknown for some drive
    epochs: int  # trained epochs, including repeated ones
    taken_over: int = 0  # epochs of stages that another trial computed
    prediction: Mapping[str, Mapping[str, float]] | None  # latest one

    @property
    def utilisation(self) -> float | None:
        """The share of slot-seconds in which trials ran."""
        return self.trial_s / self.slot_s if self.slot_s else None


@dataclass
class _Drive:
    began: float
    slots: int | None
    heard: float  # time of the latest event
    running: dict[tuple[str | None, int | None], float]  # trial -> when its attempt began
    trial_s: float = 0.0
    slot_s: float = 0.0  # up to `sized`, since when there are `slots`
    sized: float = 0.0

    def take(self, event: Moment) -> None:
        """Add an event to the drive.

        Events that other processes may write later do not extend the drive. An end that says so or
        that comes while attempts run does not, either: it closes the sweep of a dead driver.
        """
        is_end = event.kind == EventKind.SWEEP_ENDED
        is_late = is_end and (self.running or event.payload.get("cause") == EndCause.DRIVER_DIED)
        if event.kind not in AFTERWARDS and not is_late:
            self.heard = event.at
        if event.kind == EventKind.CLUSTER_RESIZED and self.slots is not None:
            self.slot_s += (event.at - self.sized) * self.slots
            self.slots, self.sized = event.payload["slots"], event.at
        trial = event.study, event.number
        if event.kind == EventKind.ATTEMPT_STARTED:
            self.running[trial] = event.at
        elif event.kind == EventKind.ATTEMPT_ENDED and trial in self.running:
            self.trial_s += event.at - self.running.pop(trial)

    def close(self) -> None:
        """Count slots, and each attempt without an end, up to the end of the drive."""
        self.slot_s += (self.heard - self.sized) * (self.slots or 0)
        self.trial_s += sum(self.heard - began for began in self.running.values())


def read_usage(ledger: Ledger) -> Usage:
    """Return the use of time of a sweep, up to now if it is running."""
    record = ledger.sweep()
    is_driven = record is not None and record.state == "running" and ledger.holder() is not None
    epochs = ledger.count_events(kinds=[EventKind.MEASURED])
    taken_over = ledger.count_taken_over()
    # Epochs that were taken over are events, too, but nobody trained them here.
    return usage_of(
        ledger.timeline(),
        epochs=epochs - taken_over,
        taken_over=taken_over,
        now=time.time() if is_driven else None,
    )


def usage_of(
    events: Sequence[Moment], *, epochs: int, taken_over: int = 0, now: float | None = None
) -> Usage:
    """Return the use of time according to a ledger's timeline.

    Args:
        events: The timeline, oldest first.
        epochs: The number of trained epochs.
        taken_over: The number of epochs that other trials computed.
        now: The present time if the sweep is running, else None.
    """
    # A start while a drive is open means that the former driver died.
    drives: list[_Drive] = []
    drive: _Drive | None = None
    prediction = None
    for event in events:
        if event.kind == EventKind.SWEEP_STARTED:
            slots = event.payload.get("slots")
            drive = _Drive(event.at, slots, event.at, {}, sized=event.at)
            drives.append(drive)
            prediction = event.payload.get("prediction") or prediction
        elif drive is not None:
            drive.take(event)
            if event.kind == EventKind.SWEEP_ENDED:
                drive = None
    # A running sweep is driven until now, also if no event came for a while.
    if drive is not None and now is not None:
        drive.heard = max(drive.heard, now)
    for each in drives:
        each.close()
    known = [each.slot_s for each in drives if each.slots is not None]
    return Usage(
        wall_s=sum(each.heard - each.began for each in drives),
        trial_s=sum(each.trial_s for each in drives),
        slot_s=sum(known) if len(known) == len(drives) else None,
        epochs=epochs,
        taken_over=taken_over,
        prediction=prediction,
    )


@dataclass(frozen=True, kw_only=True)
class PredictedAndActual:
    """A quantity with its predicted range and its actual value."""

    name: str  # trial_hours, epochs or wall_hours
    low: float
    expected: float
    high: float
    actual: float

    @property
    def title(self) -> str:
        """The name of the quantity in prose."""
        return TITLES[self.name]

    @property
    def verdict(self) -> str:
        """The actual value relative to the predicted range: `below`, `within` or `above`."""
        if self.actual < self.low:
            return "below"
        return "above" if self.actual > self.high else "within"


def compared(usage: Usage) -> list[PredictedAndActual]:
    """Return each predicted quantity with its actual value; none without a prediction."""
    if usage.prediction is None:
        return []
    actual = {
        "trial_hours": usage.trial_s / HOUR,
        "epochs": float(usage.epochs),
        "wall_hours": usage.wall_s / HOUR,
    }
    return [
        PredictedAndActual(name=name, **usage.prediction[name], actual=value)
        for name, value in actual.items()
    ]


def as_json(usage: Usage) -> dict[str, object]:
    """Return usage, prediction and actual cost as plain data."""
    return {
        "utilisation": usage.utilisation,
        "wall_s": usage.wall_s,
        "trial_s": usage.trial_s,
        "epochs": usage.epochs,
        "taken_over_epochs": usage.taken_over,
        "prediction": None
        if usage.prediction is None
        else {each.name: _as_json(each) for each in compared(usage)},
    }


def _as_json(each: PredictedAndActual) -> dict[str, object]:
    found = {name: value for name, value in asdict(each).items() if name != "name"}
    return {**found, "verdict": each.verdict}
