"""The floor of a task, its best predictor without a network, and sentences on results beside it.

A method that does not beat the floor has learned nothing that needs a network, so that every
headline says it, and a comparison of such methods is not informative: they can differ for reasons
that say nothing about the task. One rule decides everywhere: a method beats the floor if the
interval of its paired differences to the floor over seeds lies below zero. With too few seeds for
an interval its mean has to be lower, and the sentence says `not tested`.

Where each seed has its own draw of the data, the predictor is the one that was chosen on the data
of the search, as the configuration of a method is. It is fitted to each draw, and a seed is paired
with the floor of its draw; the mean over draws is what sentences and tables show.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from sweeper.model import BY_HAND, Floor, StudyFacts
from sweeper.results.prose import MANY, listed, times
from sweeper.text import readable

TITLES = {  # of predictors in a sentence
    "mean": "the mean output",
    "median": "the median output",
    "identity": "the input itself",
    "majority": "the most frequent class",
    "prior": "the frequency of each label",
    "ridge": "ridge regression",
    "kernel_ridge": "kernel ridge regression",
    "knn": "nearest neighbours",
    "isotropic_filter": "an isotropic linear filter",
    "closed_form": "a closed form",
    "coarse_solver": "the solver on a quarter of the resolution",
    BY_HAND: "the baseline given by hand",
}
PLURAL = ("knn",)
BEST = "the best predictor without a network"
FLOOR_FACTS = ("floor", "solver", "baselines", "validations", "draws")  # of a study
MAX_SHOWN = 3  # tasks that a reason gives values of
LEVEL = 1.005  # a smaller ratio of errors is not worth a sentence


@dataclass(frozen=True, kw_only=True)
class FloorTest:
    """The errors of an arm on one task, beside the floor of the task."""

    task: str
    floor: Floor
    mean: float  # test error of the arm
    is_beaten: bool  # the arm is better than the floor
    is_tested: bool  # by an interval over seeds; False: by the mean alone


@dataclass(frozen=True, kw_only=True)
class FloorVerdict:
    """The floor of a task beside the test error of a method, for tables and JSON."""

    predictor: str
    value: float  # test error of the floor
    mean: float  # test error of the method over the seeds that have a floor
    ratio: float | None  # of this error to that of the floor; None: that is not above 0
    is_beaten: bool  # the method is better than the floor
    is_tested: bool = False  # as in `FloorTest`


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """The test errors of a method on a task."""

    name: str  # as printed
    test: float | None  # of the configuration that validation chose: the mean over seeds
    floor: FloorVerdict | None = None  # of the task, beside this error
    preset: float | None = None  # of the untuned preset, of one seed
    control: float | None = None  # of its control, on the same seed


def floors_at(facts: StudyFacts, seeds: Iterable[int]) -> dict[int, Floor]:
    """Return the floor of the data of each seed: of its own draw, or of those of the search."""
    common, draws = facts.floor_or_lowest, facts.draws
    # Facts come from JSON, whose keys are text.
    found = {k: draws[str(k)].floor if str(k) in draws else common for k in seeds}
    return {seed: floor for seed, floor in found.items() if floor is not None}


def title(predictor: str) -> str:
    """Return the name of a predictor in a sentence."""
    return TITLES.get(predictor, f"the predictor `{predictor}`")


def beside_validation(floor: Floor) -> str:
    """Return the floor beside validation values: `0.2528 (ridge)`."""
    if floor.validation is None:
        return f"{readable(floor.value)} on test ({floor.name})"
    return f"{readable(floor.validation)} ({floor.name})"


def beside(task: str, errors: Mapping[int, float], floors: Mapping[int, Floor]) -> FloorTest | None:
    """Return the test of an arm's errors over seeds; None without errors or floors.

    Args:
        task: The name of the task.
        errors: The test error of each seed.
        floors: The floor on the data of each seed.
    """
    seeds = [seed for seed in errors if seed in floors]
    if not seeds:
        return None
    # A single seed has no interval: then the mean decides, and nothing is tested.
    interval = None
    if len(seeds) > 1:
        from sweeper.results.statistics import mean_interval  # NumPy, which loads slowly

        interval = mean_interval([errors[seed] - floors[seed].value for seed in seeds])
    floor = mean_floor([floors[seed] for seed in seeds])
    mean = fmean(errors[seed] for seed in seeds)
    return FloorTest(
        task=task,
        floor=floor,
        mean=mean,
        is_beaten=mean < floor.value if interval is None else interval[1] < 0,
        is_tested=interval is not None,
    )


def mean_floor(floors: Sequence[Floor]) -> Floor:
    """Return the mean of floors on several data, under the name of the first one's predictor."""
    # A single floor keeps what a mean lacks: its validation value and its seconds.
    if len(set(floors)) == 1:
        return floors[0]
    return Floor(name=floors[0].name, value=fmean(floor.value for floor in floors))


def verdict(errors: Mapping[int, float], floors: Mapping[int, Floor]) -> FloorVerdict | None:
    """Return the verdict on the test errors of a method, beside the floor of each seed's data."""
    found = beside("", errors, floors)
    if found is None:
        return None
    return FloorVerdict(
        predictor=found.floor.name,
        value=found.floor.value,
        mean=found.mean,
        ratio=found.mean / found.floor.value if found.floor.value > 0 else None,
        is_beaten=found.is_beaten,
        is_tested=found.is_tested,
    )


def why_not_informative(tests: Iterable[FloorTest]) -> str:
    """Return what makes a comparison not informative; "" if every floor is beaten."""
    lost = [each for each in tests if not each.is_beaten]
    if not lost:
        return ""
    values = [
        f"{readable(each.mean)} beside {readable(each.floor.value)} of {title(each.floor.name)} on "
        f"{each.task}{_untested(each)}"
        for each in lost
    ]
    if len(values) > MAX_SHOWN:
        values = [*values[:MAX_SHOWN], f"{len(values) - MAX_SHOWN} other tasks"]
    return f"the better arm does not beat the floor: {listed(values)}"


def _untested(each: FloorTest | FloorVerdict) -> str:
    return "" if each.is_tested else " (not tested)"


def of_solver(task: str, facts: StudyFacts) -> str:
    """Return a sentence on the task's own solver, which enters no verdict; "" without one."""
    if (found := facts.solver) is None:
        return ""
    return (
        f"{task}: the solver on a quarter of the resolution has {readable(found.value)} in "
        f"{readable(found.seconds)} core-seconds a sample; it knows the equation, and is no floor."
    )


def sentences(results: Sequence[TaskResult]) -> list[str]:
    """Return sentences on a task: its best result beside the floor, and presets that lose."""
    return [text for text in (_beside_floor(results), *map(_beside_control, results)) if text]


def leaders(tests: Mapping[str, float | None]) -> list[str]:
    """Return the names with the lowest of these values: several if they tie."""
    known = {name: value for name, value in tests.items() if value is not None}
    lowest = min(known.values(), default=None)
    return [name for name, value in known.items() if value == lowest]


def of_best(results: Iterable[TaskResult]) -> FloorVerdict | None:
    """Return the verdict on the lowest mean; of several that tie, on one that loses, if any."""
    known = [(each.test, each.floor) for each in results if each.test is not None]

    def order(it: tuple[float, FloorVerdict | None]) -> tuple[float, bool, bool]:
        test, floor = it
        # False sorts before True: a floor comes before none, and one that is not beaten first.
        return test, floor is None, floor is not None and floor.is_beaten

    return min(known, key=order, default=(None, None))[1]


def _beside_floor(results: Sequence[TaskResult]) -> str:
    best, floor = leaders({each.name: each.test for each in results}), of_best(results)
    if not best or floor is None:
        return ""
    # Both means are over the seeds that have a floor, so that they are of the same data.
    test, is_one = floor.mean, len(best) == 1
    who = f"{listed(best)}, {readable(test)},"
    reference = f"{title(floor.predictor)}, {readable(floor.value)}"
    are, do = ("is", "does") if is_one else ("are", "do")
    if floor.is_beaten:
        text = f"{who} {are} {_better(test, floor.value)} than {reference}"
        text += f", {BEST}" * (floor.predictor != BY_HAND)
    elif test == floor.value:
        text = f"{who} {are} level with {reference}"
    elif test < floor.value:
        text = (
            f"{who} {are} {_better(test, floor.value)} than {reference}, by the mean, but not by "
        )
        text += "the 95 % interval over seeds"
    else:
        verb = "are" if floor.predictor in PLURAL else "is"
        how = f", which {verb} {_better(floor.value, test)}" if floor.value > 0 else ""
        text = f"{who} {do} not beat {reference}{how}"
    return f"{text}{_untested(floor)}."


def _beside_control(result: TaskResult) -> str:
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
    below = [f"{task}{_untested(each)}" for task, each in known.items() if not each.is_beaten]
    if not known:
        return ""
    what = "the floor" if any(each.predictor == BY_HAND for each in known.values()) else BEST
    if not below:
        which = f"each of {len(known)} tasks" if len(known) > 1 else "the one task that has one"
        untested = [task for task, each in known.items() if not each.is_tested]
        named = f" on {listed(untested)}" * (len(untested) < len(known))
        how = f" (not tested{named})" if untested else ""
        return f"The best method beats {what} on {which}{how}."
    return (
        f"On {len(below)} of {len(known)} tasks the best method does not beat {what}: "
        f"{listed(below)}."
    )
