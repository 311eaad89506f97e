"""A sweep's fair share of the trial slots of a cluster that several sweeps use."""

import time
from collections.abc import Callable

from sweeper.core.protocols import Hook
from sweeper.core.runner import SweepRunner

REFRESH_S = 3.0
ALONE = "all slots are this sweep's"


class FairShare(Hook):
    """Limits a sweep to its share of the trials that the cluster holds.

    Args:
        slots: Their number, unless the runner knows that of a cluster whose size changes.
        standing: Returns this sweep's place among the cluster's sweeps, from 0, and their number.
    """

    def __init__(
        self,
        runner: SweepRunner,
        slots: int,
        standing: Callable[[], tuple[int, int]],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner, self._standing = runner, standing
        self._slots = slots
        self._say, self._clock = say, clock
        self._refreshed = -REFRESH_S
        self._message = ALONE

    def tick(self) -> None:
        """Set the runner's limit again; running trials are left alone."""
        if self._clock() - self._refreshed < REFRESH_S:
            return
        self._refreshed = self._clock()
        place, sweeps = self._standing()
        slots = self._slots if self._runner.slots is None else self._runner.slots
        limit = share_of(slots, sweeps, place) if sweeps > 1 else None
        self._runner.limit = limit
        message = ALONE
        if limit is not None:
            message = f"{sweeps} sweeps share the cluster: this one runs {limit} at a time"
        if message != self._message:
            self._message = message
            self._say(f"{message}.")


def share_of(slots: int, sweeps: int, place: int) -> int:
    """Return the slots of the sweep in `place`; the first sweeps have what does not divide.

    All shares together are the slots, but each sweep has at least one.
    """
    # All sweeps of a cluster have the same order, so their shares add up without an agreement.
    return max(1, slots // sweeps + (place < slots % sweeps))
