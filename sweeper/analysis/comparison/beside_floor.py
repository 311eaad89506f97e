"""The test of an arm against the floor of its task: has it learned what needs a network?

An arm beats the floor if the interval of its paired differences to the floor over seeds lies below
zero. With too few seeds for an interval its mean has to be lower. Arms that do not beat the floor
can differ for reasons that say nothing about the task, so that their comparison is not informative.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from statistics import fmean

from sweeper.analysis.floors import title
from sweeper.analysis.prose import listed
from sweeper.analysis.statistics import mean_interval
from sweeper.model import Floor
from sweeper.text import readable

SHOWN = 3  # tasks that a sentence gives values of


@dataclass(frozen=True, kw_only=True)
class FloorTest:
    """The better arm of a comparison on one task, beside the floor of the task."""

    task: str
    floor: Floor
    mean: float  # test error of the arm
    is_beaten: bool  # the arm is better than the floor
    is_tested: bool  # by an interval over seeds; False: by the mean alone


def beside(task: str, errors: Collection[float], floor: Floor | None) -> FloorTest | None:
    """Return the test of an arm's errors over seeds; None without errors or a floor."""
    if floor is None or not errors:
        return None
    interval = mean_interval([error - floor.value for error in errors])
    mean = fmean(errors)
    return FloorTest(
        task=task,
        floor=floor,
        mean=mean,
        is_beaten=mean < floor.value if interval is None else interval[1] < 0,
        is_tested=interval is not None,
    )


def why_not_informative(tests: Iterable[FloorTest]) -> str:
    """Return what makes a comparison not informative; "" if every floor is beaten."""
    lost = [each for each in tests if not each.is_beaten]
    if not lost:
        return ""
    values = [
        f"{readable(each.mean)} beside {readable(each.floor.value)} of {title(each.floor)} on "
        f"{each.task}{'' if each.is_tested else ' (not tested)'}"
        for each in lost
    ]
    if len(values) > SHOWN:
        values = [*values[:SHOWN], f"{len(values) - SHOWN} other tasks"]
    return f"the better arm does not beat the floor: {listed(values)}"
