"""What each trial of a sweep measured and spent, read in one pass over the ledger's events."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sweeper.ledger import Event, EventKind, Ledger
from sweeper.model import Measurement

PAGE = 10_000  # events at a time


@dataclass(frozen=True, kw_only=True)
class History:
    """What one trial did."""

    measurements: tuple[Measurement, ...]  # oldest first; epochs that were run again, once
    epochs: int  # trained, those run again included
    seconds: float  # measured in all attempts
    ended: int | None  # grows with the time at which trials ended; None: it has not

    @property
    def objectives(self) -> tuple[float, ...]:
        """The objective after each epoch that reports it."""
        return tuple(m.objective for m in self.measurements if m.objective is not None)

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric."""
        return {name: value for m in self.measurements for name, value in m.metrics.items()}


NOTHING = History(measurements=(), epochs=0, seconds=0.0, ended=None)
Histories = dict[tuple[str, int], History]  # by study and number


@dataclass
class _Growing:
    latest: dict[tuple[str, int], Measurement] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)  # by attempt
    epochs: int = 0
    ended: int | None = None

    def take(self, event: Event) -> None:
        if event.kind is EventKind.MEASURED:
            measurement = Measurement(**event.payload)
            self.latest[measurement.stage, measurement.epoch] = measurement
            self.epochs += 1
            attempt = event.attempt or 0
            self.seconds[attempt] = max(self.seconds.get(attempt, 0.0), measurement.seconds)
        elif event.kind is EventKind.TRIAL_ENDED:
            self.ended = event.seq

    def done(self) -> History:
        return History(
            measurements=tuple(self.latest.values()),
            epochs=self.epochs,
            seconds=sum(self.seconds.values()),
            ended=self.ended,
        )


def read_histories(ledger: Ledger) -> Histories:
    """Returns the history of every trial that has begun."""
    growing: dict[tuple[str, int], _Growing] = {}
    for event in _events(ledger):
        if event.study is not None and event.number is not None:
            growing.setdefault((event.study, event.number), _Growing()).take(event)
    return {key: trial.done() for key, trial in growing.items()}


def _events(ledger: Ledger) -> Iterator[Event]:
    after = 0
    while page := ledger.events(after, PAGE):
        yield from page
        after = page[-1].seq
