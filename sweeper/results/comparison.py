"""The parts of a comparison of methods: frozen data for pages, commands and files.

Scores are test errors: lower is better. `p_value` is the result of a sign-flip test. `p_holm` is
the same after Holm's correction for all comparisons of one family on one task.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean
from typing import TYPE_CHECKING

from sweeper.model import Floor, StudyFacts, Trial, known_fields
from sweeper.results.basis import UNKNOWN, Basis, Unit
from sweeper.results.floors import FloorTest, FloorVerdict, TaskResult, of_best, verdict
from sweeper.results.power import Detectable
from sweeper.results.statistics import Interval, RankCorrelation, mean_interval
from sweeper.spec.schema import Question

if TYPE_CHECKING:
    from sweeper.results.ladder.curves import LadderResult  # which is made of entries

ALPHA = 0.05
OFFICIAL = "official"  # published data, as opposed to generated data
CONTROL = "control"  # label of vanilla fine-tuning without tuning


class Verdict(StrEnum):
    """Result of a comparison of two methods."""

    LOWER = "lower"  # the first is significantly better
    HIGHER = "higher"
    UNKNOWN = "cannot distinguish"
    NOT_INFORMATIVE = "not informative"  # the better one does not beat the floor of the task
    NOTHING = "nothing to compare"  # one of them has no value, or they share no seed


@dataclass(frozen=True, kw_only=True)
class TuningCost:
    """The cost of tuning one method on one task: the sum over its candidates."""

    trials: int  # candidates that ended
    epochs: int
    device_seconds: float
    device: str  # gpu, or cpu if trials have no GPU


@dataclass(frozen=True, kw_only=True)
class Evenness:
    """The ratio between the methods' tuning budgets on a task, in one unit."""

    what: str  # trials, epochs, device_seconds
    is_even: bool
    ratio: float | None  # largest to smallest; None if the smallest is 0


@dataclass(frozen=True, kw_only=True)
class Incumbent:
    """The best configuration so far, after the end of a candidate."""

    trials: int
    epochs: int
    device_seconds: float
    value: float  # validation
    test: float | None


@dataclass(frozen=True, kw_only=True)
class EpochValues:
    """The objective after an epoch of a stage, of each training of a configuration."""

    stage: str
    epoch: int
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A metric after an epoch of a stage, over the seeds of a study."""

    study: str
    metric: str
    stage: str
    epoch: int
    mean: float
    low: float | None  # of the 95 % interval over seeds
    high: float | None
    seeds: int

    @classmethod
    def of(
        cls, study: str, metric: str, stage: str, epoch: int, values: Sequence[float]
    ) -> "CurvePoint":
        """Return the mean of these values, one for each seed, with its interval."""
        low, high = mean_interval(values) or (None, None)
        return cls(
            study=study, metric=metric, stage=stage, epoch=epoch, mean=fmean(values),
            low=low, high=high, seeds=len(values),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One method on one task: its best configuration by validation, and its test values."""

    label: str  # method, or sweep:method if two sweeps have the method on one task
    method: str
    sweep: str
    study: str
    trial: int | None = None  # the trial of this configuration; None: none is complete
    kind: str | None = None  # kind of the trial
    embedder_init: str | None = None  # start of the target embedder, if it is known
    preset: float | None = None  # test value of the preset in the search
    control: float | None = None  # likewise of the control, on the same seed
    validation: float | None = None  # mean over seeds, by which it was chosen
    is_replicated: bool = False  # the values come from complete replicates
    values: Mapping[int, float]  # seed -> test value
    data: Mapping[int, str | None] = field(default_factory=dict)  # seed -> hash; None: unknown
    samples: int | None = None  # of all splits
    floors: Mapping[int, Floor] = field(default_factory=dict)  # seed -> floor of its data
    without: int = 0  # replicates that ended without a value
    pending: int = 0  # replicates that have not ended
    mean: float | None = None
    sd: float | None = None
    ci: Interval | None = None
    roughness: float | None = None  # of validation by epoch, mean over trainings
    upward_rms: float | None = None  # likewise
    training_seconds: float | None = None  # device-seconds of one training, mean over seeds
    sample_seconds: float | None = None  # likewise, of an epoch for each training or val. sample
    budget: TuningCost | None = None
    curve: tuple[Incumbent, ...] = ()
    epochs: tuple[EpochValues, ...] = ()
    cells: Mapping[str, object] = field(default_factory=dict)  # of its trial, in every table

    @property
    def draw(self) -> Basis:
        """The seeds and the data of the values."""
        return basis_of([self], self.values)

    @property
    def floor(self) -> FloorVerdict | None:
        """The values beside the floors of their data."""
        return verdict(self.values, self.floors)


def basis_of(entries: Sequence[Entry], seeds: Collection[int]) -> Basis:
    """Return the seeds and the data of a test of entries on one task, on these seeds."""
    arms = [[each.data.get(seed) for seed in seeds] for each in entries]
    return Basis.of(len(seeds), arms, [each.samples for each in entries])


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference first minus second, on the common seeds."""

    first: str
    second: str
    pairs: int
    missing: int  # seeds without values of both
    is_paired: bool  # False: two single runs on different seeds
    means: tuple[float, float] | None = None  # over the pairs
    difference: float | None = None
    ci: Interval | None = None
    p_value: float | None = None
    p_holm: float | None = None
    is_exact: bool = True
    sd: float | None = None  # of the paired differences
    d_z: float | None = None
    superiority: float | None = None  # share of pairs with a lower first value
    detectable: Detectable | None = None  # at the strictest level of Holm's correction
    floor: FloorTest | None = None  # the better one beside the floor of the task
    draw: Basis = UNKNOWN
    verdict: Verdict = Verdict.NOTHING

    @property
    def shown_size(self) -> float | None:
        """The smallest true difference that the pairs could have shown, if there is one."""
        return None if self.detectable is None else self.detectable.difference


def num_tests(pairs: Sequence[int]) -> int:
    """Return the number of comparisons for Holm's correction of a family.

    Only comparisons with at least two pairs count: a single pair can never be significant. If there
    is none, all comparisons count.
    """
    # Where nothing is tested yet, the pairs that are needed are those for all comparisons.
    return sum(n > 1 for n in pairs) or len(pairs)


def strictest_level(pairs: Sequence[int]) -> float:
    """Return the level of the first step of Holm's correction: what passes it passes at any."""
    return ALPHA / max(num_tests(pairs), 1)


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published score, in the unit of our metric.

    Published numbers have other backbones, data, sizes or protocols. They are never ranked with
    ours, or with numbers of another protocol.
    """

    method: str
    value: float
    metric: str
    protocol: str
    data_source: str
    samples: int | None  # of the official data, in all splits
    table: str | None = None
    citation: str
    floor: float | None = None  # score of a perfect predictor, if it is not 0
    remark: str = ""  # about the floor


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """The numerical solutions that repay tuning and training of a network."""

    solver_seconds: float  # core-seconds a sample
    network_seconds: float | None  # device-seconds a sample, at most; None: unknown
    least: float  # solves, if a prediction costs nothing
    most: float | None  # if it takes `network_seconds`; None: unknown, or never


@dataclass(frozen=True, kw_only=True)
class WinCost:
    """The cost of a method on a task against its control, in device-seconds."""

    label: str
    device: str  # gpu, or cpu if trials have no GPU
    tuning: float
    training: float | None  # of one seed
    control_training: float | None
    times_control: float | None  # tuning and training, in trainings of the control
    error_ratio: float | None  # of the test errors, to that of the control
    break_even: BreakEven | None  # None: the time of the solver is unknown, or there is none


@dataclass(frozen=True, kw_only=True)
class TaskComparison:
    """All methods on one task."""

    task: str
    metric: str  # test/nrmse
    facts: StudyFacts  # of its first study
    entries: tuple[Entry, ...]
    controls: tuple[Entry, ...]  # with the labels of their methods
    budgets: tuple[Evenness, ...]
    differences: tuple[Difference, ...]  # between methods
    from_control: tuple[Difference, ...]  # between each method and its control
    incomparable: tuple[str, ...]  # reasons why the methods are not compared
    cautions: tuple[str, ...]
    helped: tuple[str, ...] = ()  # sentences on what helped the searches, such as priors
    published: tuple[Published, ...]
    is_ablation: bool = False  # between arms
    costs: tuple[WinCost, ...] = ()  # of each entry
    why_none: str = ""  # the reason why no method has a best trial, if none has one

    @property
    def floor(self) -> FloorVerdict | None:
        """The method with the lowest test mean beside the best predictor without a network."""
        return of_best(self.results)

    @property
    def results(self) -> tuple[TaskResult, ...]:
        """The test errors of each method, by its label."""
        return tuple(
            TaskResult(
                name=each.label,
                test=each.mean,
                floor=each.floor,
                preset=each.preset,
                control=each.control,
            )
            for each in self.entries
        )

    @property
    def distinct_controls(self) -> tuple[Entry, ...]:
        """The controls with values; arms of an ablation have one in common."""
        return tuple({(c.sweep, c.study): c for c in self.controls if c.values}.values())


@dataclass(frozen=True, kw_only=True)
class Share:
    """An effect over some of the tasks: the geometric mean of ratios of errors."""

    tasks: tuple[str, ...]
    ratio: float  # below 1: the first is better
    lower: int  # number of tasks on which the first is better


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One method against another over their common tasks, with equal weights for the tasks."""

    first: str
    second: str
    ratios: Mapping[str, float]  # task -> ratio of errors
    overall: Share
    ci: Interval | None  # of the ratio, over tasks
    p_value: float | None  # sign-flip test over tasks
    p_holm: float | None = None  # corrected within the family
    groups: Mapping[str, Share]  # 1D, 2D, dense, ...
    without: Mapping[str, float]  # task -> ratio without it
    hinges_on: tuple[str, ...]  # tasks without which the other method would be ahead
    draw: Basis = UNKNOWN  # of each task
    below_floor: tuple[str, ...] = ()  # tasks on which the better one does not beat the floor
    without_ratio: tuple[str, ...] = ()  # tasks with an error that is not above 0, left out
    tasks_needed: int | None = None  # for a power of 80 %; None: too few are known, or too many

    @property
    def is_level_somewhere(self) -> bool:
        """True if the methods are equal over all tasks, or without one of them."""
        return any(math.isclose(each, 1) for each in (self.overall.ratio, *self.without.values()))


@dataclass(frozen=True, kw_only=True)
class GroupGap:
    """The difference of an effect between two groups of tasks."""

    first: str
    second: str
    groups: tuple[str, str]  # 1D, 2D
    tasks: tuple[int, int]
    ratios: tuple[float, float]  # of errors, first to second
    draw: Basis  # of each task
    p_value: float  # of a permutation test over tasks, not corrected
    tasks_needed: int | None  # of each group, for a power of 80 %; None: too many
    is_below_floor: bool = False  # on some task the better one does not beat the floor


@dataclass(frozen=True, kw_only=True)
class DistanceCorrelation:
    """The distance before fine-tuning and the test error after it, for each trial of a study.

    All trials have the same source data.
    """

    label: str
    task: str
    proxy: str | None = None  # the source data, if the study has several
    metric: str  # test/nrmse
    stage: str  # the stage that measured the distance
    distance: str  # otdd_exact, ...
    trials: tuple[Trial, ...]
    distances: tuple[float, ...]
    errors: tuple[float, ...]
    correlation: RankCorrelation | None  # None: all values of a series are equal
    p_holm: float | None = None  # corrected for all series of the distance


@dataclass(frozen=True, kw_only=True)
class Trend:
    """The error of a method over the levels of a numeric factor of an ablation."""

    label: str
    task: str
    factor: str
    levels: tuple[float, ...]  # ascending
    means: tuple[float | None, ...]  # test errors
    intervals: tuple[Interval | None, ...] = ()  # of the means
    draw: Basis
    correlation: RankCorrelation | None  # over all seeds and levels
    ci: Interval | None  # of its rho, over seeds


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """The difference of a factor's two levels, at one level of another factor less at a second."""

    label: str
    task: str
    levels: tuple[str, str]
    others: tuple[str, str]
    pairs: int
    draw: Basis
    difference: float | None
    ci: Interval | None
    p_value: float | None
    p_holm: float | None = None  # corrected for all interactions of the factor on the task


class ClaimVerdict(StrEnum):
    """Result of a comparison of two arms that a question claims something of."""

    HOLDS = "holds here"
    FAILS = "does not hold"
    UNKNOWN = "cannot tell"
    NOT_INFORMATIVE = "not informative"  # the better arm does not beat the floor of its task
    NOT_RUN = "not run"


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """The verdict on a claim, with its numbers."""

    says: str
    contrast: tuple[str, ...] | None  # two arms
    trend: str | None  # a factor, if there is no contrast
    expect: str
    margin: float | None
    quantity: str
    is_primary: bool  # tested without a correction
    is_exploratory: bool = False  # it was not written down when the sweep was launched
    about: str = ""  # name of the contrast, equal in each question that has it
    is_relative: bool  # difference and interval are relative changes: -0.1 is 10 % lower
    verdict: ClaimVerdict = ClaimVerdict.NOT_RUN
    sentence: str = ""
    n: int = 0  # tasks or seeds
    unit: Unit = "seed"  # of the test, the interval and n
    draw: Basis = UNKNOWN
    floors: tuple[FloorTest, ...] = ()  # of each method and task, if errors are compared
    difference: float | None = None
    ci: Interval | None = None
    p_value: float | None = None
    p_holm: float | None = None  # of all claims but the primary one
    is_exact: bool = True
    by_task: Mapping[str, float] = field(default_factory=dict)  # difference
    sd: float | None = None  # of the tested differences
    detectable: Detectable | None = None  # likewise, at the strictest level of the correction
    looks: tuple[int, int] | None = None  # made and planned, of a sequential test
    scatter: float | None = None  # of one value between processors; None: not measured

    @property
    def subject(self) -> str:
        """The contrast or the trend in short."""
        return f"trend over {self.trend}" if self.contrast is None else " - ".join(self.contrast)

    @property
    def shown_size(self) -> float | None:
        """The smallest true difference that the pairs could have shown, if there is one.

        With a margin it is the largest true difference that they could have shown to be within it;
        below 0, none.
        """
        shown = None if self.detectable is None else self.detectable.difference
        if shown is None or self.margin is None:
            return shown
        # Relative differences are ratios of errors, which are divided.
        return (1 + self.margin) / (1 + shown) - 1 if self.is_relative else self.margin - shown

    @property
    def p_decisive(self) -> float | None:
        """The p-value that decides: corrected, but for the primary claim."""
        return self.p_value if self.is_primary else self.p_holm


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The results of all claims of a sweep's question, the primary one first."""

    sweep: str
    question: Question
    claims: tuple[ClaimResult, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The methods of one or several sweeps, on each task and over all tasks."""

    sweeps: tuple[str, ...]
    baseline: str | None
    tasks: tuple[TaskComparison, ...]
    labels: tuple[str, ...]
    ranks: Mapping[str, float]
    ranked_tasks: tuple[str, ...]
    effects: tuple[Effect, ...]
    distance_correlations: tuple[DistanceCorrelation, ...] = ()
    design: str | None = None  # of an ablation: preset, tuned (its base), files or per_arm
    by: str | None = None  # the factor whose levels are compared
    trends: tuple[Trend, ...] = ()  # of this factor
    interactions: tuple[Interaction, ...] = ()  # likewise
    responses: tuple[Trend, ...] = ()  # trends of this factor and of those of claims, for figures
    gaps: tuple[GroupGap, ...] = ()  # between tasks in 1D and in 2D
    answers: tuple[Answer, ...] = ()  # of the sweeps that have a question
    ladders: "tuple[LadderResult, ...]" = ()  # by task, and by key


def published_of(facts: StudyFacts) -> tuple[Published, ...]:
    """Return the published numbers on a study's task, sorted by protocol and method."""
    found = [
        Published(
            **known_fields(Published, each),
            data_source=OFFICIAL,
            samples=facts.published_samples,
        )
        for each in facts.published
    ]
    return tuple(sorted(found, key=lambda each: (each.protocol, each.method)))


def remarks(numbers: Iterable[Published]) -> list[str]:
    """Return the remarks about the floors of the numbers without duplicates."""
    return list(dict.fromkeys(each.remark for each in numbers if each.remark))


def by_protocol(numbers: Iterable[Published]) -> dict[str, list[Published]]:
    """Group the numbers by protocol; only numbers of one group may be compared."""
    groups: dict[str, list[Published]] = {}
    for each in numbers:
        groups.setdefault(each.protocol, []).append(each)
    return groups
