"""Gauges of a running sweep and its trials in Ray's metrics, for Prometheus and Grafana.

Ray adds the prefix `ray_` to each name, and drops a series that is not set for two export intervals
(10 s each). Therefore all gauges are set every few seconds, even without a change. The series of a
trial end with the trial.
"""

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray.util.metrics import Gauge

from sweeper.core.protocols import Hook
from sweeper.core.runner import SweepRunner
from sweeper.model import Trial, TrialState
from trainables.report import Measurement

REFRESH_S = 5.0
OF_TRIALS = {  # labelled by sweep, study, trial and stage
    "sweeper_trial_epoch": "Epochs of the present stage that are done.",
    "sweeper_trial_objective": "Validation value after the last epoch that has one; lower is "
    "better.",
    "sweeper_trial_best": "Best validation value so far.",
    "sweeper_trial_epoch_seconds": "Seconds that the last epoch took.",
}
OF_SWEEPS = {  # labelled by sweep; trials by state, too
    "sweeper_trials": "Trials in each state, planned ones among the waiting.",
    "sweeper_seconds_since_report": "Seconds since a trial last started, reported or ended.",
    "sweeper_mlflow_pending_records": "Records of the ledger that MLflow lacks.",
}
TRIAL_LABELS = ("sweep", "study", "trial", "stage")
LABELS = {**dict.fromkeys(OF_TRIALS, TRIAL_LABELS), **dict.fromkeys(OF_SWEEPS, ("sweep",))}
LABELS["sweeper_trials"] = ("sweep", "state")


@dataclass
class _Running:
    """The last report of a running trial."""

    measurement: Measurement
    best: float | None
    epoch_s: float


class Gauges(Hook):
    """The gauges of a running sweep.

    Args:
        count_pending: A function that returns the number of records that MLflow lacks.
    """

    def __init__(
        self,
        sweep: str,
        runner: SweepRunner,
        count_pending: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sweep, self._runner, self._count_pending = sweep, runner, count_pending
        self._clock = clock
        self._heard = clock()
        self._refreshed = -math.inf
        self._running: dict[tuple[str, int], _Running] = {}
        self._gauges: dict[str, Any] = {
            name: Gauge(name, description=text, tag_keys=LABELS[name])
            for name, text in (OF_TRIALS | OF_SWEEPS).items()
        }

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        """Handle the start, an epoch or the end of a trial."""
        self._heard = self._clock()
        key = (trial.study, trial.number)
        if trial.state is not TrialState.RUNNING or measurement is None:
            self._running.pop(key, None)
            return
        # The seconds of a report run from the begin of the attempt. Its first
        # epoch includes the start.
        before = self._running.get(key)
        began = 0.0 if before is None else before.measurement.seconds
        self._running[key] = _Running(measurement, trial.value, measurement.seconds - began)

    def tick(self) -> None:
        """Set every gauge if it is due."""
        now = self._clock()
        if now - self._refreshed < REFRESH_S:
            return
        self._refreshed = now
        counts = Counter(trial.state for trial in self._runner.trials)
        counts[TrialState.WAITING] += max(0, self._runner.num_planned - counts.total())
        for state in TrialState:
            self._set("sweeper_trials", counts[state], state=state.value)
        self._set("sweeper_seconds_since_report", now - self._heard)
        self._set("sweeper_mlflow_pending_records", self._count_pending())
        for (study, number), last in self._running.items():
            labels = {"study": study, "trial": f"{number:03d}", "stage": last.measurement.stage}
            self._set("sweeper_trial_epoch", last.measurement.epoch, **labels)
            self._set("sweeper_trial_objective", last.measurement.objective, **labels)
            self._set("sweeper_trial_best", last.best, **labels)
            self._set("sweeper_trial_epoch_seconds", last.epoch_s, **labels)

    def _set(self, name: str, value: float | None, **labels: str) -> None:
        if value is not None and math.isfinite(value):
            self._gauges[name].set(value, tags={"sweep": self._sweep, **labels})
