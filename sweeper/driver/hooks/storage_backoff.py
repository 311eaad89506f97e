"""A store that takes no checkpoints: new trials wait for it, longer each time that one fails."""

import time
from collections.abc import Callable

from sweeper.model import Measurement, Trial, TrialState

FIRST_PAUSE_S = 5.0  # and twice as long each time
LAST_TRY = 6  # in a row without a checkpoint: three minutes, and what the store takes to answer


class Outage:
    """What becomes of trials' checkpoints tells of their store (an `Observer`)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started: set[tuple[str, int]] = set()  # since the latest pause began
        self.forget()

    def forget(self) -> None:
        """Takes in that the store is there."""
        self._failures, self._until, self._reason = 0, 0.0, ""

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        """Takes in that a checkpoint was kept, or was not; what ran already when a pause began says
        nothing new."""
        key = trial.study, trial.number
        if measurement is not None:
            if measurement.checkpoint is not None:
                self.forget()
        elif trial.state is TrialState.RUNNING:
            self._started.add(key)
        elif trial.failure == "storage" and (key in self._started or not self._failures):
            self._started.clear()
            self._failures += 1
            self._until = self._clock() + FIRST_PAUSE_S * 2 ** (self._failures - 1)
            self._reason = trial.reason or trial.failure

    @property
    def is_hopeless(self) -> bool:
        """Whether it has been tried often enough."""
        return self._failures >= LAST_TRY

    @property
    def told(self) -> str | None:
        """Why nothing new should start at present, if so."""
        if not self._failures or (self._clock() >= self._until and not self.is_hopeless):
            return None
        return f"checkpoints cannot be kept (try {self._failures} of {LAST_TRY}): {self._reason}"
