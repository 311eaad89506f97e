"""The curves of a ladder on each task: their rungs, their crossings and their forecasts.

A curve is of one method and of what its arm pins besides one key of the ladder. Pairs of curves
differ in one thing: the method, or one setting. All are paired on the seeds that they have in
common on all rungs, so that each rung counts the same draws. Of the p-values of a task's curves
against each other, and of those against the floor, each family is corrected by Holm's method.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np

from sweeper.model import Floor
from sweeper.results.basis import UNKNOWN, Basis
from sweeper.results.comparison import ALPHA, Entry, basis_of
from sweeper.results.floors import FloorTest, beside
from sweeper.results.ladder.fits import Crossing, Forecast, crossing, forecast
from sweeper.results.schema import StudyResult
from sweeper.results.statistics import Interval, holm_of_tests
from sweeper.spec.arms import arm_of

FLOOR = "floor"  # label of the best predictor without a network
Arm = tuple[StudyResult, Entry]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """An arm at one level."""

    level: float
    mean: float | None  # test error; None: it has not run
    ci: Interval | None
    floor: Floor | None  # mean over the same seeds


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The errors of an arm over the levels of a key."""

    label: str
    rungs: tuple[Rung, ...]  # by level, ascending
    forecast: Forecast | None = None  # of the largest rung; None: too few smaller ones have run


class Outcome(StrEnum):
    """Result of a comparison of two curves."""

    PASSES = "passes"  # the first is lower from some size on
    AHEAD = "is ahead"  # the first is lower on all rungs
    PASSED = "is passed"  # the second is lower from some size on
    NEVER = "never passes"  # the second is lower on all rungs
    UNKNOWN = "cannot tell"
    NOT_INFORMATIVE = "not informative"  # the lower one does not beat the floor
    NOT_RUN = "not run"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two curves, or a curve and the floor, and where one passes the other."""

    first: str
    second: str
    levels: tuple[float, ...] = ()  # of the rungs that both have
    crossing: Crossing | None = None
    p_holm: float | None = None
    floor: FloorTest | None = None  # of the lower one, on the largest rung
    draw: Basis = UNKNOWN
    seeds: int = 0
    outcome: Outcome = Outcome.NOT_RUN


@dataclass(frozen=True, kw_only=True)
class LadderResult:
    """The curves over one key of a ladder on one task."""

    task: str
    metric: str  # test/nrmse
    key: str  # data.samples
    levels: tuple[float, ...]  # ascending
    curves: tuple[Curve, ...]
    pairs: tuple[Pair, ...]  # of curves
    from_floor: tuple[Pair, ...]  # of each curve and the floor


@dataclass(frozen=True, kw_only=True)
class _Member:
    """A curve with the entries that it is made of."""

    traits: Mapping[str, Any]  # sweep, method, and all that its arm pins besides the key
    label: str
    levels: Sequence[float]  # of its sweep's ladder
    entries: dict[float, Entry] = field(default_factory=dict)  # by level


def ladders_of(task: str, arms: Sequence[Arm]) -> list[LadderResult]:
    """Return the curves over each key of the ladders of a task's arms."""
    keys = dict.fromkeys(key for tuned, _ in arms for key in ladder_of(tuned))
    return [_over(task, arms, key) for key in keys]


def ladder_of(tuned: StudyResult) -> Mapping[str, Sequence[float]]:
    """Return the ladder of a study's sweep; empty if it has none."""
    return tuned.record.resolved.get("ladder") or {}


def _over(task: str, arms: Sequence[Arm], key: str) -> LadderResult:
    members = _members(arms, key)
    levels = sorted({float(x) for tuned, _ in arms for x in ladder_of(tuned).get(key, ())})
    pairs = [
        _pair(task, one.label, two.label, one.entries, two.entries)
        for one, two in combinations(members, 2)
        if _differ_in_one(one.traits, two.traits)
    ]
    below = [
        _pair(task, each.label, FLOOR, each.entries, _floors(each.entries)) for each in members
    ]
    return LadderResult(
        task=task,
        metric=arms[0][0].study.test_metric,
        key=key,
        levels=tuple(levels),
        curves=tuple(map(_curve, members)),
        pairs=_judged(pairs),
        from_floor=_judged([each for each in below if each.crossing is not None]),
    )


def _members(arms: Sequence[Arm], key: str) -> list[_Member]:
    """Return the curves over a key, in the order of the arms."""
    found: dict[str, _Member] = {}
    for tuned, entry in arms:
        if key not in ladder_of(tuned) or key not in tuned.pinned:
            continue
        others = {name: value for name, value in tuned.pinned.items() if name != key}
        label = " ".join([tuned.method_label, *([arm_of(others).name] if others else [])])
        traits = {"sweep": tuned.record.name, "method": tuned.method_label, **others}
        levels = sorted(map(float, ladder_of(tuned)[key]))
        member = found.setdefault(label, _Member(traits=traits, label=label, levels=levels))
        member.entries[float(tuned.pinned[key])] = entry
    return [replace(each, entries=dict(sorted(each.entries.items()))) for each in found.values()]


def _differ_in_one(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    differing = {name for name in {*one, *two} if one.get(name) != two.get(name)}
    return len(differing) == 1 and "sweep" not in differing  # sweeps may have unlike data


def _curve(member: _Member) -> Curve:
    return Curve(
        label=member.label,
        rungs=tuple(
            Rung(level=level, mean=entry.mean, ci=entry.ci, floor=_mean_floor(entry))
            for level, entry in member.entries.items()
        ),
        forecast=_forecast(member.entries, member.levels),
    )


def _mean_floor(entry: Entry) -> Floor | None:
    verdict = entry.floor
    return None if verdict is None else Floor(name=verdict.predictor, value=verdict.value)


def _forecast(entries: Mapping[float, Entry], levels: Sequence[float]) -> Forecast | None:
    """Return the forecast of the largest rung, which the smaller ones alone decide."""
    *smaller, largest = levels
    if not all(level in entries for level in smaller):
        return None
    # The largest rung chooses no seeds: the forecast stays what it was before that rung ran.
    seeds = _common([entries[level] for level in smaller])
    found = forecast(smaller, _table([entries[level].values for level in smaller], seeds), largest)
    came = entries[largest].values if largest in entries else {}
    ran = [seed for seed in seeds if seed in came]
    # The forecast is of logarithms, so what came is a geometric mean: 0 with a single error of 0.
    if found is None or not ran or any(came[seed] < 0 for seed in ran):
        return found
    logs = [math.log(came[seed]) if came[seed] else -math.inf for seed in ran]
    value = math.exp(fmean(logs))
    return replace(found, came=value, absent=len(seeds) - len(ran))


def _common(entries: Sequence[Entry]) -> list[int]:
    """Return the seeds that all of these have, in order."""
    return sorted(set.intersection(*(set(entry.values) for entry in entries))) if entries else []


def _table(rungs: Sequence[Mapping[int, float]], seeds: Sequence[int]) -> np.ndarray:
    return np.array([[values[seed] for values in rungs] for seed in seeds], dtype=float)


def _pair(
    task: str, first: str, second: str, one: Mapping[float, Entry], two: Mapping[float, Entry]
) -> Pair:
    """Compare two curves on the rungs, and on the seeds, that both have."""
    levels = [level for level in one if level in two and one[level].values and two[level].values]
    rungs = [[curve[level] for level in levels] for curve in (one, two)]
    seeds = _common([*rungs[0], *rungs[1]])
    tables = [_table([entry.values for entry in curve], seeds) for curve in rungs]
    named = Pair(first=first, second=second)
    if (found := crossing(levels, *tables)) is None:
        return named
    lower = rungs[0][-1] if found.is_first_lower else rungs[1][-1]
    errors = {seed: lower.values[seed] for seed in seeds}
    return replace(
        named,
        levels=tuple(levels),
        crossing=found,
        # A comparison with the floor is itself the test against it.
        floor=None if second == FLOOR else beside(task, errors, lower.floors),
        draw=basis_of([*rungs[0], *rungs[1]], seeds),
        seeds=len(seeds),
    )


def _floors(entries: Mapping[float, Entry]) -> dict[float, Entry]:
    """Return the floor beside a curve, as a curve."""
    return {
        level: replace(entry, values={seed: each.value for seed, each in entry.floors.items()})
        for level, entry in entries.items()
    }


def _judged(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Return the pairs of a family with corrected p-values and outcomes."""
    p_values = [None if each.crossing is None else each.crossing.p_value for each in pairs]
    corrected = holm_of_tests(p_values, [each.seeds for each in pairs])
    return tuple(
        replace(each, p_holm=p, outcome=_outcome(each, p))
        for each, p in zip(pairs, corrected, strict=True)
    )


def _outcome(each: Pair, p_value: float | None) -> Outcome:
    """Return what two curves show.

    Every outcome that tells them apart asks for a significant difference on the largest rung, so
    that equal curves have one as rarely as the test rejects.
    """
    if (found := each.crossing) is None or p_value is None:
        return Outcome.NOT_RUN
    if each.floor is not None and not each.floor.is_beaten:
        return Outcome.NOT_INFORMATIVE
    if p_value >= ALPHA:
        return Outcome.UNKNOWN
    if found.is_first_lower:
        return Outcome.AHEAD if found.at is None else Outcome.PASSES
    return Outcome.NEVER if found.at is None else Outcome.PASSED
