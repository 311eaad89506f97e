"""Which checkpoints of a sweep stay: of each trial that has ended, one, unless the file says less.

All that a file can have deleted here is opt-in; each deletion is an event of the ledger, by which
MLflow's copy goes too. A thread of its own deletes, so that nobody waits for a disk or a store.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from sweeper.app.places import Places
from sweeper.ledger import Ledger
from sweeper.space.schema import Checkpoints
from sweeper.study import Measurement, Trial, TrialState
from trainables import artifacts
from trainables.errors import TrainableError

PATIENCE_S = 5.0  # with a store that is asked for a size


@dataclass(frozen=True)
class _Kept:
    trial: Trial
    size: int


@dataclass
class Retention:
    """Thins the checkpoints of trials that end (an `Observer`)."""

    places: Places
    keep: Checkpoints
    ledger: Ledger
    _kept: dict[tuple[str, int], _Kept] = field(default_factory=dict)
    _later: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="retention")
    )

    def __post_init__(self) -> None:
        for trial in self.ledger.trials():
            if trial.state.is_finished and trial.checkpoint is not None:
                self._remember(trial)

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        """Takes in that a trial has ended, and deletes what is not to be kept."""
        if not trial.state.is_finished:
            return
        self._soon(lambda: self._thin(trial))
        if trial.checkpoint is None:
            return
        if trial.state is TrialState.PRUNED and not self.keep.pruned:
            self._drop(trial, "checkpoints.pruned is false")
            return
        self._remember(trial)
        if self.keep.trials is not None:
            for worse in self._ranked(trial.study)[self.keep.trials :]:
                self._drop(worse, f"not among the {self.keep.trials} best of its study")
        if self.keep.max_bytes is not None:
            self._hold(self.keep.max_bytes)

    def close(self) -> None:
        """Waits until all is deleted that was to be."""
        self._later.shutdown()

    def _soon(self, do: Callable[[], None]) -> None:
        """Does something that a full disk, or a store that is away, may leave undone."""

        def attempt() -> None:
            with suppress(OSError, TrainableError):
                do()

        self._later.submit(attempt)

    def _thin(self, trial: Trial) -> None:
        """Deletes all checkpoints of a trial but the one that the ledger names."""
        for place in self.places.checkpoints(trial):
            if place != trial.checkpoint:
                artifacts.delete(place)
            elif not (self.keep.best and self.keep.last):
                artifacts.thin(place, best=bool(self.keep.best), last=bool(self.keep.last))

    def _remember(self, trial: Trial) -> None:
        assert trial.checkpoint is not None
        size = 0
        if self.keep.max_bytes is not None:
            with suppress(OSError, TrainableError):
                size = artifacts.size_bytes(trial.checkpoint, timeout_s=PATIENCE_S)
        self._kept[trial.study, trial.number] = _Kept(trial, size)

    def _ranked(self, study: str) -> list[Trial]:
        mine = (kept.trial for kept in self._kept.values() if kept.trial.study == study)
        return sorted(mine, key=_rank)

    def _hold(self, most: int) -> None:
        """Lets the worst trials go until what is left fits; a study's best stays whatever."""
        used = sum(kept.size for kept in self._kept.values())
        studies = {study for study, _ in self._kept}
        spared = [ranked[0] for study in studies if (ranked := self._ranked(study))]
        others = [k for k in self._kept.values() if k.trial not in spared]
        for kept in sorted(others, key=lambda k: _rank(k.trial), reverse=True):
            if used <= most:
                return
            self._drop(kept.trial, f"beyond checkpoints.max_bytes ({most} bytes)")
            used -= kept.size

    def _drop(self, trial: Trial, reason: str) -> None:
        assert trial.checkpoint is not None
        place = trial.checkpoint
        self._soon(lambda: artifacts.delete(place))
        self.ledger.drop_checkpoint(trial.study, trial.number, reason)
        self._kept.pop((trial.study, trial.number), None)


def _rank(trial: Trial) -> tuple[bool, float, int]:
    """Orders trials from the one to be kept longest: complete ones by value, then the others."""
    value = math.inf if trial.value is None else trial.value
    return trial.state is not TrialState.COMPLETE, value, trial.number
