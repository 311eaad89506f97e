"""The floor of a task, its best predictor without a network, and sentences on results beside it.

A method that does not beat the floor has learned nothing that needs a network, so that every
headline says it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeper.analysis.prose import MANY, listed, times
from sweeper.model import Floor, known_fields
from sweeper.text import readable

TITLES = {  # of predictors in a sentence
    "mean": "the mean output",
    "median": "the median output",
    "identity": "the input itself",
    "majority": "the most frequent class",
    "prior": "the frequency of each label",
    "ridge": "ridge regression",
    "knn": "nearest neighbours",
    "isotropic_filter": "an isotropic linear filter",
    "closed_form": "a closed form",
}
PLURAL = ("knn",)
FLOOR_FACTS = ("floor", "solver", "baselines", "validations")  # of a study
LEVEL = 1.005  # a smaller ratio of errors is not worth a sentence


@dataclass(frozen=True, kw_only=True)
class FloorVerdict:
    """The floor of a task beside the test error of a result."""

    predictor: str
    value: float  # test error of the floor
    ratio: float | None  # test error of the result to that of the floor; None: the floor's is 0
    is_beaten: bool  # the result is better than the floor


@dataclass(frozen=True, kw_only=True)
class Result:
    """The test errors of a method on a task."""

    name: str  # as printed
    test: float | None  # of the configuration that validation chose
    preset: float | None = None  # of the untuned preset, of one seed
    control: float | None = None  # of its control, on the same seed


def recorded_floor(facts: Mapping[str, object]) -> Floor | None:
    """Return the floor of a task from the facts of a study; None without a predictor.

    The facts have it where it was chosen by validation. Older facts have test values alone: the
    lowest of them is then the floor.
    """
    recorded = facts.get("floor")
    if isinstance(recorded, Mapping):
        return Floor(**known_fields(Floor, recorded))
    tests = _finite(facts.get("baselines"))
    if not tests:
        return None
    name = min(tests, key=lambda each: tests[each])
    return Floor(name=name, value=tests[name])


def title(floor: Floor) -> str:
    """Return the name of the predictor in a sentence."""
    return TITLES.get(floor.name, f"the predictor `{floor.name}`")


def beside_validation(floor: Floor) -> str:
    """Return the floor beside validation values: `0.2528 (ridge)`."""
    if floor.validation is None:
        return f"{readable(floor.value)} on test ({floor.name})"
    return f"{readable(floor.validation)} ({floor.name})"


def _finite(values: object) -> dict[str, float]:
    found = values if isinstance(values, Mapping) else {}
    return {name: v for name, v in found.items() if v is not None and math.isfinite(v)}


def verdict(test: float | None, facts: Mapping[str, object]) -> FloorVerdict | None:
    """Return the verdict on a test error; None without an error or a floor."""
    floor = recorded_floor(facts)
    if floor is None or test is None:
        return None
    return FloorVerdict(
        predictor=floor.name,
        value=floor.value,
        ratio=test / floor.value if floor.value else None,
        is_beaten=test < floor.value,
    )


def sentences(results: Sequence[Result], facts: Mapping[str, object]) -> list[str]:
    """Return sentences on a task: its best result beside the floor, and presets that lose."""
    return [
        text for text in (_beside_floor(results, facts), *map(_beside_control, results)) if text
    ]


def leaders(tests: Mapping[str, float | None]) -> list[str]:
    """Return the names with the lowest of these values: several if they tie."""
    known = {name: value for name, value in tests.items() if value is not None}
    lowest = min(known.values(), default=None)
    return [name for name, value in known.items() if value == lowest]


def _beside_floor(results: Sequence[Result], facts: Mapping[str, object]) -> str:
    tests = {each.name: each.test for each in results}
    best, floor = leaders(tests), recorded_floor(facts)
    if not best or floor is None:
        return ""
    test, is_one = tests[best[0]], len(best) == 1
    assert test is not None
    who = f"{listed(best)}, {readable(test)},"
    reference = f"{title(floor)}, {readable(floor.value)}"
    if test == floor.value:
        return f"{who} {'is' if is_one else 'are'} level with {reference}."
    if test < floor.value:
        size = _better(test, floor.value)
        return (
            f"{who} {'is' if is_one else 'are'} {size} than {reference}, the best predictor "
            "without a network."
        )
    pronoun = "they are" if floor.name in PLURAL else "it is"
    how = f": {pronoun} {_better(floor.value, test)}" if floor.value > 0 else ""
    return f"{who} {'does' if is_one else 'do'} not beat {reference}{how}."


def _beside_control(result: Result) -> str:
    preset, control = result.preset, result.control
    if preset is None or control is None or not preset > LEVEL * control > 0:
        return ""
    return (
        f"{result.name}'s preset, {readable(preset)}, is {times(preset / control)} worse than its "
        f"control, {readable(control)} (one seed)."
    )


def _better(lower: float, higher: float) -> str:
    """Return how much better the lower of two errors is: `8 % better`, `3.4 times better`."""
    if lower <= 0:
        return "better"
    ratio = higher / lower
    return f"{times(ratio) if ratio >= MANY else f'{100 * (1 - lower / higher):.2g} %'} better"


def over_tasks(verdicts: Mapping[str, FloorVerdict | None]) -> str:
    """Return a sentence on the tasks whose best result does not beat the floor, or "" without."""
    known = {task: each for task, each in verdicts.items() if each is not None}
    below = [task for task, each in known.items() if not each.is_beaten]
    if not known:
        return ""
    if not below:
        which = f"each of {len(known)} tasks" if len(known) > 1 else "the one task that has one"
        return f"The best method beats the best predictor without a network on {which}."
    return (
        f"On {len(below)} of {len(known)} tasks no method beats the best predictor without a "
        f"network: {listed(below)}."
    )
