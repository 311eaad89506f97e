"""Keeps a sweep from losing work: nothing new starts while there is no room for checkpoints, or
their store does not take them."""

import shutil
import time
from collections.abc import Callable
from contextlib import suppress

from sweeper.core.runner import SweepRunner
from sweeper.driver.hooks.storage_backoff import Outage
from sweeper.errors import StorageFull
from sweeper.model import Measurement, Trial, TrialState
from sweeper.planning.checkpoint_paths import Places, size_of
from trainables.storage.urls import ArtifactUrl

LEAST_FREE = 8 * 2**20  # bytes, before any checkpoint is known
COPIES = 3  # of a running trial's checkpoint: two are kept while the next is written
PATIENCE_S = 60.0  # with a full disk, once nothing runs


class Room:
    """Watches the disks of `places`, and whether checkpoints get there (an `Observer`)."""

    def __init__(
        self,
        runner: SweepRunner,
        places: Places,
        slots: int,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner, self._places, self._slots = runner, places, slots
        self._say, self._clock = say, clock
        self._outage = Outage(clock)
        self._largest = 0
        self._sized: set[tuple[str, int]] = set()
        self._idle_since: float | None = None
        self._was_full = False

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        """Pauses the sweep once a checkpoint is not kept; takes the size of each trial's first."""
        self._outage.changed(trial, measurement)
        if self._runner.paused is None:
            self._pause(self._outage.told, "New trials wait")
        key = (trial.study, trial.number)
        if measurement is None or measurement.checkpoint is None or key in self._sized:
            return
        self._sized.add(key)
        place = self._places.of_checkpoint(trial, measurement.checkpoint)
        folder = ArtifactUrl.parse(place).folder
        if folder is not None:
            with suppress(OSError):  # it may be thinned meanwhile
                self._largest = max(self._largest, size_of(folder))

    @property
    def needed(self) -> int:
        """Bytes that running trials may come to write."""
        return max(LEAST_FREE, COPIES * self._slots * self._largest)

    def look(self) -> None:
        """Pauses the sweep, or lets it go on.

        Raises:
            StorageFull: Nothing runs, and there has been no room for a minute, or checkpoints were
                not kept so often that it is hopeless.
        """
        full = self._full()
        if full is None and self._was_full:
            self._outage.forget()
            self._say("there is room again; going on.")
        if full is not None and not self._was_full:
            self._pause(full, "No new trial starts until there is")
        self._was_full = full is not None
        self._runner.paused = full or self._outage.told
        if self._runner.paused is None or self._runner.num_running:
            self._idle_since = None
            return
        if self._idle_since is None:
            self._idle_since = self._clock()
        has_waited = self._clock() - self._idle_since > PATIENCE_S
        if has_waited if self._was_full else self._outage.is_hopeless:
            self._give_up()

    def _pause(self, told: str | None, what: str) -> None:
        self._runner.paused = told
        if told is not None:
            self._say(f"{told}. {what}; what is done is safe.")

    def _give_up(self) -> None:
        done = sum(t.state is TrialState.COMPLETE for t in self._runner.trials)
        raise StorageFull(
            f"{self._runner.paused}; {done} trials are complete. Free space, or see to the store, "
            f"then go on with: sweeper resume {self._places.folder.name}"
        )

    def _full(self) -> str | None:
        """Says which disk has too little room, if one has."""
        for folder in self._places.folders():
            try:
                there = next(path for path in (folder, *folder.parents) if path.exists())
                usage = shutil.disk_usage(there)
            except OSError:  # it is away, as trials will tell
                continue
            if usage.free < self.needed:
                return (
                    f"no space left on {folder}: {_mb(usage.free)} of {_mb(usage.total)} MB free, "
                    f"{_mb(self.needed)} MB are needed"
                )
        return None


def _mb(count: int) -> str:
    return f"{count / 10**6:,.0f}"
