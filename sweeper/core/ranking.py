"""The ranking of a study's configurations, on which every "best" is based.

Only validation values decide. If there are replicates, the configuration with the most complete
replicates is the best, and among these the one with the lowest mean. Without replicates it is the
configuration with the lowest value. Of two equal ones the earlier is better. The control does not
compete: it is the reference. Nor does a configuration whose searched trial breaks a constraint. All
functions are pure.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Generic, TypeVar

from sweeper.model import TrialKind, TrialOutline, TrialState

T = TypeVar("T", bound=TrialOutline)
CANDIDATES = (TrialKind.PRESET, TrialKind.SAMPLED, TrialKind.SUGGESTED)  # can be the best


@dataclass(frozen=True, kw_only=True)
class Standing(Generic[T]):
    """A complete configuration and the validation value by which it is ranked."""

    trial: T
    replicates: int  # number of complete ones; 0: the value is the trial's own
    validation: float  # mean over replicates

    def __str__(self) -> str:
        """Return the value for a narrow table, with the number of seeds if it is a mean."""
        plural = "s" if self.replicates > 1 else ""
        seeds = f" ({self.replicates} seed{plural})" if self.replicates else ""
        return f"{self.validation:.4g}{seeds}"


def ranked(trials: Iterable[T]) -> list[T]:
    """Return the complete and feasible configurations of a study, the best one first."""
    return [standing.trial for standing in sorted(_standings(trials), key=_order)]


def best(trials: Iterable[T]) -> Standing[T] | None:
    """Return the best configuration of a study, or None if none is complete."""
    return min(_standings(trials), key=_order, default=None)


def _standings(trials: Iterable[T]) -> list[Standing[T]]:
    trials = tuple(trials)
    repeated = replicates_of(trials)
    found = []
    for trial in trials:
        if trial.kind in CANDIDATES and _is_complete(trial) and trial.is_feasible:
            values = [_value(t) for t in repeated.get(trial.number, ()) if _is_complete(t)]
            # The trial's own value stays out of the mean: it was chosen for being low.
            mean = fmean(values) if values else _value(trial)
            found.append(Standing(trial=trial, replicates=len(values), validation=mean))
    return found


def _order(standing: Standing[T]) -> tuple[int, float, float, int]:
    trial = standing.trial
    # Replicates come before values, or one lucky seed would beat a mean over several.
    return -standing.replicates, standing.validation, _value(trial), trial.number


def replicates_of(trials: Iterable[T]) -> Mapping[int, Sequence[T]]:
    """Return the number of each replicated trial with its replicates."""
    found: dict[int, list[T]] = {}
    for trial in trials:
        if trial.kind is TrialKind.REPLICATE and trial.origin is not None:
            found.setdefault(trial.origin, []).append(trial)
    return found


def _is_complete(trial: TrialOutline) -> bool:
    return trial.state is TrialState.COMPLETE and math.isfinite(_value(trial))


def _value(trial: TrialOutline) -> float:
    return math.inf if trial.value is None else trial.value
