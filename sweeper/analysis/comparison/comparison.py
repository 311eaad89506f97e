"""The parts of a comparison of methods: frozen data that pages, commands and files share.

Scores are test errors, lower being better. `p_value` is a sign-flip test's, `p_holm` the same after
Holm's correction for all comparisons of one family on one task.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sweeper.analysis.statistics import RankCorrelation
from sweeper.ledger.records import JsonObject
from sweeper.model import Trial

ALPHA = 0.05
OFFICIAL = "official"  # data, as opposed to generated ones
CONTROL = "control"  # names, for every method, its own vanilla fine-tuning, which is not tuned

Interval = tuple[float, float]


class Verdict(StrEnum):
    LOWER = "lower"  # the first is better, and that is no chance
    HIGHER = "higher"
    UNKNOWN = "cannot distinguish"
    NOTHING = "nothing to compare"  # one of them has no value, or they share no seed


@dataclass(frozen=True, kw_only=True)
class TuningCost:
    """The cost of tuning one method on one task: of its candidates alone."""

    trials: int  # candidates that ended
    epochs: int
    device_seconds: float
    device: str  # gpu, or cpu where a trial has no GPU


@dataclass(frozen=True, kw_only=True)
class Evenness:
    """The ratio of the methods' tuning budgets on a task, in one unit."""

    what: str  # trials, epochs, device_seconds
    is_even: bool
    ratio: float | None  # of the most to the least; None where one spent nothing


@dataclass(frozen=True, kw_only=True)
class Incumbent:
    """The best configuration so far, after a candidate has ended."""

    trials: int
    epochs: int
    device_seconds: float
    value: float  # validation
    test: float | None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One method on one task: the configuration that validation chose, and its test values."""

    label: str  # the method, or sweep:method where two sweeps have it on one task
    method: str
    sweep: str
    study: str
    trial: int | None = None  # the searched trial with this configuration; None: none is complete
    kind: str | None = None  # of that trial
    embedder_init: str | None = None  # what its target embedder starts from; None: not known
    validation: float | None = None  # what it was chosen by: mean over its seeds
    is_replicated: bool = False  # its values are those of complete replicates
    values: Mapping[int, float]  # test, by seed
    without: int = 0  # replicates that ended without a value
    pending: int = 0  # replicates that have not ended
    mean: float | None = None
    sd: float | None = None
    ci: Interval | None = None
    roughness: float | None = None  # of validation by epoch, mean over its trainings
    upward_rms: float | None = None  # the same
    budget: TuningCost | None = None
    curve: tuple[Incumbent, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """First minus second, on the seeds that both have."""

    first: str
    second: str
    pairs: int
    missing: int  # seeds that one of them lacks
    is_paired: bool  # False: two single runs on different seeds
    means: tuple[float, float] | None = None  # over the pairs
    difference: float | None = None
    ci: Interval | None = None
    p_value: float | None = None
    p_holm: float | None = None
    is_exact: bool = True
    d_z: float | None = None
    superiority: float | None = None  # share of the pairs in which the first is lower
    verdict: Verdict = Verdict.NOTHING


def num_tests(pairs: Sequence[int]) -> int:
    """Return the number of comparisons that a family is corrected for.

    These are the comparisons of two pairs or more: one pair can never be significant. Where none
    has two, all are counted.
    """
    return sum(n > 1 for n in pairs) or len(pairs)


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published score, in our metric's unit.

    Other backbones, data, sizes or protocols stand behind published numbers. They are never ranked
    with ours, nor with each other across protocols.
    """

    method: str
    value: float
    metric: str
    protocol: str
    data_source: str
    samples: int | None  # of the official data, all splits
    table: str | None
    citation: str
    floor: float | None = None  # what a perfect predictor scores by the protocol, where not 0
    remark: str = ""  # on the floor


@dataclass(frozen=True, kw_only=True)
class TaskComparison:
    """All methods on one task."""

    task: str
    metric: str  # test/nrmse
    facts: JsonObject  # title, dimension, kind, protocol, data_source, samples, baselines
    entries: tuple[Entry, ...]
    controls: tuple[Entry, ...]  # untuned vanilla fine-tuning, by the label of its method
    budgets: tuple[Evenness, ...]
    differences: tuple[Difference, ...]  # between methods
    from_control: tuple[Difference, ...]  # of each method from its control
    incomparable: tuple[str, ...]  # why methods are not compared here
    cautions: tuple[str, ...]
    published: tuple[Published, ...]


@dataclass(frozen=True, kw_only=True)
class Share:
    """An effect over some of the tasks: the geometric mean of ratios of errors."""

    tasks: tuple[str, ...]
    ratio: float  # below 1: the first is better
    lower: int  # tasks on which the first is


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One method against another over all tasks that both solved, each task counting once."""

    first: str
    second: str
    ratios: Mapping[str, float]  # by task
    overall: Share
    ci: Interval | None  # of the ratio, over tasks
    p_value: float | None  # sign-flip over tasks
    p_holm: float | None = None  # corrected for all pairs of methods, or all with the control
    groups: Mapping[str, Share]  # 1D, 2D, dense, ...
    without: Mapping[str, float]  # the ratio with one task left out
    hinges_on: tuple[str, ...]  # tasks without which another method would be ahead


@dataclass(frozen=True, kw_only=True)
class DistanceCorrelation:
    """A distance before fine-tuning and the test error after it, trial by trial of one study.

    All trials read one source.
    """

    label: str
    task: str
    proxy: str | None = None  # the source, where trials of the study read several
    metric: str  # test/nrmse
    stage: str  # that measured the distance
    distance: str  # otdd_exact, ...
    trials: tuple[Trial, ...]
    distances: tuple[float, ...]
    errors: tuple[float, ...]
    correlation: RankCorrelation | None  # None: all are alike
    p_holm: float | None = None  # corrected for all series of this distance


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Methods of one or several sweeps, on each task and over all."""

    sweeps: tuple[str, ...]
    baseline: str | None
    tasks: tuple[TaskComparison, ...]
    labels: tuple[str, ...]
    ranks: Mapping[str, float]
    ranked_tasks: tuple[str, ...]
    effects: tuple[Effect, ...]
    distance_correlations: tuple[DistanceCorrelation, ...] = ()


def published_of(facts: JsonObject) -> tuple[Published, ...]:
    """Return the numbers published on a study's task, by protocol, then by method."""
    found = [
        Published(
            method=each["method"],
            value=each["value"],
            metric=each["metric"],
            protocol=each["protocol"],
            data_source=OFFICIAL,
            samples=facts.get("published_samples"),
            table=each.get("table"),
            citation=each["citation"],
            floor=each.get("floor"),
            remark=each.get("remark", ""),
        )
        for each in facts.get("published") or ()
    ]
    return tuple(sorted(found, key=lambda each: (each.protocol, each.method)))


def remarks(numbers: Iterable[Published]) -> list[str]:
    """Return the remarks on the floors of the numbers, each once."""
    return list(dict.fromkeys(each.remark for each in numbers if each.remark))


def by_protocol(numbers: Iterable[Published]) -> dict[str, list[Published]]:
    """Group the numbers that may be compared with each other."""
    groups: dict[str, list[Published]] = {}
    for each in numbers:
        groups.setdefault(each.protocol, []).append(each)
    return groups
