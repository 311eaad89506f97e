"""Several sweeps on one cluster: each starts no more trials than its fair share of the slots."""

import time
from collections.abc import Callable

from sweeper.core.runner import SweepRunner

LOOK_S = 3.0


class Share:
    """Limits a sweep to its share of `slots`, the trials that the cluster holds.

    Args:
        standing: Which of the cluster's sweeps this one is, from 0, and how many there are.
    """

    def __init__(
        self,
        slots: int,
        standing: Callable[[], tuple[int, int]],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots, self._standing, self._say, self._clock = slots, standing, say, clock
        self._looked = -LOOK_S
        self._told = "all slots are this sweep's"

    def look(self, runner: SweepRunner) -> None:
        """Sets the runner's limit anew; running trials are left alone."""
        if self._clock() - self._looked < LOOK_S:
            return
        self._looked = self._clock()
        place, sweeps = self._standing()
        runner.limit = share_of(self._slots, sweeps, place) if sweeps > 1 else None
        told = "all slots are this sweep's"
        if runner.limit is not None:
            told = f"{sweeps} sweeps share the cluster: this one runs {runner.limit} at a time"
        if told != self._told:
            self._told = told
            self._say(f"{told}.")


def share_of(slots: int, sweeps: int, place: int) -> int:
    """Returns the slots of the sweep in `place`: the first ones have what does not divide.

    All shares together are the slots, but that each sweep has at least one.
    """
    return max(1, slots // sweeps + (place < slots % sweeps))
