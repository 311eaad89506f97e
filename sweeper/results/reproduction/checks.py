"""The check that the aggregates in a file of evidence follow from its seeds.

The file states the number of seeds of each arm, its means, its curves and its floor beside the rows
that they are made of. Whoever edits one of them alone is found out here, without any training.
"""

import math
from collections.abc import Iterator, Mapping
from statistics import fmean

from sweeper.results.comparison import CurvePoint
from sweeper.results.entries import Arm
from sweeper.results.prose import listed
from sweeper.results.reproduction.evidence import Evidence
from sweeper.results.schema import finite
from sweeper.text import JsonObject

ROUNDED = 2e-5  # relative error of a mean of numbers with six digits
EXACT = 1e-12  # relative error of a mean of whole numbers


def aggregates(arm: Arm) -> dict[str, int | float | None]:
    """Return what a file states about an arm besides its rows: their number and their means."""
    validations = [value for each in arm.trainings if (value := finite(each.value)) is not None]
    return {
        "seeds": len(arm.trainings),
        "validation": fmean(validations) if validations else None,
        "test": fmean(values) if (values := list(_tests(arm).values())) else None,
    }


def faults(studies: Mapping[str, JsonObject], evidence: Evidence) -> list[str]:
    """Return a line for each value that does not follow from the seeds of its arm.

    Args:
        studies: What the file states about each arm, by its name.
        evidence: The evidence, with the rows of the same arms.
    """
    arms = {arm.name: arm for arm in evidence.arms}
    found = [f"{name}: it has no row with a value" for name in studies if name not in arms]
    for name, arm in arms.items():
        found += [f"{name}: {line}" for line in (*_of_rows(arm, studies[name]), *_of_floor(arm))]
    for points in _curves(evidence).values():
        name, metric = points[0].study, points[0].metric
        lines = _of_curve(arms[name], points) if name in arms else ["there is no such arm"]
        found += [f"{name}: the curve of {metric}: {line}" for line in lines]
    return found


def _tests(arm: Arm) -> dict[int, float]:
    values = {each.seed: finite(arm.of.test_value(each)) for each in arm.trainings}
    return {seed: value for seed, value in values.items() if value is not None}


def _of_rows(arm: Arm, stated: JsonObject) -> Iterator[str]:
    """Yield what is wrong with the seeds of an arm and with the stated means."""
    seeds = [each.seed for each in arm.trainings]
    if twice := sorted({str(seed) for seed in seeds if seeds.count(seed) > 1}):
        yield f"seed {listed(twice)} has several rows"
    for name, value in aggregates(arm).items():
        told = stated[name]
        if not _equal(told, value, EXACT):
            yield f"{name} is {told}, but its rows give {value}"


def _of_floor(arm: Arm) -> Iterator[str]:
    """Yield what is wrong with the floor, which is one of the predictors of the task."""
    facts = arm.of.facts
    if facts.floor is None or not facts.baselines:
        return
    name = facts.floor.name
    for what, told, value in (
        ("test", facts.floor.value, facts.baselines.get(name)),
        ("validation", facts.floor.validation, facts.validations.get(name)),
    ):
        if told is not None and not _equal(told, value, EXACT):
            yield f"the floor's {what} value is {told}, but its predictor {name} has {value}"


def _curves(evidence: Evidence) -> dict[tuple[str, str], list[CurvePoint]]:
    """Return the points of each arm and metric, in their order."""
    found: dict[tuple[str, str], list[CurvePoint]] = {}
    for point in evidence.curves:
        found.setdefault((point.study, point.metric), []).append(point)
    return found


def _of_curve(arm: Arm, points: list[CurvePoint]) -> Iterator[str]:
    """Yield what is wrong with a curve, as far as the rows of its arm decide it.

    The validation value of a seed is its lowest one, so that the mean of no epoch is lower. Of any
    other metric the rows have the last value, whose mean ends the curve.
    """
    for point in points:
        if point.seeds > len(arm.trainings):
            yield f"{point.seeds} seeds in epoch {point.epoch}, but it has {len(arm.trainings)}"
    metric, last = points[0].metric, points[-1]
    if metric == arm.of.study.objective:
        least = aggregates(arm)["validation"] or 0.0
        # The seeds that reach an epoch may be the better ones, with a mean below that of all.
        whole = [point for point in points if point.seeds == len(arm.trainings)]
        for point in whole:
            if point.mean < least - ROUNDED * abs(least):
                yield f"{point.mean} in epoch {point.epoch} is below the best by seed, {least}"
        return
    values = [each.metrics[metric] for each in arm.trainings if metric in each.metrics]
    # The rows decide the mean only if each seed of the point has a row with the metric.
    if len(values) == last.seeds and not _equal(last.mean, fmean(values), ROUNDED):
        yield f"it ends at {last.mean}, but its rows give {fmean(values)}"


def _equal(told: float | None, value: float | None, tolerance: float) -> bool:
    if told is None or value is None:
        return told is value
    return math.isclose(told, value, rel_tol=tolerance)
