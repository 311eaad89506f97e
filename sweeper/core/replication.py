"""Replicates: configurations that are trained again on other seeds after a study's search.

The k-th seed is the same for every method on a task, so that methods can be compared in pairs. All
functions are pure.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from sweeper.model import Trial, TrialKind, TrialState

# A search that is extended later keeps consecutive numbers, because these begin far above.
FIRST_NUMBER = 100_000  # of trials outside the search


@dataclass(frozen=True, kw_only=True)
class Replication:
    """The best `top` configurations of a study and its control, each on all `seeds`."""

    top: int
    seeds: tuple[int, ...]
    first: int | None = None  # seeds before a look that decides about more; None: all


def origins(trials: Iterable[Trial], top: int) -> list[Trial]:
    """Return the complete trials to repeat: the best feasible ones, then the control."""
    complete = [t for t in trials if t.kind.is_searched and t.state is TrialState.COMPLETE]
    best = sorted(
        (t for t in complete if t.kind is not TrialKind.CONTROL and t.is_feasible),
        key=lambda t: (math.inf if t.value is None else t.value, t.number),
    )
    return [*best[:top], *(t for t in complete if t.kind is TrialKind.CONTROL)]


def missing(trials: Sequence[Trial], wanted: Replication | None) -> list[Trial]:
    """Return the missing replicates of a study whose search is over, as new trials."""
    if wanted is None:
        return []
    there = {(t.origin, t.seed) for t in trials if t.kind is TrialKind.REPLICATE}
    # Seed by seed: whenever a sweep is stopped, its configurations have nearly the same seeds, and
    # methods can be compared in pairs.
    lacking = [
        (origin, seed)
        for seed in wanted.seeds
        for origin in origins(trials, wanted.top)
        if (origin.number, seed) not in there
    ]
    first = next_number(trials)
    return [
        repeat(origin, TrialKind.REPLICATE, number, seed)
        for number, (origin, seed) in enumerate(lacking, first)
    ]


def repeat(origin: Trial, kind: TrialKind, number: int, seed: int) -> Trial:
    """Return a new trial with the configuration of another."""
    fresh = Trial(study=origin.study, number=number, kind=kind, params=origin.params, seed=seed)
    return replace(fresh, origin=origin.number)


def drawn_by(trial: Trial, trial_of: Callable[[str, int], Trial]) -> int | None:
    """Return the seed of the replicate that a trial is, or reruns; None for all other trials.

    Where each seed has its own draw of the data, it is the seed whose draw the trial has.

    `trial_of` returns the trial of a study and a number.
    """
    # A rerun may repeat a rerun.
    while trial.kind is TrialKind.RERUN and trial.origin is not None:
        trial = trial_of(trial.study, trial.origin)
    return trial.seed if trial.kind is TrialKind.REPLICATE else None


def next_number(trials: Iterable[Trial]) -> int:
    """Return the number of the next trial outside the search."""
    numbers = (t.number for t in trials if not t.kind.is_searched)
    return max(numbers, default=FIRST_NUMBER - 1) + 1
