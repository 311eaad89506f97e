"""The progress of a launch on stderr: a live table on a terminal, plain lines otherwise.

A plain line is printed when a trial starts, ends, or has done an epoch. An epoch of an early stage,
such as MoNA's `meta`, has no objective: its line shows its first metric.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from sweeper.console import print_text
from sweeper.core.protocols import Hook
from sweeper.core.ranking import Standing, best
from sweeper.model import Measurement, Trial, TrialKind, TrialState
from sweeper.text import counted, duration, number, printable

MARKS = {
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.PAUSED: "blue",
    TrialState.FAILED: "red",
    TrialState.INTERRUPTED: "magenta",
    TrialState.WAITING: "dim",
}
LINE = 2000  # characters, a reason's included
ROWS = 6  # of ended trials that the table keeps showing
NAME_WIDTH = 24  # of a trial's name, below which other columns make room for it
NUMBERS = ("epoch", "validation", "study's best")


@dataclass
class _Row:
    trial: Trial
    measurement: Measurement | None = None
    began: float = 0.0
    ended: float | None = None

    @property
    def value(self) -> float | None:
        """Return the value that the trial ended with, or its latest objective."""
        if self.ended is not None:
            return self.trial.value
        return self.measurement.objective if self.measurement else None

    def left_s(self, mean: float, now: float) -> float:
        """Return the seconds that a running trial still takes.

        Args:
            mean: Seconds that a trial takes; of one that takes longer, the pace of its present
                stage counts, and before the first epoch nothing is known but the mean.
            now: By the clock of `began`.
        """
        took, m = now - self.began, self.measurement
        if took < mean:
            return mean - took
        if m is None or (m.epoch >= m.num_epochs and not m.is_final):  # its next stage is to come
            return mean
        return took / max(1, m.epoch) * max(0, m.num_epochs - m.epoch)


@dataclass
class Progress(Hook):
    """The display of a running sweep on `console`."""

    console: Console
    count_planned: Callable[[], int]  # trials in all, as far as is known
    max_concurrent: int
    objectives: dict[str, str]  # study -> the name of its objective
    done: int = 0  # trials that have ended or are paused; those of earlier launches, to begin with
    known: Iterable[Trial] = ()  # of earlier launches too, among which one may be a study's best
    is_ending: Callable[[], bool] = lambda: False  # no other trial will start
    clock: Callable[[], float] = time.monotonic
    _running: dict[tuple[str, int], _Row] = field(default_factory=dict)
    _ended: deque[_Row] = field(default_factory=lambda: deque(maxlen=ROWS))
    _complete: dict[str, list[Trial]] = field(default_factory=dict)  # by study
    # The best of each study in which nothing has ended since.
    _best: dict[str, Standing[Trial] | None] = field(default_factory=dict)
    _times: list[float] = field(default_factory=lambda: [0.0, 0.0])  # their sum and number
    _paused: set[tuple[str, int]] = field(default_factory=set)
    _live: Live | None = None

    def __post_init__(self) -> None:
        self.planned = self.count_planned()
        for trial in self.known:
            self._note(trial)
            if trial.state is TrialState.PAUSED:
                self._paused.add((trial.study, trial.number))

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._live = Live(console=self.console, get_renderable=self.table, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, patience_s: float | None = None) -> None:
        """Stop the live table."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        """Show a trial that started, measured or ended."""
        key = (trial.study, trial.number)
        row = self._running.setdefault(key, _Row(trial, began=self.clock()))
        if trial.state is TrialState.RUNNING and measurement is None:
            row.began = self.clock()
            self._promote(key)
        row.trial = trial
        row.measurement = measurement or row.measurement
        if trial.state is not TrialState.RUNNING:
            self._end(self._running.pop(key))
        if self._live is None:
            line = printable(self._line(row, measurement), limit=LINE)
            print_text(self.console, line)

    def _promote(self, key: tuple[str, int]) -> None:
        """Count a paused trial that goes on as one trial, and not as two."""
        if key in self._paused:
            self._paused.remove(key)
            self.done -= 1
            self._times[1] = max(0.0, self._times[1] - 1)

    def _end(self, row: _Row) -> None:
        row.ended = self.clock()
        self._ended.append(row)
        self._times[0] += row.ended - row.began
        self._times[1] += 1
        trial = row.trial
        self.done += trial.state.is_settled
        self.planned = self.count_planned()
        if trial.state is TrialState.PAUSED:
            self._paused.add((trial.study, trial.number))
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
        text = f"{name_of(trial)}: "
        if measurement is None:
            text += trial.state.value
            if trial.state is TrialState.COMPLETE:
                text += f", best {self.objectives[trial.study]} {number(trial.value)}"
            if trial.reason:
                text += f" ({trial.reason})"
            eta = "" if trial.state is TrialState.INTERRUPTED else self._eta_text()
            return f"{text} [{self.done}/{self.planned}{eta}]"
        shown = dict(islice(measurement.metrics.items(), 1))
        if measurement.objective is not None:
            shown = {self.objectives[trial.study]: measurement.objective}
        values = (f", {name} {number(value)}" for name, value in shown.items())
        return text + _epoch(measurement) + "".join(values)

    def table(self) -> Table:
        """Return the live table: running trials, and those that ended last.

        On a narrow terminal a trial's name loses its beginning, and then epochs and validation are
        left out: state, trial and best always fit.
        """
        caption = f"{self.done} of {counted(self.planned, 'trial')} ended{self._eta_text()}"
        table = Table(caption=caption, pad_edge=False, box=None)
        running = sorted(self._running.values(), key=lambda row: row.began)
        rows = [*self._ended, *running]
        columns: dict[str, list[str]] = {
            "state": [row.trial.state.value for row in rows],
            "trial": [name_of(row.trial) for row in rows],
            "epoch": [_epoch(row.measurement) for row in rows],
            "validation": [number(row.value) for row in rows],
            "study's best": [self.best_of(row.trial.study) for row in rows],
        }
        room = self._fit(columns)
        for name in columns:
            justify: Literal["left", "right"] = "right" if name in NUMBERS else "left"
            table.add_column(name, justify=justify, no_wrap=True)
        for row, (state, trial, *cells) in zip(
            rows, zip(*columns.values(), strict=True), strict=True
        ):
            name = shortened(trial if room >= NAME_WIDTH else row.trial.name, room)
            table.add_row(f"[{MARKS[row.trial.state]}]{state}[/]", escape(name), *cells)
        return table

    def _fit(self, columns: dict[str, list[str]]) -> int:
        """Leave out columns until a trial's name has room, and return how much it has."""
        for spared in (None, "epoch", "validation"):
            columns.pop(spared or "", None)
            widths = [max(map(len, (name, *cells))) for name, cells in columns.items()]
            trial = max(map(len, ("trial", *columns["trial"])))
            room = self.console.width - (sum(widths) - trial) - 2 * len(widths)
            if room >= min(trial, NAME_WIDTH):
                break
        return max(room, 1)

    def eta_s(self) -> float | None:
        """Return the seconds to go, from the mean time of ended trials; None before the first.

        A running trial that has taken longer than that goes on at the pace of its epochs.
        """
        total, count = self._times
        if not count:
            return None
        now, mean = self.clock(), total / count
        to_start = 0 if self.is_ending() else self.planned - self.done - len(self._running)
        to_finish = [row.left_s(mean, now) for row in self._running.values()]
        return max((mean * to_start + sum(to_finish)) / self.max_concurrent, *to_finish, 0.0)

    def _eta_text(self) -> str:
        seconds = self.eta_s()
        is_over = self.done >= self.planned or (self.is_ending() and not self._running)
        if seconds is None or is_over:
            return ""
        return f", about {duration(max(1.0, seconds))} to go"


def name_of(trial: Trial) -> str:
    """Return a trial's name, and its kind where it is not a sampled one."""
    kind = "" if trial.kind is TrialKind.SAMPLED else f" {trial.kind.value}"
    return f"{trial.name}{kind}"


def shortened(text: str, width: int) -> str:
    """Cut `text` to `width` characters at its beginning: its end tells trials apart."""
    return text if len(text) <= width else f"…{text[len(text) - width + 1 :]}"


def _epoch(measurement: Measurement | None) -> str:
    m = measurement
    return f"{m.stage} {m.epoch}/{m.num_epochs}" if m else ""
