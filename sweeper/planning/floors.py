"""The floors of tasks: what their best predictors without a network reach."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

from sweeper.model import CoarseSolver, Floor

if TYPE_CHECKING:
    from trainables.tasks.predictors.floor import Scores


class FloorFacts(TypedDict):
    """The facts of a study about predictors without a network (`StudyFacts`)."""

    baselines: Mapping[str, float]
    validations: Mapping[str, float]
    refused: Mapping[str, str]
    floor: Floor | None
    solver: CoarseSolver | None


def floor_facts(scores: "Scores", stored: Mapping[str, float]) -> FloorFacts:
    """Return the facts about predictors.

    Args:
        scores: The scores on the samples that the study uses.
        stored: Test values that the manifest of the data has. They cover the whole data set.
    """
    tests, validations, solver = dict(stored), {}, None
    for name, each in scores.scored.items():
        if each.validation is not None:
            tests.setdefault(name, each.test)
            validations[name] = each.validation
        else:
            solver = CoarseSolver(
                name=name, value=each.test, seconds=each.seconds, samples=each.samples
            )
    return FloorFacts(
        baselines=tests,
        validations=validations,
        refused=scores.refused,
        floor=floor_of(scores),
        solver=solver,
    )


def floor_of(scores: "Scores") -> Floor | None:
    """Return the floor among the scores, or None if no predictor applies."""
    if scores.floor is None:
        return None
    best = scores.scored[scores.floor]
    assert best.validation is not None, "a floor is chosen by validation"
    return Floor(
        name=scores.floor, value=best.test, validation=best.validation, seconds=best.seconds
    )
