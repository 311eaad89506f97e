"""Promotion: trials pause at rungs, and the best paused ones go on.

A rung is a number of epochs of the stage that reports the objective: min_epochs * eta^k. A trial
that arrives there pauses. It goes on once it is among the best floor(n / eta) of the n trials that
ever arrived at its rung, so that no trial is trained further before enough others are there to
compare it with (asynchronous successive halving of the promotion type, Li et al., 2020). The
highest rung comes first, then the lowest value at the rung, then the earlier trial.

A search ends with fewer than eta trials at its upper rungs, of which floor(n / eta) = 0 would go
on. Once all of its trials have begun, none runs and none may go on, the best trial of each rung
may, as in synchronous halving. A trial that fails leaves its rungs, and the next best may go on. So
a search ends with a complete trial, unless all fail. If a budget is spent before, or all complete
trials break a constraint, only the furthest trial goes on.

Three rules vary this. Under Hyperband (Li et al., 2018) trials belong to brackets: those of
bracket b pause first at rung b, and are compared with each other alone. Under PASHA (Bohdal et
al., 2023) no trial goes on from the top rung, which is the first one whose order of trials agrees
with that of the rung below. With `curves`, a model chooses the trial that goes on.

This module does no I/O. A decision follows from the values of trials and from the sets of paused
and failed ones, whatever the order in which these came.
"""

import hashlib
import math
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise

Arrival = tuple[float, int]  # the value of a trial at a rung, and its number
Curve = Mapping[int, float]  # epoch -> value
COMPARED = 32  # trials of a rung whose curves show how far values scatter: the best ones
SCATTER = 0.9  # the share of distances of criss-crossing curves that count as none


@dataclass(frozen=True, kw_only=True)
class PromotionRule:
    """The rungs of a study, in epochs, and the share 1/eta that goes on from each.

    Without rungs, no trial pauses.
    """

    rungs: tuple[int, ...] = ()
    eta: int = 2
    brackets: tuple[int, ...] = (0,)  # of consecutive trials, again and again
    grows: bool = False  # no trial goes on from the top rung, which rises while orders differ
    predicts: bool = False  # forecasts of the value after `epochs` choose
    epochs: int = 0  # of a whole training

    def bracket(self, number: int) -> int:
        """Return the bracket of a trial: the index of its first rung, or their number for none."""
        return min(self.brackets[number % len(self.brackets)], len(self.rungs))


def hyperband_brackets(num_rungs: int, eta: int, seed: int) -> tuple[int, ...]:
    """Return the brackets of consecutive trials, in the proportions of Hyperband's budgets.

    Of S = num_rungs + 1 brackets, bracket b has ceil(S * eta^s / (s + 1)) trials with
    s = num_rungs - b, so that all brackets train about as many epochs. The seed shuffles them.
    """
    shares = [-(-(num_rungs + 1) * eta**s // (s + 1)) for s in reversed(range(num_rungs + 1))]
    drawn = [bracket for bracket, share in enumerate(shares) for _ in range(share)]

    def place(index: int) -> bytes:
        return hashlib.sha256(f"{seed} {index}".encode()).digest()

    return tuple(drawn[index] for index in sorted(range(len(drawn)), key=place))


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
        if rung.paused and bisect_left(rung.arrived, rung.paused[0]) < quota:
            return rung.paused[0][1]
    return None


def tolerance(curves: Sequence[Curve]) -> float:
    """Return the difference up to which two values count as equal.

    Two curves criss-cross if their order changes and changes back. Then their distance at the last
    common epoch shows by how much values scatter. The tolerance is the 90th percentile of these
    distances over all pairs of curves, or 0 if no pair criss-crosses.
    """
    distances = []
    for one, other in combinations(curves, 2):
        gaps = [one[epoch] - other[epoch] for epoch in sorted(one.keys() & other.keys())]
        signs = [gap > 0 for gap in gaps if gap]
        if sum(before != after for before, after in pairwise(signs)) >= 2:
            distances.append(abs(gaps[-1]))
    distances.sort()
    return distances[math.ceil(SCATTER * len(distances)) - 1] if distances else 0.0


def agree(lower: Rung, upper: Rung, tolerated: float) -> bool:
    """Return whether two rungs order the trials of the upper one alike, within a tolerance.

    Each trial is compared with the one that has its place in the other order: their values at the
    lower rung may differ by `tolerated`.
    """
    common = {number for _, number in upper.arrived}
    below = [arrival for arrival in lower.arrived if arrival[1] in common]
    value = {number: each for each, number in below}
    return all(
        abs(value[number] - other) <= tolerated
        for (_, number), (other, _) in zip(upper.arrived, below, strict=True)
    )


class PromotionSchedule:
    """The sampled trials of a study at its rungs."""

    def __init__(self, rule: PromotionRule) -> None:
        self._rule = rule
        # A rung of each bracket, by its index and the bracket, the lowest first.
        self._rungs = {
            (place, bracket): Rung()
            for place in range(len(rule.rungs))
            for bracket in sorted(set(rule.brackets))
            if bracket <= place
        }
        self._latest: dict[int, tuple[int, Arrival]] = {}  # by number: rung and arrival
        self._paused: set[int] = set()
        self._curves: dict[int, dict[int, float]] = {}  # if the top rung rises
        self._top: int | None = None  # once it was asked for, until the next arrival

    @property
    def num_paused(self) -> int:
        return len(self._paused)

    def add(self, number: int, point: Sequence[float]) -> None:
        """Record the coordinates of a new trial's configuration."""

    def arrive(self, number: int, epoch: int, value: float) -> bool:
        """Record a value of a trial; return whether the trial arrives at a rung."""
        if self._rule.grows:
            self._curves.setdefault(number, {}).setdefault(epoch, value)
        if epoch not in self._rule.rungs:
            return False
        place, arrival = self._rule.rungs.index(epoch), (value, number)
        if place < self._rule.bracket(number):
            return False
        if number in self._latest and self._latest[number][0] >= place:
            return False  # measured before
        insort(self._rung(number, place).arrived, arrival)
        self._latest[number] = place, arrival
        self._top = None
        return True

    def pause(self, number: int) -> None:
        """Handle the pause of a trial at the rung where it has arrived last."""
        place, arrival = self._latest[number]
        insort(self._rung(number, place).paused, arrival)
        self._paused.add(number)

    def start(self, number: int) -> None:
        """Handle the promotion of a paused trial."""
        place, arrival = self._latest[number]
        self._rung(number, place).paused.remove(arrival)
        self._paused.remove(number)

    def remove(self, number: int) -> None:
        """Handle the failure of a trial: it takes no place of another one any more."""
        for (_, bracket), rung in self._rungs.items():
            if bracket == self._rule.bracket(number):
                rung.arrived[:] = [arrival for arrival in rung.arrived if arrival[1] != number]
        self._top = None

    def _rung(self, number: int, place: int) -> Rung:
        return self._rungs[place, self._rule.bracket(number)]

    def next(self, *, is_closing: bool, is_open: bool = False) -> int | None:
        """Return the paused trial that goes on next, if any may.

        Args:
            is_closing: All trials of the search have begun, and none of them runs or waits.
            is_open: A new trial would begin if no paused one goes on.
        """
        if self._top is None:
            self._top = self._find_top()
        rungs, eta, top = list(self._rungs.values()), self._rule.eta, self._top
        quotas = [
            len(rung.arrived) // eta if place < top else 0
            for (place, _), rung in self._rungs.items()
        ]
        found = next_promotion(rungs, quotas)
        if found is None and is_closing:
            found = next_promotion(rungs, [max(1, quota) for quota in quotas])
        return found

    def furthest(self) -> int | None:
        """Return the paused trial with the fewest epochs left: the best of the highest rung."""
        places = (self._latest[number] for number in self._paused)
        found = min(((-place, arrival) for place, arrival in places), default=None)
        return None if found is None else found[1][1]

    def goes_on(self, number: int, next_one: Callable[[], int | None]) -> bool:
        """Return whether a trial that has arrived at a rung would be the next to go on.

        Then its slot would come back to it at once, and it need not pause.

        Args:
            next_one: Returns the next trial to go on, if the trial pauses.
        """
        self.pause(number)
        found = next_one()
        self.start(number)
        return found == number

    def _find_top(self) -> int:
        """Return the index of the rung from which no trial goes on; their number if from all.

        It is the first rung that orders its trials as the one below does. Later epochs of a curve
        do not count, so that nothing but an arrival or a failure changes it.
        """
        for place in range(1, len(self._rule.rungs)) if self._rule.grows else ():
            lower, upper = self._rungs[place - 1, 0], self._rungs[place, 0]
            best = [
                {e: value for e, value in self._curves[n].items() if e <= self._rule.rungs[place]}
                for _, n in upper.arrived[:COMPARED]
            ]
            if agree(lower, upper, tolerance(best)):
                return place
        return len(self._rule.rungs)
