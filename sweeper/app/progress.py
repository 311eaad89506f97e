"""What a launch shows while it runs: a live table on a terminal, plain lines otherwise; on stderr.

A plain line is printed when a trial starts, ends, or has done an epoch that reports the objective.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table

from sweeper.ranking import Standing, best
from sweeper.study import Measurement, Trial, TrialKind, TrialState
from sweeper.text import printable

MARKS = {
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAILED: "red",
    TrialState.INTERRUPTED: "magenta",
    TrialState.WAITING: "dim",
}
LINE = 2000  # characters, a reason's included
ROWS = 6  # of ended trials that the table keeps showing


@dataclass
class _Row:
    trial: Trial
    measurement: Measurement | None = None
    began: float = 0.0
    ended: float | None = None


@dataclass
class Progress:
    """Watches a sweep (an `Observer`) and shows it on `console`."""

    console: Console
    planned: int  # trials in all
    max_concurrent: int
    objectives: dict[str, str]  # study -> the name of its objective
    done: int = 0  # trials that have ended; those of earlier launches, to begin with
    known: Iterable[Trial] = ()  # of earlier launches too, among which one may be a study's best
    clock: Callable[[], float] = time.monotonic
    _running: dict[tuple[str, int], _Row] = field(default_factory=dict)
    _ended: deque[_Row] = field(default_factory=lambda: deque(maxlen=ROWS))
    _complete: dict[str, list[Trial]] = field(default_factory=dict)  # by study
    _best: dict[str, Standing | None] = field(default_factory=dict)  # where nothing ended since
    _times: list[float] = field(default_factory=lambda: [0.0, 0.0])  # their sum and number
    _live: Live | None = None

    def __post_init__(self) -> None:
        for trial in self.known:
            self._note(trial)

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._live = Live(console=self.console, get_renderable=self.table, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        """Takes in that a trial started, measured or ended."""
        key = (trial.study, trial.number)
        row = self._running.setdefault(key, _Row(trial, began=self.clock()))
        if trial.state is TrialState.RUNNING and measurement is None:
            row.began = self.clock()
        row.trial = trial
        row.measurement = measurement or row.measurement
        if trial.state is not TrialState.RUNNING:
            self._end(self._running.pop(key))
        if self._live is None and (measurement is None or measurement.objective is not None):
            line = printable(self._line(row, measurement), limit=LINE)
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _end(self, row: _Row) -> None:
        row.ended = self.clock()
        self._ended.append(row)
        self._times[0] += row.ended - row.began
        self._times[1] += 1
        trial = row.trial
        self.done += trial.state.is_finished
        self._note(trial)

    def _note(self, trial: Trial) -> None:
        if trial.state is TrialState.COMPLETE:
            self._complete.setdefault(trial.study, []).append(trial)
            self._best.pop(trial.study, None)

    def best_of(self, study: str) -> str:
        """Return the value that `status`, `best` and the page give too, with its seeds."""
        if study not in self._best:  # found out where it is shown: a large study takes a while
            self._best[study] = best(self._complete.get(study, ()))
        return str(self._best[study] or "")

    def _line(self, row: _Row, measurement: Measurement | None) -> str:
        trial = row.trial
        text = f"{trial.study} {name_of(trial)}: "
        if measurement is None:
            text += trial.state.value
            if trial.state is TrialState.COMPLETE:
                text += f", best {self.objectives[trial.study]} {number(trial.value)}"
            if trial.reason:
                text += f" ({trial.reason})"
            return f"{text} [{self.done}/{self.planned}{self._eta_text()}]"
        return text + (
            f"{measurement.stage} {measurement.epoch}/{measurement.num_epochs}, "
            f"{self.objectives[trial.study]} {number(measurement.objective)}"
        )

    def table(self) -> Table:
        """The live table: running trials, and those that ended last."""
        caption = f"{self.done} of {self.planned} trials ended{self._eta_text()}"
        table = Table(caption=caption, expand=True, pad_edge=False, box=None)
        for name in ("study", "trial", "stage", "epoch"):
            table.add_column(name, no_wrap=True)
        for name in ("validation", "study's best"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("state")
        running = sorted(self._running.values(), key=lambda row: row.began)
        for row in [*self._ended, *running]:
            trial, m = row.trial, row.measurement
            color = MARKS[trial.state]
            table.add_row(
                trial.study,
                name_of(trial),
                m.stage if m else "",
                f"{m.epoch}/{m.num_epochs}" if m else "",
                number(trial.value if row.ended else m.objective if m else None),
                self.best_of(trial.study),
                f"[{color}]{trial.state.value}[/]",
            )
        return table

    def eta_s(self) -> float | None:
        """Seconds to go, from the mean time of the trials that ended; None before the first."""
        total, count = self._times
        if not count:
            return None
        now, mean = self.clock(), total / count
        to_start = self.planned - self.done - len(self._running)
        to_finish = sum(max(0.0, mean - (now - row.began)) for row in self._running.values())
        return (mean * to_start + to_finish) / self.max_concurrent

    def _eta_text(self) -> str:
        seconds = self.eta_s()
        return "" if seconds is None else f", about {duration(seconds)} to go"


def name_of(trial: Trial) -> str:
    """A trial's number, and its role where it is not a sampled one."""
    role = "" if trial.kind is TrialKind.SAMPLED else f" {trial.kind.value}"
    return f"{trial.number:03d}{role}"


def number(value: float | None) -> str:
    """A metric's value in four significant digits."""
    return "" if value is None else f"{value:.4g}"


def duration(seconds: float) -> str:
    """A span of time as people write it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
