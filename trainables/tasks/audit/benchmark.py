"""The audit of a benchmark: published numbers beside predictors without a network.

Each published task is scored by its protocol: on imported data where they are there, and else on
data of our generators. A task cannot rank methods if its floor, the best predictor by validation,
is below the best published value. Published numbers of FNO, which has another protocol, stand
beside the others and decide nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trainables.errors import DataError
from trainables.spec import DataSpec
from trainables.tasks import official
from trainables.tasks.audit.arguments import REASONS, Reason
from trainables.tasks.benchmark import Benchmark
from trainables.tasks.generation import Progress
from trainables.tasks.loading import load_task, prepare_task
from trainables.tasks.predictors import PREDICTORS, Setting
from trainables.tasks.predictors.floor import Scores, scores_of
from trainables.tasks.registry import published_numbers
from trainables.tasks.store.manifest import MANIFEST, folder_of
from trainables.tasks.task import Task, TaskInfo

RANKED = ("orca", "mona", "pare", "recraft")  # published by one protocol
ROUNDING = np.finfo(np.float32).eps
BESIDE = ("fno",)  # published by another one
# Generated samples and points per side, so that all tasks take minutes on two cores. The published
# size is used where it is left out.
SIZES: Mapping[str, tuple[int, int]] = {
    "pdebench/advection_1d": (3000, 256),
    "pdebench/burgers_1d": (1000, 1024),
    "pdebench/diffusion_reaction_1d": (1000, 1024),
    "pdebench/diffusion_sorption_1d": (1000, 256),
    "pdebench/navier_stokes_1d": (300, 128),
    "pdebench/darcy_2d": (400, 64),
    "pdebench/shallow_water_2d": (500, 128),
    "pdebench/diffusion_reaction_2d": (120, 128),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Picture:
    """A test sample: its input [c, *grid], its target and the floor's prediction [c, *grid]."""

    x: np.ndarray
    y: np.ndarray
    prediction: np.ndarray


@dataclass(frozen=True, kw_only=True)
class AuditedTask:
    """One task of a benchmark, and what its published numbers can mean."""

    task: str
    title: str
    metric: str
    protocol: str
    not_audited: str | None = None  # the reason, and the way out; all below is then empty
    data_source: str | None = None
    samples: Mapping[str, int] = field(default_factory=dict)  # by split
    scores: Scores = field(default_factory=Scores)
    published: Mapping[str, float] = field(default_factory=dict)  # by method
    frames_floor: float | None = None  # of a perfect predictor of the frame that is trained on
    reason: Reason | None = None  # None: none is known
    picture: Picture | None = None

    @property
    def floor(self) -> float | None:
        """The test value of the best predictor by validation."""
        name = self.scores.floor
        return None if name is None else self.scores.scored[name].test

    @property
    def best_published(self) -> str | None:
        """The method with the lowest published value of the ranked protocol."""
        ranked = {name: value for name, value in self.published.items() if name in RANKED}
        return min(ranked, key=lambda name: ranked[name], default=None)

    @property
    def ratio(self) -> float | None:
        """The best published value by the floor; above 1 the task cannot rank methods.

        A floor below the rounding error of single precision counts as this error.
        """
        if self.floor is None or self.best_published is None:
            return None
        return self.published[self.best_published] / max(self.floor, float(ROUNDING))

    @property
    def can_rank(self) -> bool | None:
        """True unless a predictor without a network beats all published methods; None: unknown."""
        return None if self.ratio is None else self.ratio < 1


def audit_benchmark(benchmark: Benchmark, home: Path, progress: Progress) -> Iterator[AuditedTask]:
    """Yield the audit of each published task of a benchmark.

    Args:
        benchmark: The benchmark, with its published tasks.
        home: SWEEPER_HOME. Data are generated there, and scores are cached there.
        progress: Called with the task, the number of generated samples and the total.
    """
    for info in benchmark.tasks:
        if info.publication is None or info.published_as:
            continue  # a variant of ours
        try:
            task = load_audited(info, home, progress)
        except DataError as error:
            yield AuditedTask(
                task=info.name,
                title=info.title,
                metric=info.metric,
                protocol=info.protocol,
                published=_published(info),
                not_audited=str(error),
            )
        else:
            yield _audited(task, scores_of(task, home))


def load_audited(info: TaskInfo, home: Path, progress: Progress) -> Task:
    """Return the task with its imported data or, if there are none, with some of our generator.

    Raises:
        DataError: The data are missing and cannot be generated, or are damaged.
    """
    samples, resolution = SIZES.get(info.name.partition("@")[0], (None, None))
    data = DataSpec()
    imported = folder_of(info.name, home) / MANIFEST
    if official.is_generated(info.name) and not imported.is_file():
        data = DataSpec(source="generated", samples=samples, resolution=resolution)
    prepare_task(info.name, data, home, progress=progress)
    return load_task(info.name, data, home)


def _audited(task: Task, scores: Scores) -> AuditedTask:
    info = task.info
    known = published_numbers(info.name).values()
    find = REASONS.get(info.name)
    return AuditedTask(
        task=info.name,
        title=info.title,
        metric=info.metric,
        protocol=info.protocol,
        data_source=task.data_source,
        samples={split: len(getattr(task, split)) for split in ("train", "val", "test")},
        scores=scores,
        published=_published(info),
        frames_floor=next((each.floor for each in known if each.floor is not None), None),
        reason=None if find is None else find(task),
        picture=_picture(task, scores),
    )


def _published(info: TaskInfo) -> dict[str, float]:
    numbers = published_numbers(info.name)
    return {name: numbers[name].value for name in (*RANKED, *BESIDE) if name in numbers}


def _picture(task: Task, scores: Scores) -> Picture | None:
    """Return a test sample of a field, or None for outputs that are no fields."""
    if scores.floor is None or task.info.kind != "dense" or task.info.mask is not None:
        return None
    predictor = PREDICTORS[scores.floor](Setting.of(task)).fit(task.train, task.val)
    x = np.asarray(task.test.x[np.arange(1)])
    return Picture(x=x[0], y=task.test.y[0], prediction=predictor.predict(x)[0])
