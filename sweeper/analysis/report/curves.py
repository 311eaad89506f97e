"""Series over time: how each trial learned, and how a study's best value came down."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.analysis.comparison.entries import TunedStudy
from sweeper.model import Trial, TrialKind, TrialState


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The objective of one trial by epoch, all stages that report it in a row."""

    trial: Trial
    epochs: tuple[int, ...]
    values: tuple[float | None, ...]
    stages: tuple[str, ...]


def learning_curves(tuned: TunedStudy) -> list[Curve]:
    """Returns the curve of every trial of a study that reported the objective at least once.

    Epochs are counted over the stages that report it, so that each curve moves to the right. What
    is not finite leaves a gap.
    """
    curves = []
    for trial in tuned.study.trials:
        reported = [
            (m.stage, m.objective if math.isfinite(m.objective) else None)
            for m in tuned.history(trial).measurements
            if m.objective is not None
        ]
        if reported:
            stages, values = zip(*reported, strict=True)
            epochs = tuple(range(1, len(values) + 1))
            curves.append(Curve(trial=trial, epochs=epochs, values=values, stages=stages))
    return curves


def best_so_far(trials: Sequence[Trial]) -> tuple[list[int], list[float]]:
    """Returns, for each complete trial but the control, the lowest value up to it."""
    numbers: list[int] = []
    lowest: list[float] = []
    for trial in sorted(trials, key=lambda t: t.number):
        is_candidate = trial.kind is not TrialKind.CONTROL and trial.state is TrialState.COMPLETE
        if is_candidate and trial.value is not None:
            numbers.append(trial.number)
            lowest.append(min([trial.value, *lowest[-1:]]))
    return numbers, lowest
