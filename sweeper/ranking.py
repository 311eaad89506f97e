"""Which configuration stands for a study: one order, wherever something is called best. Pure.

Validation alone decides: of the replicated configurations, the one with the most complete
replicates, then the lowest mean over them; without replicates, the lowest value. Of two that are
equal it is the earlier. The control is what they are compared with, and no candidate.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from sweeper.study import Trial, TrialKind, TrialState

CANDIDATES = (TrialKind.PRESET, TrialKind.SAMPLED)  # for the best


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Returns the complete configurations of a study, the one that stands for it first."""
    trials = tuple(trials)
    repeated = replicates_of(trials)

    def standing(trial: Trial) -> tuple[float, float, float, int]:
        values = [_value(t) for t in repeated.get(trial.number, ()) if _is_complete(t)]
        mean = fmean(values) if values else math.inf
        return -len(values), mean, _value(trial), trial.number

    return sorted((t for t in trials if t.kind in CANDIDATES and _is_complete(t)), key=standing)


def replicates_of(trials: Iterable[Trial]) -> Mapping[int, Sequence[Trial]]:
    """Returns the replicates of each trial that has some, by its number."""
    found: dict[int, list[Trial]] = {}
    for trial in trials:
        if trial.kind is TrialKind.REPLICATE and trial.origin is not None:
            found.setdefault(trial.origin, []).append(trial)
    return found


def _is_complete(trial: Trial) -> bool:
    return trial.state is TrialState.COMPLETE and math.isfinite(_value(trial))


def _value(trial: Trial) -> float:
    return math.inf if trial.value is None else trial.value
