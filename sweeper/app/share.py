"""Several sweeps on one cluster: each starts no more trials than its fair share of the slots."""

import time
from collections.abc import Callable

from sweeper.runner import SweepRunner

LOOK_S = 3.0


class Share:
    """Limits a sweep to `slots`, the trials that the cluster holds, over the number of sweeps."""

    def __init__(
        self,
        slots: int,
        count: Callable[[], int],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots, self._count, self._say, self._clock = slots, count, say, clock
        self._looked = -LOOK_S
        self._sweeps = 1

    def look(self, runner: SweepRunner) -> None:
        """Sets the runner's limit anew; running trials are left alone."""
        if self._clock() - self._looked < LOOK_S:
            return
        self._looked = self._clock()
        sweeps = self._count()
        runner.limit = max(1, -(-self._slots // sweeps)) if sweeps > 1 else None
        if sweeps != self._sweeps:
            self._sweeps = sweeps
            told = "all slots are this sweep's"
            if runner.limit is not None:
                told = f"{sweeps} sweeps share the cluster: this one runs {runner.limit} at a time"
            self._say(f"{told}.")
