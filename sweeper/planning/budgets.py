"""The part of its budgets that a begun sweep has spent, from its ledger."""

from collections.abc import Iterable

from sweeper.core import budget as core
from sweeper.core.budget import Spending, StudyBudget
from sweeper.errors import UsageError
from sweeper.ledger import Ledger
from sweeper.model import Trial
from sweeper.results.usage import usage_of
from sweeper.spec.schema import Budget
from sweeper.spec.sweep import Sweep
from sweeper.text import duration


def driven_s(ledger: Ledger) -> float:
    """Return the seconds for which a sweep has run, over all launches, up to its last event."""
    return usage_of(ledger.timeline(), epochs=0).wall_s


def wall_spent(budget: Budget, ledger: Ledger) -> str | None:
    """Return a sentence if the time of a sweep is spent, else None."""
    if budget.wall is None or driven_s(ledger) < budget.wall:
        return None
    return out_of_time(budget.wall)


def check_time_left(sweep: Sweep, ledger: Ledger) -> None:
    """Check that a sweep may run, before anything is added to it.

    Raises:
        UsageError: Its `budget.wall` is spent. The message has the way out.
    """
    spent = wall_spent(sweep.budget, ledger)
    if spent is not None:
        raise UsageError(f"{sweep.name}: {spent}")


def out_of_time(wall_s: float) -> str:
    """Return a sentence for the end of a sweep whose time is spent, with the way out."""
    return (
        f"`budget.wall` ({duration(wall_s)}) is spent; to go on, raise it: sweeper launch FILE "
        "--set budget.wall=TIME"
    )


def ended_early(sweep: Sweep, ledger: Ledger, trials: Iterable[Trial]) -> dict[str, str]:
    """Return the reason for each study whose search has ended before all its trials had a turn."""
    budget = StudyBudget.of(sweep.resolved)
    if not budget.is_limited:
        return {}
    found = {}
    # The trials may come from a generator, and each study reads all of them.
    every = tuple(trials)
    for study in sweep.studies:
        mine = [trial for trial in every if trial.study == study.name]
        spending = Spending.read(budget, ledger, study.name, mine)
        reason = core.ended_early(mine, len(study.leading), study.num_trials, spending)
        if reason is not None:
            found[study.name] = reason
    return found
