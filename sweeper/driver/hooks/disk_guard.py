"""A guard against lost work: no trial starts while checkpoints cannot be kept.

Either a disk has too little room for them, or their store refused one.
"""

import shutil
import time
from collections.abc import Callable
from contextlib import suppress

from sweeper.core.protocols import Hook
from sweeper.core.runner import SweepRunner
from sweeper.errors import StorageFull
from sweeper.model import Trial, TrialState
from sweeper.planning.checkpoint_paths import CheckpointPaths, size_of
from trainables.report import Measurement
from trainables.storage.urls import ArtifactUrl

MIN_FREE_BYTES = 8 * 2**20  # bytes, before any checkpoint is known
COPIES = 3  # of a running trial's checkpoint: two are kept while the next is written
PATIENCE_S = 60.0  # with a full disk, once nothing runs
FIRST_PAUSE_S = 5.0  # after a store refused a checkpoint; each later pause is twice as long
LAST_TRY = 6  # in a row without a checkpoint: three minutes, and what the store takes to answer


class StorageBackoff(Hook):
    """A growing pause after each checkpoint that a store did not take."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started: set[tuple[str, int]] = set()  # since the latest pause began
        self.reset()

    def reset(self) -> None:
        """Forget all failures: the store takes checkpoints."""
        self._failures, self._until, self._reason = 0, 0.0, ""

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        """Count a checkpoint that was kept, or was not.

        Failures of trials that ran already when a pause began do not count: they show nothing new.
        """
        key = trial.study, trial.number
        if measurement is not None:
            if measurement.checkpoint is not None:
                self.reset()
        elif trial.state is TrialState.RUNNING:
            self._started.add(key)
        elif trial.failure == "storage" and (key in self._started or not self._failures):
            self._started.clear()
            self._failures += 1
            # Retries within seconds say nothing new about a store, so each pause is twice as long.
            self._until = self._clock() + FIRST_PAUSE_S * 2 ** (self._failures - 1)
            self._reason = trial.reason or trial.failure

    @property
    def is_hopeless(self) -> bool:
        """True if the store has failed too often."""
        return self._failures >= LAST_TRY

    @property
    def message(self) -> str | None:
        """The reason why no trial should start at present; None if trials may start."""
        if not self._failures or (self._clock() >= self._until and not self.is_hopeless):
            return None
        return f"checkpoints cannot be kept (try {self._failures} of {LAST_TRY}): {self._reason}"


class DiskGuard(Hook):
    """The guard of the disks of `paths` and of the checkpoints that reach them."""

    def __init__(
        self,
        runner: SweepRunner,
        paths: CheckpointPaths,
        slots: int,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner, self._paths = runner, paths
        self.slots = slots  # of the cluster as it is
        self._say, self._clock = say, clock
        self._backoff = StorageBackoff(clock)
        self._largest = 0
        self._sized: set[tuple[str, int]] = set()
        self._idle_since: float | None = None
        self._was_full = False

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        """Pause the sweep once a checkpoint is not kept; measure the first one of each trial."""
        self._backoff.changed(trial, measurement)
        # Now and not at the next tick: the runner may start another trial before that.
        if self._runner.paused is None:
            self._pause(self._backoff.message, "New trials wait")
        key = (trial.study, trial.number)
        if measurement is None or measurement.checkpoint is None or key in self._sized:
            return
        self._sized.add(key)
        place = self._paths.of_checkpoint(trial, measurement.checkpoint)
        folder = ArtifactUrl.parse(place).folder
        if folder is not None:
            with suppress(OSError):  # it may be thinned meanwhile
                self._largest = max(self._largest, size_of(folder))

    @property
    def needed(self) -> int:
        """Bytes that running trials may still write."""
        return max(MIN_FREE_BYTES, COPIES * self.slots * self._largest)

    def tick(self) -> None:
        """Pause the sweep, or let it go on.

        Raises:
            StorageFull: Nothing runs, and there has been no room for a minute, or the store refused
                too many checkpoints in a row.
        """
        full = self._full_disk()
        if full is None and self._was_full:
            # The store's failures may have been those of the full disk.
            self._backoff.reset()
            self._say("there is room again; going on.")
        if full is not None and not self._was_full:
            self._pause(full, "No new trial starts until there is")
        self._was_full = full is not None
        self._runner.paused = full or self._backoff.message
        if self._runner.paused is None or self._runner.num_running:
            self._idle_since = None
            return
        if self._idle_since is None:
            self._idle_since = self._clock()
        # Space may be freed meanwhile. A store has had its pauses between the tries already.
        has_waited = self._clock() - self._idle_since > PATIENCE_S
        if has_waited if self._was_full else self._backoff.is_hopeless:
            done = sum(t.state is TrialState.COMPLETE for t in self._runner.trials)
            raise StorageFull(
                f"{self._runner.paused}; {done} trials are complete. Free space, or see to the "
                f"store, then go on with: sweeper resume {self._paths.folder.name}"
            )

    def _pause(self, reason: str | None, effect: str) -> None:
        self._runner.paused = reason
        if reason is not None:
            self._say(f"{reason}. {effect}; what is done is safe.")

    def _full_disk(self) -> str | None:
        """Return a message about a disk with too little room; None if all have enough."""
        for folder in self._paths.folders():
            try:
                # A folder that is yet to be made will be on the disk of its nearest parent.
                there = next(path for path in (folder, *folder.parents) if path.exists())
                usage = shutil.disk_usage(there)
            except OSError:  # the disk is away: trials will fail and report it
                continue
            if usage.free < self.needed:
                return (
                    f"no space left on {folder}: {_mb(usage.free)} of {_mb(usage.total)} MB free, "
                    f"{_mb(self.needed)} MB are needed"
                )
        return None


def _mb(count: int) -> str:
    return f"{count / 10**6:,.0f}"
