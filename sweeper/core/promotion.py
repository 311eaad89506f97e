"""Promotion: trials pause at rungs, and the best paused ones go on.

A rung is a number of epochs of the stage that reports the objective: min_epochs * eta^k. A trial
arrives there with its first value at or beyond it, and pauses. It goes on once it is among the best
floor(n / eta) of the n trials that ever arrived at its rung, so that no trial is trained further
before enough others are there to compare it with (asynchronous successive halving of the promotion
type, Li et al., 2020). The highest rung comes first, then the lowest value at the rung, then the
earlier trial.

A search ends with fewer than eta trials at its upper rungs, of which floor(n / eta) = 0 would go
on. Once all of its trials have begun, none runs and none may go on, the best trial of each rung
may, as in synchronous halving. A trial that fails leaves its rungs, and the next best may go on. So
a search ends with a complete trial, unless all fail. If a budget is spent before, or all complete
trials break a constraint, only the furthest trial goes on.

This module does no I/O. A decision follows from the values of trials and from the sets of paused
and failed ones, whatever the order in which these came.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Arrival = tuple[float, int]  # the value of a trial at a rung, and its number


@dataclass(frozen=True, kw_only=True)
class PromotionRule:
    """The rungs of a study, in epochs, and the share 1/eta that goes on from each.

    Without rungs, no trial pauses.
    """

    rungs: tuple[int, ...] = ()
    eta: int = 2

    def place(self, epoch: int) -> int:
        """Return the index of the highest rung at or below an epoch; -1 below the first one."""
        return bisect_right(self.rungs, epoch) - 1


@dataclass(frozen=True, kw_only=True)
class Rung:
    """The trials that arrived at a rung and did not fail, and the paused ones; the best first."""

    arrived: list[Arrival] = field(default_factory=list)
    paused: list[Arrival] = field(default_factory=list)


def next_promotion(rungs: Sequence[Rung], quotas: Sequence[int]) -> int | None:
    """Return the number of the paused trial that goes on next, if any may.

    Args:
        rungs: The rungs, the lowest first.
        quotas: By rung, the number of its best trials that may go on.
    """
    for rung, quota in zip(reversed(rungs), reversed(quotas), strict=True):
        # Both lists are sorted. The index of the best paused trial among all arrivals is its rank,
        # and every other paused trial has a worse one.
        if rung.paused and bisect_left(rung.arrived, rung.paused[0]) < quota:
            return rung.paused[0][1]
    return None


class PromotionSchedule:
    """The sampled trials of a study at its rungs."""

    def __init__(self, rule: PromotionRule) -> None:
        self._rule = rule
        self._rungs = [Rung() for _ in rule.rungs]
        self._latest: dict[int, tuple[int, Arrival]] = {}  # by number: rung and arrival
        self._paused: set[int] = set()

    @property
    def num_paused(self) -> int:
        return len(self._paused)

    def arrive(self, number: int, epoch: int, value: float) -> bool:
        """Record a value of a trial; return whether the trial arrives at a rung."""
        place, arrival = self._rule.place(epoch), (value, number)
        if place < 0 or (number in self._latest and self._latest[number][0] >= place):
            return False
        insort(self._rungs[place].arrived, arrival)
        self._latest[number] = place, arrival
        return True

    def pause(self, number: int) -> None:
        """Handle the pause of a trial at the rung where it has arrived last."""
        place, arrival = self._latest[number]
        insort(self._rungs[place].paused, arrival)
        self._paused.add(number)

    def start(self, number: int) -> None:
        """Handle the promotion of a paused trial."""
        place, arrival = self._latest[number]
        self._rungs[place].paused.remove(arrival)
        self._paused.remove(number)

    def remove(self, number: int) -> None:
        """Handle the failure of a trial: it takes no place of another one any more."""
        for rung in self._rungs:
            rung.arrived[:] = [arrival for arrival in rung.arrived if arrival[1] != number]

    def forget(self, number: int) -> None:
        """Forget where a failed trial came, before it is tried again."""
        self.remove(number)
        self._latest.pop(number, None)

    def next(self, *, is_closing: bool) -> int | None:
        """Return the paused trial that goes on next, if any may.

        Args:
            is_closing: All trials of the search have begun, and none of them runs or waits.
        """
        quotas = [len(rung.arrived) // self._rule.eta for rung in self._rungs]
        found = next_promotion(self._rungs, quotas)
        # A short search would else end without a complete trial, and so without a best one.
        if found is None and is_closing:
            found = next_promotion(self._rungs, [max(1, quota) for quota in quotas])
        return found

    def furthest(self) -> int | None:
        """Return the paused trial with the fewest epochs left: the best of the highest rung."""
        places = (self._latest[number] for number in self._paused)
        found = min(((-place, arrival) for place, arrival in places), default=None)
        return None if found is None else found[1][1]

    def goes_on(self, number: int, next_one: Callable[[], int | None]) -> bool:
        """Return whether a trial that has arrived at a rung would be the next to go on.

        Then its slot would come back to it at once, and it need not pause.

        `next_one` returns the next trial to go on, if the trial pauses.
        """
        # The pause is tried and taken back: the rule for paused trials decides on this one, too.
        self.pause(number)
        found = next_one()
        self.start(number)
        return found == number
