"""The progress of a launch on stderr: a live table on a terminal, plain lines otherwise.

A plain line is printed when a trial starts, ends, or has done an epoch. An epoch of an early stage,
such as MoNA's `meta`, has no objective: its line shows its first metric.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeper.console import print_text
from sweeper.core.protocols import Hook
from sweeper.core.ranking import Standing, best
from sweeper.model import Study, Trial, TrialKind, TrialState
from sweeper.results.prose import as_reported
from sweeper.text import counted, duration, number, printable
from trainables.report import Measurement

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
AROUND = 4  # lines of a terminal that rows of trials leave free: summary, head, rest, cursor
BAR = 10  # the fewest columns of the bar
NAME_WIDTH = 24  # of a trial's name, below which other columns make room for it
SPARED = (None, "floor", "kind", "epoch", "validation")  # columns, the first one first
NUMBERS = ("epoch", "validation", "study's best", "floor")


@dataclass
class Row:
    """A trial in the table."""

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
    studies: dict[str, Study]  # by name
    done: int = 0  # trials that have ended or are paused; those of earlier launches, to begin with
    known: Iterable[Trial] = ()  # of earlier launches too, among which one may be a study's best
    is_ending: Callable[[], bool] = lambda: False  # no other trial will start
    clock: Callable[[], float] = time.monotonic
    floors: Mapping[str, str] = field(default_factory=dict)  # task -> its floor, as a text
    _running: dict[tuple[str, int], Row] = field(default_factory=dict)
    _ended: deque[Row] = field(default_factory=lambda: deque(maxlen=ROWS))
    _complete: dict[str, list[Trial]] = field(default_factory=dict)  # by study
    # The best of each study in which nothing has ended since.
    _best: dict[str, Standing[Trial] | None] = field(default_factory=dict)
    _times: list[float] = field(default_factory=lambda: [0.0, 0.0])  # their sum and number
    _settled: set[tuple[str, int]] = field(default_factory=set)
    _live: Live | None = None

    def __post_init__(self) -> None:
        self.planned, self._began = self.count_planned(), self.clock()
        for trial in self.known:
            self._note(trial)
            if trial.state.is_settled:
                self._settled.add((trial.study, trial.number))

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._live = Live(console=self.console, get_renderable=self.view, refresh_per_second=4)
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
        row = self._running.setdefault(key, Row(trial, began=self.clock()))
        if trial.state is TrialState.RUNNING and measurement is None:
            row.began = self.clock()
            self._go_on(key)
        row.trial = trial
        row.measurement = measurement or row.measurement
        if trial.state is not TrialState.RUNNING:
            self._end(self._running.pop(key))
        self.tell(row, measurement)

    def tell(self, row: Row, measurement: Measurement | None) -> None:
        """Print a line about a trial that changed, unless there is a table."""
        if self._live is None:
            line = printable(self._line(row, measurement), limit=LINE)
            print_text(self.console, line)

    def _go_on(self, key: tuple[str, int]) -> None:
        """Count a paused trial that goes on as one trial, and not as two; so a failed one."""
        if key in self._settled:
            self._settled.remove(key)
            self.done -= 1
            # Its seconds stay in the sum: with those to come they are the time of one trial.
            self._times[1] = max(0.0, self._times[1] - 1)

    def _end(self, row: Row) -> None:
        row.ended = self.clock()
        self._ended.append(row)
        self._times[0] += row.ended - row.began
        self._times[1] += 1
        trial = row.trial
        self.done += trial.state.is_settled
        self.planned = self.count_planned()
        if trial.state.is_settled:
            self._settled.add((trial.study, trial.number))
        self._note(trial)

    def _note(self, trial: Trial) -> None:
        if trial.state is TrialState.COMPLETE:
            self._complete.setdefault(trial.study, []).append(trial)
            self._best.pop(trial.study, None)

    def best_of(self, study: str) -> str:
        """Return the value that `status`, `best` and the page give too, with its seeds."""
        return str(self._standing(study) or "")

    def _standing(self, study: str) -> Standing[Trial] | None:
        if study not in self._best:  # found out where it is shown: a large study takes a while
            self._best[study] = best(self._complete.get(study, ()))
        return self._best[study]

    def _line(self, row: Row, measurement: Measurement | None) -> str:
        trial = row.trial
        text = f"{name_of(trial)}: "
        if measurement is None:
            text += trial.state.value
            if trial.state is TrialState.COMPLETE and trial.value is not None:
                name, value = as_reported(self.studies[trial.study].objective, trial.value)
                text += f", best {name} {number(value)}"
            if trial.reason:
                text += f" ({trial.reason})"
            eta = "" if trial.state is TrialState.INTERRUPTED else self._eta_text()
            return f"{text} [{self.done}/{self.planned}{eta}]"
        shown = dict(islice(measurement.metrics.items(), 1))
        if measurement.objective is not None:
            objective = self.studies[trial.study].objective
            shown = dict([as_reported(objective, measurement.objective)])
        values = (f", {name} {number(value)}" for name, value in shown.items())
        return text + _epoch(measurement) + "".join(values)

    def view(self) -> Group:
        """Return the live view: a summary, running trials, and below them those that ended last.

        It is never higher than the terminal, which would hide its end.
        """
        room = max(1, self.console.height - AROUND)
        hidden = len(self._running) - room
        rest = [Text(f"… and {hidden} more running", style="dim")] if hidden > 0 else []
        return Group(self._summary(), self._table(self.rows(room)), *rest)

    def rows(self, room: int) -> list[Row]:
        """Return the first `room` of the running trials, and of those that ended last."""
        running = sorted(self._running.values(), key=lambda row: row.began)
        return [*running, *reversed(self._ended)][:room]

    def summary(self) -> list[str]:
        """Return what is known of the sweep as a whole, the most important first."""
        elapsed = duration(self.clock() - self._began)
        ended = f"{self.done} of {counted(self.planned, 'trial')} ended"
        parts = [f"{ended}{self._eta_text()}", f"{elapsed} elapsed"]
        tasks = {study.task for study in self.studies.values()}
        if len(tasks) == 1:  # else each study has its own in the table
            found = [each for study in self.studies if (each := self._standing(study))]
            leader = min(found, key=lambda each: each.validation, default=None)
            parts += [] if leader is None else [f"best {leader}"]
            parts += [f"floor {floor}" for task in tasks if (floor := self.floors.get(task))]
        return parts

    def _summary(self) -> Table:
        """Return the summary as one line, with a bar in the space that is left."""
        parts = self.summary()
        # The line is not wrapped, so its least important part goes.
        while len(parts) > 1 and len(", ".join(parts)) > self.console.width:
            parts.pop()
        text = ", ".join(parts)
        line = Table.grid(padding=(0, 2))
        line.add_column(no_wrap=True)
        if (room := self.console.width - len(text) - 2) >= BAR:
            bar = ProgressBar(max(1, self.planned), self.done, width=min(room, 2 * BAR))
            line.add_row(text, bar)
        else:
            line.add_row(text)
        return line

    def _table(self, rows: Sequence[Row]) -> Table:
        """Return a line for each of these trials.

        On a narrow terminal a trial's name loses its beginning, and then the columns of `SPARED`
        are left out: state, trial and best always fit.
        """
        table = Table(pad_edge=False, box=None)
        columns = self.columns(rows)
        room = self._fit(columns)
        for name in columns:
            justify: Literal["left", "right"] = "right" if name in NUMBERS else "left"
            table.add_column(name, justify=justify, no_wrap=True)
        for row, (state, trial, *cells) in zip(
            rows, zip(*columns.values(), strict=True), strict=True
        ):
            name = escape(shortened(trial, room))
            table.add_row(f"[{MARKS[row.trial.state]}]{state}[/]", name, *cells)
        return table

    def columns(self, rows: Sequence[Row]) -> dict[str, list[str]]:
        """Return the cells of each column of the table of these trials."""
        columns = {
            "state": [row.trial.state.value for row in rows],
            "trial": [row.trial.name for row in rows],
            "kind": [row.trial.kind.value for row in rows],
            "epoch": [_epoch(row.measurement) for row in rows],
            "validation": [number(row.value) for row in rows],
            "study's best": [self.best_of(row.trial.study) for row in rows],
        }
        if len({study.task for study in self.studies.values()}) > 1:
            tasks = [self.studies[row.trial.study].task for row in rows]
            columns["floor"] = [self.floors.get(task, "") for task in tasks]
        return columns

    def _fit(self, columns: dict[str, list[str]]) -> int:
        """Leave out columns until a trial's name has room, and return how much it has."""
        # The first one is None, since the table may fit as it is.
        for spared in SPARED:
            columns.pop(spared or "", None)
            widths = [max(map(len, (name, *cells))) for name, cells in columns.items()]
            trial = max(map(len, ("trial", *columns["trial"])))
            # Rich pads each column with two spaces.
            room = self.console.width - (sum(widths) - trial) - 2 * len(widths)
            if room >= min(trial, NAME_WIDTH):
                break
        return max(room, 1)

    def eta_s(self) -> float | None:
        """Return the seconds to go, from the mean time of ended trials; None before the first.

        A running trial that has taken longer than that goes on at the pace of its epochs.
        """
        if (left := self._left_s()) is None:
            return None
        # It takes no less than its longest running trial, however many slots are free.
        return max(sum(left) / self.max_concurrent, *left[1:], 0.0)

    def work_s(self) -> float | None:
        """Return the seconds that all trials to go take together; None before the first end."""
        left = self._left_s()
        return None if left is None else sum(left)

    def _left_s(self) -> list[float] | None:
        """Return the seconds of all trials to start, and those of each running trial to go."""
        total, count = self._times
        if not count:
            return None
        now, mean = self.clock(), total / count
        # A sweep that ends early starts no further trial, whatever was planned.
        to_start = 0 if self.is_ending() else self.planned - self.done - len(self._running)
        return [mean * to_start, *(row.left_s(mean, now) for row in self._running.values())]

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
