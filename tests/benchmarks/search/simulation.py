"""A simulated cluster: workers with a virtual clock, for any search that trains epoch by epoch.

The CPU seconds that a search itself takes are real and counted: its next trial starts that much
later. Other programs on the machine do not count.
"""

import heapq
import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sweeper.model import Params
from tests.benchmarks.search.tasks import Curve, Floats, Task


@dataclass(frozen=True)
class Run:
    """A training to start, or to go on with: its epochs from `first` on."""

    trial: Hashable
    params: Params
    first: int = 1


class Search(Protocol):
    """An optimiser that is asked for runs and told of their epochs."""

    def next(self) -> Run | None:
        """Return what a free worker trains, or None if it has to wait."""
        ...

    def report(self, trial: Hashable, epoch: int, error: float) -> bool:
        """Record an epoch; return whether the worker goes on with the trial."""
        ...


@dataclass(frozen=True)
class Trace:
    """The incumbent after each epoch that a search has spent."""

    errors: Floats  # [epochs], the lowest so far
    seconds: Floats  # [epochs], on the virtual clock
    search_seconds: float  # of CPU time that the search took for all its decisions
    num_trials: int

    def after_epochs(self, epochs: float) -> float:
        """Return the incumbent's error after so many epochs; the last one if there were fewer."""
        return float(self.errors[min(max(int(epochs), 1), len(self.errors)) - 1])

    def after_seconds(self, seconds: float) -> float:
        """Return the incumbent's error at a time; the first one before any epoch has ended."""
        return self.after_epochs(np.searchsorted(self.seconds, seconds, side="right"))


def simulate(search: Search, task: Task, *, workers: int, epochs: int) -> Trace:
    """Return the trace of a search that spends a number of epochs on a task."""
    running: list[tuple[float, int, Run, Curve, int]] = []  # a heap: end of the epoch, order, ...
    curves: dict[Hashable, Curve] = {}
    clock = spent = best = 0.0
    found: list[tuple[float, float]] = []
    started = 0
    while len(found) < epochs:
        while len(running) < workers:
            before = time.process_time()
            run = search.next()
            spent += (took := time.process_time() - before)
            clock += took
            if run is None:
                break
            curve = curves.setdefault(run.trial, task.curve(run.params))
            end = clock + curve.seconds[run.first - 1]
            heapq.heappush(running, (end, started, run, curve, run.first))
            started += 1
        if not running:
            break  # the search is over
        end, order, run, curve, epoch = heapq.heappop(running)
        clock = max(clock, end)
        error = float(curve.errors[epoch - 1])
        best = min(best, error) if found else error
        found.append((best, clock))
        before = time.process_time()
        goes_on = search.report(run.trial, epoch, error)
        spent += (took := time.process_time() - before)
        clock += took
        if goes_on and epoch < task.num_epochs:
            heapq.heappush(running, (clock + curve.seconds[epoch], order, run, curve, epoch + 1))
    errors, seconds = np.array(found).T
    return Trace(errors, seconds, search_seconds=spent, num_trials=len(curves))
