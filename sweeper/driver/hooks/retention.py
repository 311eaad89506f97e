"""The retention of checkpoints: one of each trial that has ended, unless the file asks for less.

A file has to opt in to every deletion of a last checkpoint. Each deletion is an event of the
ledger, by which MLflow's copy is deleted too. A thread thins the checkpoints of a trial, measures
them and applies the cap, in this order, so that nothing else waits for a disk or a store.

A paused trial keeps its last checkpoint whole, because it may be promoted. It counts towards the
cap, which can delete it once all studies are done. An interruption deletes none. If more trials are
asked for later, a trial whose checkpoint the cap took computes its epochs again.

Nothing of a trial is deleted while the checkpoint that the ledger names does not exist: the files
that are there may be all that is left of the trial.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue

from sweeper.core.protocols import Hook
from sweeper.core.ranking import CANDIDATES, ranked
from sweeper.core.replication import origins
from sweeper.errors import SweeperError
from sweeper.ledger import EventKind, Ledger
from sweeper.model import Trial, TrialState
from sweeper.planning.checkpoint_paths import CheckpointPaths, discard
from sweeper.spec.schema import Checkpoints
from trainables.errors import TrainableError
from trainables.report import Measurement
from trainables.storage import artifacts
from trainables.storage.checkpoint_folder import CorruptCheckpoint

PATIENCE_S = 10.0  # with a store; it is asked again when the next trial ends
MAX_SHOWN = 3  # trials without the checkpoint that the ledger names, on the terminal

Key = tuple[str, int]  # study and number


@dataclass
class Retention(Hook):
    """Thins the checkpoints of trials that end.

    Args:
        repeated: The number of each study's configurations that are repeated on other seeds. No
            cap deletes theirs, since one of them will be the best.
        say: Called with a line for people.
        are_done: Returns whether all studies are done; asked once nothing runs any more.
    """

    paths: CheckpointPaths
    keep: Checkpoints
    ledger: Ledger
    repeated: int = 1
    say: Callable[[str], None] = lambda line: None
    are_done: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        self._all: dict[Key, Trial] = {}  # that have ended; they decide which is a study's best
        self._kept: dict[Key, Trial] = {}
        self._sizes: dict[Key, int] = {}  # bytes of thinned trials, as far as known
        self._thick: OrderedDict[Key, Trial] = OrderedDict()  # may have files to delete
        self._num_lost = 0
        self._interrupted: list[Trial] = []  # as the latest launch left them
        self._is_over = False  # no trial will be promoted
        for trial in self.ledger.trials():
            if trial.state.is_settled:
                self._add(trial, may_be_thick=self.keep.max_bytes is not None)
            else:
                self._interrupted.append(trial)
        self._ended: SimpleQueue[Trial | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="retention", daemon=True)
        self._thread.start()

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        """Handle the end of an attempt, or of its trial, or the promotion of a paused trial."""
        if trial.state is not TrialState.RUNNING or (measurement is None and trial.attempt > 1):
            self._ended.put(trial)

    def close(self, patience_s: float | None = None) -> None:
        """Wait until all deletions are done, or for `patience_s`: a later run does the rest."""
        self._ended.put(None)
        self._thread.join(patience_s)

    def _work(self) -> None:
        for trial in self._interrupted:
            self._delete_leftovers(trial)
        self._settle()
        while (ended := self._ended.get()) is not None:
            if ended.state is TrialState.RUNNING:
                self._release(ended)
                continue
            self._delete_leftovers(ended)
            if ended.state.is_settled:
                self._add(ended)
                self._settle()
        self._is_over = self.are_done()
        self._delete_leftovers()
        # The cap has spared paused trials until now, because they might have been promoted.
        if any(trial.state is TrialState.PAUSED for trial in self._kept.values()):
            self._settle()

    def _delete_leftovers(self, trial: Trial | None = None) -> None:
        """Delete files of killed writers: of the attempts so far at a trial, or of all trials."""
        with suppress(OSError):
            found = self.paths.leftovers(trial)
            discard(path for path in found if trial is None or _is_of_ended_attempt(trial, path))

    def _add(self, trial: Trial, *, may_be_thick: bool = True) -> None:
        key = trial.study, trial.number
        self._all[key] = trial
        if trial.checkpoint is not None:
            self._kept[key] = trial
        if may_be_thick or trial.checkpoint is None:
            self._thick[key] = trial
            self._thick.move_to_end(key, last=False)  # before those that failed

    def _release(self, trial: Trial) -> None:
        """Leave a trial alone that was paused and runs again."""
        key = trial.study, trial.number
        for known in (self._all, self._kept, self._sizes, self._thick):
            known.pop(key, None)

    def _settle(self) -> None:
        """Do all deletions that are due.

        Those that fail, since a disk is full or a store or the ledger is away, are done when the
        next trial ends.
        """
        # The cap counts what is left after thinning, and what is dropped has files to delete. So
        # trials are thinned before the cap and after it.
        for do in (self._drop_unwanted, self._thin_all, self._apply_cap, self._thin_all):
            with suppress(OSError, TrainableError, SweeperError):
                do()

    def _drop_unwanted(self) -> None:
        """Drop checkpoints that the file does not keep, whatever their size."""
        if not self.keep.pruned:
            for trial in [t for t in self._kept.values() if t.state is TrialState.PRUNED]:
                self._drop(trial, "checkpoints.pruned is false")
        if self.keep.trials is not None:
            for study in self._studies():
                for worse in self._ranked(study)[self.keep.trials :]:
                    # A paused trial may still become one of the best.
                    if worse.state is not TrialState.PAUSED:
                        self._drop(worse, f"not among the {self.keep.trials} best of its study")

    def _drop(self, trial: Trial, reason: str) -> None:
        """Drop the checkpoint of a trial.

        The ledger is written first: files that it does not name are found again and deleted.
        """
        key = trial.study, trial.number
        if self._is_lost(trial, self.paths.checkpoints(trial, timeout_s=PATIENCE_S)):
            return
        self.ledger.drop_checkpoint(*key, reason)
        del self._kept[key]
        self._sizes.pop(key, None)
        # Thinning keeps what the ledger names. Now it names nothing, so all files go.
        self._thick[key] = replace(trial, checkpoint=None)

    def _thin_all(self) -> None:
        """Thin all trials that may have files to delete, up to the first failure of the store."""
        for key, trial in list(self._thick.items()):
            # It is taken out first, and put back at the end after a failure:
            # the others get their turn.
            del self._thick[key]
            try:
                with suppress(CorruptCheckpoint):
                    self._thin(trial)
            except BaseException:
                self._thick[key] = trial  # the last one to be tried next time
                raise

    def _thin(self, trial: Trial) -> None:
        """Delete all checkpoints of a trial, whole or not, but the one that the ledger names.

        A paused trial may have been promoted by now, and any other be tried again: files of later
        attempts stay.
        """
        is_paused = trial.state is TrialState.PAUSED
        named, written = self.paths.checkpoint(trial), self.paths.written
        if self._is_lost(trial, self.paths.checkpoints(trial, timeout_s=PATIENCE_S)):
            return
        for place in written(trial, timeout_s=PATIENCE_S):
            if not _is_of_ended_attempt(trial, Path(place)):
                continue
            if place != named:
                artifacts.delete(place, timeout_s=PATIENCE_S)
            elif not is_paused and not (self.keep.best and self.keep.last):
                best, last = bool(self.keep.best), bool(self.keep.last)
                artifacts.thin(place, best=best, last=last, timeout_s=PATIENCE_S)

    def _is_lost(self, trial: Trial, found: Sequence[str]) -> bool:
        """Return whether the checkpoint that the ledger names is missing; report it once."""
        named, key = self.paths.checkpoint(trial), (trial.study, trial.number)
        if named is None or named in found:
            return False
        self._kept.pop(key, None)
        self._sizes.pop(key, None)
        text = f"its checkpoint is not in {named}; nothing of this trial is deleted."
        # The note is in the ledger, so that a resumed sweep does not repeat it.
        known = self.ledger.events(study=key[0], number=key[1], kinds=[EventKind.NOTED])
        if text not in [event.payload["text"] for event in known]:
            self.ledger.note(text, *key, trial.attempt)
            self._num_lost += 1
            if self._num_lost <= MAX_SHOWN:
                self.say(f"{trial.name}: {text}")
            elif self._num_lost == MAX_SHOWN + 1:
                self.say(f"so it is with other trials: sweeper logs {self.ledger.name}")
        return True

    def _apply_cap(self) -> None:
        """Drop the worst checkpoints until the rest fits below the cap.

        The best of a study always stay, and so do paused trials until all studies are done. Trials
        that could not be thinned do not count yet.
        """
        most = self.keep.max_bytes
        if most is None:
            return
        for key, trial in self._kept.items():
            if key not in self._sizes and key not in self._thick and trial.checkpoint is not None:
                written = self.paths.written(trial, timeout_s=PATIENCE_S)
                self._sizes[key] = sum(written.values())
        used = sum(self._sizes.values())
        others = [
            trial
            for study in self._studies()
            for trial in self._others(study)
            if self._is_over or trial.state is not TrialState.PAUSED
        ]
        for trial in sorted(others, key=_rank, reverse=True):
            if used <= most:
                return
            size = self._sizes.get((trial.study, trial.number))
            if size is None:
                continue
            used -= size
            self._drop(trial, f"beyond checkpoints.max_bytes ({most} bytes)")

    def _studies(self) -> set[str]:
        return {study for study, _ in self._kept}

    def _others(self, study: str) -> list[Trial]:
        """Return the trials of a study that have a checkpoint, but for its best and repeated ones.

        The control and replicates may be better than a configuration, and take no place of one.
        """
        mine = (t for t in self._all.values() if t.study == study)
        repeated = {t.number for t in origins(mine, self.repeated) if t.kind in CANDIDATES}
        return [t for t in self._ranked(study)[1:] if t.number not in repeated]

    def _ranked(self, study: str) -> list[Trial]:
        """Return the trials of a study that have a checkpoint: its best first, then by value."""
        best = next(iter(ranked(t for t in self._all.values() if t.study == study)), None)
        mine = [t for t in self._kept.values() if t.study == study]
        return sorted(mine, key=lambda t: (best is None or t.number != best.number, *_rank(t)))


def _is_of_ended_attempt(trial: Trial, path: Path) -> bool:
    """Return whether a path belongs to the attempt of a trial that ended, or to an earlier one."""
    names = (name.removeprefix("attempt-") for name in path.parts if name.startswith("attempt-"))
    numbers = [int(name) for name in names if name.isdecimal()]
    # The last such part of the path counts, for a folder above may have a name of this form, too.
    return bool(numbers) and numbers[-1] <= trial.attempt


def _rank(trial: Trial) -> tuple[bool, float, int]:
    """Return a key that sorts trials, those to be kept longest first: complete ones by value."""
    value = math.inf if trial.value is None else trial.value
    return trial.state is not TrialState.COMPLETE, value, trial.number
