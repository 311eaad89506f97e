"""The use of the time in which a sweep was driven, beside what had been predicted.

A drive is the time from a start of the sweep to its end, or, where its driver died, to the last
that was heard of it. The slots of a drive, times its length, could have run trials; attempts did.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from sweeper.ledger import EventKind, Ledger, Moment

HOUR = 3600.0
TITLES = {"trial_hours": "hours of trials", "epochs": "epochs", "wall_hours": "hours driven"}
AFTERWARDS = (EventKind.TRIAL_REOPENED, EventKind.CHECKPOINT_DROPPED, EventKind.NOTED)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """The use of the time of all drives of a sweep."""

    wall_s: float  # driven
    trial_s: float  # of attempts, summed
    slot_s: float | None  # slots x wall; None: a start did not say how many slots there were
    epochs: int  # trained, those run again included
    taken_over: int = 0  # epochs of stages that another trial had computed
    prediction: Mapping[str, Mapping[str, float]] | None  # of the latest start that had one

    @property
    def utilisation(self) -> float | None:
        """The share of slot-seconds in which trials ran."""
        return self.trial_s / self.slot_s if self.slot_s else None


@dataclass
class _Drive:
    began: float
    slots: int | None
    heard: float  # latest
    running: dict[tuple[str | None, int | None], float]  # trial -> when its attempt began
    trial_s: float = 0.0

    def take(self, event: Moment) -> None:
        """Add an event to the drive.

        An event that others than the driver may write later does not extend the drive. Nor does an
        end while attempts run: it closes the sweep of a driver that died.
        """
        is_late = event.kind == EventKind.SWEEP_ENDED and self.running
        if event.kind not in AFTERWARDS and not is_late:
            self.heard = event.at
        trial = event.study, event.number
        if event.kind == EventKind.ATTEMPT_STARTED:
            self.running[trial] = event.at
        elif event.kind == EventKind.ATTEMPT_ENDED and trial in self.running:
            self.trial_s += event.at - self.running.pop(trial)

    def close(self) -> None:
        """Count the attempts that still run as running until the end of the drive."""
        self.trial_s += sum(self.heard - began for began in self.running.values())


def read_usage(ledger: Ledger) -> Usage:
    """Return how a sweep used its time, until now if it is being driven."""
    record = ledger.sweep()
    is_driven = record is not None and record.state == "running" and ledger.holder() is not None
    epochs = ledger.count_events(kinds=[EventKind.MEASURED])
    shares = record is not None and any(map(record.resolved.get, ("stages", "stage_store")))
    taken_over = ledger.count_taken_over() if shares else 0
    return usage_of(
        ledger.timeline(),
        epochs=epochs - taken_over,
        taken_over=taken_over,
        now=time.time() if is_driven else None,
    )


def usage_of(
    events: Sequence[Moment], *, epochs: int, taken_over: int = 0, now: float | None = None
) -> Usage:
    """Return how the time was used.

    Args:
        events: A ledger's timeline, oldest first.
        now: For a sweep that is being driven; what runs has run until then.
    """
    drives: list[_Drive] = []
    drive: _Drive | None = None
    prediction = None
    for event in events:
        if event.kind == EventKind.SWEEP_STARTED:
            slots = event.payload.get("slots")
            drive = _Drive(event.at, slots, event.at, {})
            drives.append(drive)
            prediction = event.payload.get("prediction") or prediction
        elif drive is not None:
            drive.take(event)
            if event.kind == EventKind.SWEEP_ENDED:
                drive = None
    if drive is not None and now is not None:
        drive.heard = max(drive.heard, now)
    for each in drives:
        each.close()
    known = [(each.heard - each.began) * each.slots for each in drives if each.slots is not None]
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
    """A quantity as it was predicted, and as it is."""

    name: str  # trial_hours, epochs or wall_hours
    low: float
    expected: float
    high: float
    actual: float

    @property
    def title(self) -> str:
        """The name of the quantity in a sentence."""
        return TITLES[self.name]

    @property
    def verdict(self) -> str:
        """The place of the actual quantity: `below` the prediction, `within` or `above` it."""
        if self.actual < self.low:
            return "below"
        return "above" if self.actual > self.high else "within"


def compared(usage: Usage) -> list[PredictedAndActual]:
    """Return each quantity that was predicted beside the actual one; none without prediction."""
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
    """Return usage, prediction and actual cost for machines."""
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
