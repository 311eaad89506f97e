"""The contract of a benchmark: its names, its generators, and a trial on each of its tasks."""

import math
from pathlib import Path

import numpy as np

from trainables.methods.registry import METHODS
from trainables.metrics import METRICS
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.tasks.benchmark import Benchmark
from trainables.tasks.loading import prepare_task
from trainables.tasks.problem import Problem
from trainables.tasks.registry import BUILT_IN
from trainables.tasks.task import TaskInfo
from trainables.testing.small import small_trial
from trainables.training.losses import LOSSES


def check_benchmark(benchmark: Benchmark, home: Path) -> None:
    """Check the tasks of a benchmark; those that can be generated are generated and trained on.

    Args:
        benchmark: The benchmark.
        home: An empty folder for data and caches.

    Raises:
        AssertionError: The contract is broken; the message says where.
    """
    assert benchmark.tasks, f"{benchmark.name}: it has no task"
    with BUILT_IN.holding(benchmark.name, benchmark):
        for info in benchmark.tasks:
            _check_description(benchmark, info)
            if benchmark.problems is not None:
                for problem in vars(benchmark.problems(info)).values():
                    _check_problem(info, problem)
                _check_trial(info, home)


def _check_description(benchmark: Benchmark, info: TaskInfo) -> None:
    for metric in info.metrics:
        assert metric in METRICS, f"{info.name}: its metric `{metric}` is unknown"
    assert info.loss in LOSSES, f"{info.name}: its loss `{info.loss}` is unknown"
    assert info.protocol, f"{info.name}: it has no protocol, by which scores are comparable"
    assert min(info.channels) >= 1, f"{info.name}: it has no channels"
    is_published = info.publication is not None
    assert is_published or benchmark.problems is not None, (
        f"{info.name}: it has neither a publication nor a generator, so that nobody has its data"
    )
    assert not is_published or benchmark.reader is not None, (
        f"{info.name}: it has a publication, but {benchmark.name} has no reader"
    )


def _check_problem(info: TaskInfo, problem: Problem) -> None:
    """Check that samples are pure functions of their number, and have the shapes of the task."""
    resolution = 8 if info.dimension == "2d" else 32
    grid = problem.grid(resolution)
    whole = problem.generate(np.arange(4), seed=1, resolution=resolution)
    for name, array, channels in (("x", whole.x, 0), ("y", whole.y, 1)):
        wanted = (4, info.channels[channels], *grid)
        assert array.shape == wanted, f"{info.name}: {name} is {array.shape} instead of {wanted}"
        assert np.isfinite(array).all(), f"{info.name}: {name} is not finite"
    part = problem.generate(np.array([2, 1]), seed=1, resolution=resolution)
    for name, one, all_ in (("x", part.x, whole.x), ("y", part.y, whole.y)):
        assert np.array_equal(one, all_[[2, 1]]), (
            f"{info.name}: {name} of a sample depends on the samples beside it"
        )
    other = problem.generate(np.arange(4), seed=2, resolution=resolution)
    assert not np.array_equal(other.x, whole.x), f"{info.name}: the seed changes nothing"


def _check_trial(info: TaskInfo, home: Path) -> None:
    """Train two epochs on a few samples, and score them by the task's metrics."""
    spec = small_trial(METHODS["nft"], home, task=info.name)
    prepare_task(spec.task, spec.data, spec.home)
    last = list(Training.begin(spec, WarmParts()).reports())[-1]
    for metric in info.metrics:
        value = last.metrics[f"test/{metric}"]
        assert math.isfinite(value), f"{info.name}: {metric} is {value} after two epochs"
