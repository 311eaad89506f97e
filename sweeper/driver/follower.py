"""The progress of a sweep, followed through its ledger by a process that does not run it."""

import time
from collections.abc import Callable

from rich.console import Console

from sweeper.driver.hooks.progress import Progress, Row
from sweeper.ledger import Event, EventKind, Ledger
from sweeper.ledger.records import added, happened
from sweeper.model import (
    AttemptStarted,
    EpochMeasured,
    Trial,
    TrialState,
    apply,
    count_states,
)
from sweeper.planning.sweep_folder import living_state
from sweeper.results.floors import beside_validation
from sweeper.results.read import PAGE, read_outline
from sweeper.results.usage import compared, read_usage
from sweeper.text import HOUR
from trainables.report import Measurement

LOOK_SHARE = 0.004  # of a core that looks at what no event says take
MIN_LOOK_S = 2.0  # between two of them
MAX_ROWS = 40  # trials in the table
RARE = (EventKind.SWEEP_STARTED, EventKind.SWEEP_ENDED, EventKind.STUDY_ADDED)


def time_after(began: float, share: float) -> float:
    """Return when a work may be done again that is to take no more than a share of one core.

    Args:
        began: When it began, by the clock of this thread; it ends now.
        share: The share.
    """
    return time.monotonic() + (time.thread_time() - began) / share


class _Silent(Progress):
    def tell(self, row: Row, measurement: Measurement | None) -> None:
        """Print nothing."""


class Follower:
    """The progress of a sweep as its launch displays it; each reading takes new events alone."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._ledger, self._clock = ledger, clock
        self._seq, self._at, self._began = 0, 0.0, 0.0  # of the last event, and of the launch
        self._trials: dict[tuple[str, int], Trial] = {}
        self._progress = self._begin(slots=1)
        self._look()

    @property
    def is_over(self) -> bool:
        """True if no driver runs the sweep."""
        return self._state != "running"

    def read(self) -> bool:
        """Read what has happened since the last call; return whether anything has."""
        before = self._seq
        while events := self._ledger.events(self._seq, PAGE):
            for event in events:
                self._seq, self._at = event.seq, event.at
                self._take(event)
        if time.monotonic() >= self._next_look:
            self._look()
        return self._seq != before

    def lines(self) -> list[str]:
        """Return what is known of the sweep as a whole: its state, its trials, time and price."""
        work = None
        if not self.is_over:
            # While a driver runs, time goes on between two events.
            self._at = max(self._at, self._clock())
            work = self._progress.work_s()
        counts = count_states(self._trials.values())
        price = f"{self._usage.trial_s / HOUR:.3g} hours of trials"
        price += "" if work is None else f", about {work / HOUR:.3g} to go"
        for each in compared(self._usage):
            if each.name == "trial_hours":
                price += f", predicted {each.low:.3g} to {each.high:.3g}"
        return [
            f"{self._state}: {', '.join(self._progress.summary())}",
            ", ".join(f"{count} {state}" for state, count in counts.items() if count),
            price,
        ]

    def table(self) -> dict[str, list[str]]:
        """Return the columns of a table of running trials and those that ended last."""
        rows = self._progress.rows(MAX_ROWS)
        reasons = [row.trial.reason or "" for row in rows]
        return {**self._progress.columns(rows), "reason": reasons}

    def _look(self) -> None:
        """Read what no event says: whether a driver lives, how many trials are planned, costs."""
        began = time.thread_time()
        outline, self._usage = read_outline(self._ledger), read_usage(self._ledger)
        self._state = living_state(outline.record, self._ledger)
        # Requests from before this launch were meant for an earlier one.
        self._is_stopping = any(each.at > self._began for each in self._ledger.requests())
        self._progress.planned = self._planned = sum(s.num_planned for s in outline.studies)
        for each in outline.studies:
            self._progress.studies[each.study.name] = each.study
            if (floor := each.facts.floor_or_lowest) is not None:
                self._floors[each.study.task] = beside_validation(floor)
        self._next_look = max(time_after(began, LOOK_SHARE), time.monotonic() + MIN_LOOK_S)

    def _begin(self, *, slots: int) -> Progress:
        """Return the progress of a launch that begins now, after those of earlier ones."""
        self._began, self._floors, self._planned = self._at, dict[str, str](), len(self._trials)
        return _Silent(
            Console(quiet=True),
            lambda: self._planned,
            slots,
            studies={},
            done=sum(trial.state.is_settled for trial in self._trials.values()),
            known=tuple(self._trials.values()),
            is_ending=lambda: self.is_over or self._is_stopping,
            # The clock stands at the latest event, so that a replay measures the times of then.
            clock=lambda: self._at,
            floors=self._floors,
        )

    def _take(self, event: Event) -> None:
        key = event.study or "", event.number or 0
        # These events change what `_look` reads, so the next look is due at once.
        if event.kind in RARE:
            self._next_look = 0.0
        if event.kind is EventKind.SWEEP_STARTED:
            self._progress = self._begin(slots=event.payload.get("slots") or 1)
        elif event.kind is EventKind.CLUSTER_RESIZED:
            self._progress.max_concurrent = event.payload["slots"] or 1
        elif event.kind is EventKind.TRIAL_ADDED:
            self._trials[key] = added(event)
        elif (found := happened(event)) is not None:
            before = self._trials[key]
            self._trials[key] = after = apply(before, found)
            measurement = found.measurement if isinstance(found, EpochMeasured) else None
            # A trial that is reopened between two launches is of neither.
            if isinstance(found, AttemptStarted) or before.state is TrialState.RUNNING:
                self._progress.changed(after, measurement)
