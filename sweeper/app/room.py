"""Keeps a sweep from filling a disk: nothing new starts while there is no room for checkpoints."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from sweeper.errors import StorageFull
from sweeper.runner import SweepRunner
from sweeper.study import Measurement, Trial, TrialState

LEAST_FREE = 8 * 2**20  # bytes, before any checkpoint is known
COPIES = 3  # of a running trial's checkpoint: two are kept while the next is written
PATIENCE_S = 60.0  # with a full disk, once nothing runs


class Room:
    """Watches the disk of `folder` (an `Observer`, for the size of checkpoints)."""

    def __init__(
        self,
        folder: Path,
        slots: int,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._slots, self._say, self._clock = folder, slots, say, clock
        self._largest = 0
        self._sized: set[tuple[str, int]] = set()
        self._idle_since: float | None = None

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        """Takes the size of each trial's first checkpoint."""
        key = (trial.study, trial.number)
        if measurement is None or measurement.checkpoint is None or key in self._sized:
            return
        self._sized.add(key)
        self._largest = max(self._largest, size_of(Path(measurement.checkpoint)))

    @property
    def needed(self) -> int:
        """Bytes that running trials may come to write."""
        return max(LEAST_FREE, COPIES * self._slots * self._largest)

    def look(self, runner: SweepRunner) -> None:
        """Pauses the sweep, or lets it go on.

        Raises:
            StorageFull: There is no room, nothing runs, and that has been so for a minute.
        """
        usage = shutil.disk_usage(self._folder)
        if usage.free >= self.needed:
            if runner.paused is not None:
                self._say("there is room again; going on.")
            runner.paused = self._idle_since = None
            return
        told = (
            f"no space left on {self._folder}: {_mb(usage.free)} of {_mb(usage.total)} MB free, "
            f"{_mb(self.needed)} MB are needed"
        )
        if runner.paused is None:
            self._say(f"{told}. No new trial starts until there is; what is done is safe.")
        runner.paused = told
        if runner.num_running:
            self._idle_since = None
            return
        self._idle_since = self._idle_since or self._clock()
        if self._clock() - self._idle_since > PATIENCE_S:
            done = sum(t.state is TrialState.COMPLETE for t in runner.trials)
            raise StorageFull(
                f"{told}; {done} trials are complete. Free space, then go on with: "
                f"sweeper resume {self._folder.name}"
            )


def size_of(folder: Path) -> int:
    """Returns the bytes of a folder's files; 0 where it is elsewhere."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _mb(count: int) -> str:
    return f"{count / 10**6:,.0f}"
