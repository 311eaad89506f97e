"""Trials of a sweep that are one training, which the first of them trains for all.

Two trials of a fixed configuration are one training if their settings, seed and data are equal.
Vanilla fine-tuning is one, whatever method has it as its control. A trial that has begun goes on by
itself, and so does a candidate of a search, which has a cost and a model of its own: controls and
replicates that have yet to begin have the epochs of another. This module does no I/O.
"""

from dataclasses import dataclass, replace

from sweeper.model import Trial, TrialKind, TrialState
from trainables.report import Measurement

Key = tuple[str, int]  # (study, number)


@dataclass(frozen=True, kw_only=True)
class Training:
    """The training of a trial: equal for trials that compute the same bits."""

    key: str
    stage: str  # that reports the objective; methods have different names for it


class EqualTrainings:
    """The trainings of a sweep that have begun, and those that are complete."""

    def __init__(self) -> None:
        self._begun: dict[str, Key] = {}
        self._complete: dict[str, Key] = {}

    def follow(self, trial: Trial, training: Training | None) -> None:
        """Handle the present state of a trial that has begun."""
        if training is None:
            return
        place = trial.study, trial.number
        # A trial that waits for another attempt still holds its training.
        if not trial.state.is_finished:
            self._begun.setdefault(training.key, place)
        elif self._begun.get(training.key) == place:
            del self._begun[training.key]
        if trial.state is TrialState.COMPLETE:
            self._complete.setdefault(training.key, place)

    def has_begun(self, trial: Trial, training: Training | None) -> bool:
        """Return whether another trial trains what this one has yet to begin."""
        return training is not None and _can_wait(trial) and training.key in self._begun

    def complete(self, trial: Trial, training: Training | None) -> Key | None:
        """Return the study and the number of a complete trial whose epochs this one may have."""
        if training is None or not _can_wait(trial):
            return None
        return self._complete.get(training.key)


def _can_wait(trial: Trial) -> bool:
    return not trial.attempt and trial.kind in (TrialKind.CONTROL, TrialKind.REPLICATE)


def as_taken_over(measured: Measurement, *, stage: str, now: str, by: str) -> Measurement:
    """Return an epoch of one trial as that of an equal one, which took no time.

    Args:
        measured: The epoch.
        stage: The name of its trial's last stage.
        now: The name that this stage has in the method of the equal trial.
        by: The trial that computed it, as "SWEEP/STUDY/NUMBER".
    """
    ours = {
        f"{now}{name.removeprefix(stage)}" if name.startswith(f"{stage}/") else name: value
        for name, value in measured.metrics.items()
    }
    # The name of a checkpoint is relative to its own trial's folder, and would name nothing here.
    return replace(
        measured,
        stage=now if measured.stage == stage else measured.stage,
        metrics=ours,
        checkpoint=None,
        seconds=0.0,
        peak_memory_bytes=None,
        computed_by=measured.computed_by or by,
    )
