"""The group-sequential sign-flip test, by which pairs are added until a claim is decided.

looks      A claim is tested after ceil(most / 3), ceil(most / 2), ceil(2 most / 3) and `most`
           seeds, where these are at least 6 (24 at most: after 8, 12, 16 and 24).
boundary   By the look after n seeds the share n / most of the level alpha is spent. Given the sizes
           of the differences, all sign patterns are enumerated. A look rejects the patterns with
           the largest |sum| that no earlier look rejects, as many as the share allows: the patterns
           rejected so far are at most alpha n / most of all. So the error by any look is at most
           alpha, whatever the distribution of the sizes, and whenever or why pairs are added
           (Lan and DeMets, Biometrika 70, 1983; with a linear spending function). A page of a
           sweep that runs may show a look whose last pairs are still training: who reads p after
           each of these pairs has more than alpha.
p          The smallest level at which some look has rejected, as at each alpha / m above it. Those
           are the levels of Holm's correction, so that p may be corrected as any other p. Above
           0.05 it is approximate.
decided    p, corrected by Holm but for the primary claim, is below 0.05.
futile     The t test of `most` pairs, with the mean and the deviation seen, would have a power
           below 20 % at the strictest level of the claim. A futile claim gets no more pairs. The
           boundaries do not count on that, so that a claim may also go on.
interval   All means that the test of the values less the mean does not reject.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

import numpy as np

from sweeper.results.comparison import ALPHA
from sweeper.results.power import t_power
from sweeper.results.statistics import ROUNDING, Interval
from sweeper.spec.schema import Replicate
from sweeper.text import JsonObject

MAX_TESTS = 100  # m, as many as a question has claims
STEPS = 40  # of a bisection
MIN_POWER = 0.2
LARGE = 3.0  # standard deviations, which any number of pairs shows


@dataclass(frozen=True, kw_only=True)
class Design:
    """The looks of a sweep, and the seeds in the order in which they are added."""

    looks: tuple[int, ...]  # seeds
    order: Mapping[str, tuple[int, ...]]  # by task
    has_ended: bool = False  # True: all trials of these seeds have, so that no value is to come

    @classmethod
    def of(cls, resolved: JsonObject, *, has_ended: bool = False) -> "Design | None":
        """Return the design of a resolved sweep; None if it has a fixed number of seeds."""
        wanted = Replicate(**(resolved.get("replicate") or {}))
        if wanted.until is None:
            return None
        seed = resolved["search"]["seed"]
        order = {task: wanted.seeds_on(task, seed) for task in resolved["tasks"]}
        return cls(looks=wanted.looks, order=order, has_ended=has_ended)

    def until(self, seeds: int) -> "Design":
        """Return the design at the look at this many seeds; `share` counts on all seeds."""
        order = {task: of[:seeds] for task, of in self.order.items()}
        return replace(self, order=order, has_ended=True)

    def looks_at(
        self, task: str, pairs: Collection[int], arms: Sequence[Collection[int]]
    ) -> list["Look"]:
        """Return the looks at the pairs on a task so far, from their seeds and those of each arm.

        A look needs seeds of each arm after the look before: an arm that got no more has none to
        look at. While trials are to end, it also needs its last seed in some arm. After that, the
        last seed may have failed in all arms, as any other one may.
        """
        order = self.order[task]
        last = [max((n for n, s in enumerate(order, 1) if s in arm), default=0) for arm in arms]
        return [
            Look(
                pairs=sum(seed in pairs for seed in order[:look]),
                share=look / self.looks[-1],
            )
            for before, look in pairwise((0, *self.looks))
            if before < min(last) and (self.has_ended or look <= max(last))
        ]


@dataclass(frozen=True, kw_only=True)
class Look:
    """A look at the pairs so far."""

    pairs: int
    share: float  # of alpha that is spent by then


def is_futile(*, mean: float, sd: float, most: int, alpha: float) -> bool:
    """Return whether `most` pairs would hardly show the mean at the deviation seen."""
    if sd <= 0:
        return not mean
    return t_power(min(abs(mean) / sd, LARGE), most, alpha) < MIN_POWER


def sequential_p(differences: Sequence[float], looks: Sequence[Look]) -> float:
    """Return p after some looks; 1 without any.

    Args:
        differences: One for each pair, in the order of the seeds.
        looks: The looks so far.
    """
    if not looks or not looks[-1].pairs:
        return 1.0
    test = Patterns(differences, looks)
    # A level may reject where a larger one does not, so that each of Holm's levels is tried.
    high, tests = 1.0, 1
    while tests <= MAX_TESTS and test.rejects(ALPHA / tests):
        high, tests = ALPHA / tests, tests + 1
    low = ALPHA / tests if tests <= MAX_TESTS else 0.0
    return _edge(low, high, test.rejects)[1]


def sequential_interval(differences: Sequence[float], looks: Sequence[Look]) -> Interval | None:
    """Return the means that the looks do not reject at 0.05.

    None if they can reject none, or if they reject the mean itself: an early look decided, and the
    later pairs are far from the first ones.
    """
    if not looks or not looks[-1].pairs:
        return None

    def rejects(mean: float) -> bool:
        return Patterns([each - mean for each in differences], looks).rejects(ALPHA)

    mean = fmean(differences)
    # So far out all differences have one sign: if that is not rejected, nothing is.
    spread = 2 * max(abs(each - mean) for each in differences) + ROUNDING * abs(mean)
    far = spread or 1.0  # equal differences of 0 have no size of their own
    if rejects(mean) or not (rejects(mean - far) and rejects(mean + far)):
        return None
    low, high = (_edge(mean, mean + side * spread, rejects)[0] for side in (-1, 1))
    # Bisection ends beside the value at which differences tie, which 0 often is.
    zero = spread * 2.0 ** (1 - STEPS) + ROUNDING * abs(mean)
    return (low if abs(low) > zero else 0.0), (high if abs(high) > zero else 0.0)


def _edge(inside: float, outside: float, rejects: Callable[[float], bool]) -> tuple[float, float]:
    """Return the numbers on both sides of the first that is rejected, by bisection."""
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if rejects(middle) else (middle, outside)
    return inside, outside


class Patterns:
    """The sign patterns of differences at each look, where the first difference keeps its sign.

    A pattern and its opposite have sums of equal size, so that one of both is enough. Pattern 0 is
    the observed one, and those that begin alike stand together.
    """

    def __init__(self, differences: Sequence[float], looks: Sequence[Look]) -> None:
        *earlier, last = looks
        values = np.asarray(differences[: last.pairs], dtype=np.float64)
        self._tolerance = ROUNDING * np.abs(values).sum()
        self._earlier: list[tuple[float, np.ndarray]] = []
        sums, seen = values[:1], 1
        for look in earlier:
            # A look may have no pair yet, whereas the first difference always stands.
            sums = _continued(sums, values[seen : max(look.pairs, seen)])
            seen = max(look.pairs, seen)
            self._earlier.append((look.share, np.abs(sums)))
        # Of the last look only the number of sums is needed that are as large as the observed one:
        # for each beginning, two searches among the sorted sums of all endings.
        endings = np.sort(_continued(np.zeros(1), values[seen:]))
        bound = abs(values.sum()) - self._tolerance
        above = len(endings) - np.searchsorted(endings, bound - sums, side="left")
        below = np.searchsorted(endings, -bound - sums, side="right")
        self._tails = np.where(bound <= 0, len(endings), above + below)
        self._share, self._width = last.share, len(endings)

    def rejects(self, level: float) -> bool:
        """Return whether some look rejects the observed pattern at a level."""
        rejected = np.zeros(1, dtype=bool)
        for share, sums in self._earlier:
            # What was rejected stays rejected, however the pairs go on.
            rejected = np.repeat(rejected, len(sums) // len(rejected))
            spare = math.floor(level * share * len(sums)) - int(rejected.sum())
            rejected |= self._largest(sums, ~rejected, spare)
            if rejected[0]:
                return True
        total = int(rejected.sum()) * self._width + int(self._tails[~rejected].sum())
        return total <= level * self._share * len(rejected) * self._width

    def _largest(self, sums: np.ndarray, is_open: np.ndarray, count: int) -> np.ndarray:
        """Return which of the open sums are the largest: at most `count`, without ties."""
        left = sums[is_open]
        if count <= 0:
            return np.zeros_like(is_open)
        if count >= len(left):
            return is_open
        # Equal sums are rejected together or not at all: more than `count` would exceed the level.
        first_left = np.partition(left, -count - 1)[-count - 1]
        is_kept: np.ndarray = is_open & (sums > first_left + self._tolerance)
        return is_kept


def _continued(sums: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the sums with both signs of each further value, those of one beginning together."""
    for value in values:
        sums = np.stack([sums + value, sums - value], axis=-1).reshape(-1)
    return sums
