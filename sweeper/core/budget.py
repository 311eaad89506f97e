"""The budget of a study's search, and what the search has spent of it.

The preset and the sampled trials spend it, as in a comparison. Control, replicates, reruns and
suggestions of users do not. All figures come from the ledger, so that they survive a resume.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from sweeper.ledger import LedgerReader
from sweeper.model import OF_NO_USE, Trial, TrialKind, TrialOutline, TrialState
from sweeper.text import HOUR, JsonObject, counted
from trainables.report import Measurement

SPENDERS = (TrialKind.PRESET, TrialKind.SAMPLED)  # kinds whose trials spend a budget


@dataclass(frozen=True, kw_only=True)
class StudyBudget:
    """Limits at which the search of a study ends. None: not limited."""

    epochs: int | None = None
    device_hours: float | None = None
    no_improvement: int | None = None  # ended candidates in a row that did not improve the best
    devices: float = 1.0  # of one trial: GPUs, or else CPU cores

    @classmethod
    def of(cls, resolved: JsonObject) -> "StudyBudget":
        """Return the budget of a sweep in its resolved form."""
        limits, resources = resolved.get("budget") or {}, resolved.get("resources") or {}
        return cls(
            epochs=limits.get("epochs"),
            device_hours=limits.get("device_hours"),
            no_improvement=limits.get("no_improvement"),
            devices=float(resources.get("gpu") or resources.get("cpu") or 1),
        )

    @property
    def is_limited(self) -> bool:
        return any(x is not None for x in (self.epochs, self.device_hours, self.no_improvement))


class Spending:
    """The spending of one study's search so far."""

    def __init__(self, budget: StudyBudget) -> None:
        self.budget = budget
        self.epochs = 0
        self.idle = 0  # ended candidates since the best one
        self.infeasible = 0  # those of them that break a constraint
        self._best = math.inf
        self._seconds: dict[tuple[int, int], float] = {}  # (trial, attempt) -> seconds

    @classmethod
    def read(
        cls, budget: StudyBudget, ledger: LedgerReader, study: str, trials: Iterable[TrialOutline]
    ) -> "Spending":
        """Return what a study has spent according to its ledger.

        `trials` are those of the study.
        """
        spending = cls(budget)
        # Without limits the spending decides nothing, and two passes over the events are spared.
        if not budget.is_limited:
            return spending
        by_number = {trial.number: trial for trial in trials if trial.kind in SPENDERS}
        for use in ledger.use_of_attempts(study):
            if use.number in by_number:
                spending.epochs += use.epochs
                spending._seconds[use.number, use.attempt] = use.seconds
        # The order of ends decides: `idle` counts from the latest improvement.
        for number in ledger.order_of_ends(study):
            if number in by_number:
                spending.end(by_number[number])
        return spending

    def measure(self, trial: Trial, measurement: Measurement, *, is_new: bool = True) -> None:
        """Count an epoch that the ledger has recorded; one that ends a program may not be new."""
        if trial.kind in SPENDERS:
            # An epoch that was taken over from another trial counts, whoever trained it.
            self.epochs += is_new
            attempt = trial.number, trial.attempt
            # The seconds of a measurement run from the begin of the attempt, so they are not added.
            self._seconds[attempt] = max(self._seconds.get(attempt, 0.0), measurement.seconds)

    def end(self, trial: TrialOutline) -> None:
        """Count the end of a trial: a complete one that is better than all before, or another.

        A pruned trial has not improved, nor has one that breaks a constraint: both count. A failed
        trial, one with settings that contradict each other and a skipped one say nothing about the
        search.
        """
        if trial.kind not in SPENDERS or trial.failure in OF_NO_USE:
            return
        value = math.inf if trial.value is None else trial.value
        if trial.state is TrialState.COMPLETE and trial.is_feasible and value < self._best:
            self._best, self.idle, self.infeasible = value, 0, 0
        elif trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            self.idle += 1
            self.infeasible += not trial.is_feasible

    @property
    def device_hours(self) -> float:
        """The devices of a trial times the hours of all attempts, up to their last epochs."""
        return self.budget.devices * sum(self._seconds.values()) / HOUR

    @property
    def reason(self) -> str | None:
        """The reason why no new trial of the search starts, or None."""
        budget = self.budget
        if budget.epochs is not None and self.epochs >= budget.epochs:
            return f"`budget.epochs: {budget.epochs}` is spent"
        if budget.device_hours is not None and self.device_hours >= budget.device_hours:
            return f"`budget.device_hours: {budget.device_hours:g}` is spent"
        if budget.no_improvement is not None and self.idle >= budget.no_improvement:
            infeasible = f", {self.infeasible} of them infeasible" if self.infeasible else ""
            has = "has" if self.idle == 1 else "have"
            return (
                f"{counted(self.idle, 'trial')} in a row {has} not improved the best{infeasible} "
                f"(`budget.no_improvement: {budget.no_improvement}`)"
            )
        return None


def ended_early(
    trials: Iterable[TrialOutline], num_leading: int, num_trials: int, spending: Spending
) -> str | None:
    """Return the reason why a search ends before all its trials have had their turn, or None.

    Args:
        trials: The trials of the study.
        num_leading: The number of leading trials, which run with any budget.
        num_trials: The number of trials of the search, including the leading ones.
        spending: What the search has spent.
    """
    states = [trial.state for trial in trials if trial.kind.is_searched]
    # A paused trial has had its turn unless the budget is what keeps it from a promotion.
    is_whole = len(states) >= num_trials and TrialState.PAUSED not in states
    return None if is_whole or len(states) < num_leading else spending.reason
