"""The registry of benchmarks, and of their tasks by their names in sweep files.

Importing this module loads no data. Scores are comparable only between runs with the same
`protocol`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from trainables.errors import ConfigError
from trainables.tasks.benchmark import Benchmark, PublishedNumber
from trainables.tasks.nas_bench_360.benchmark import NAS_BENCH_360
from trainables.tasks.pde_bench.benchmark import PDEBENCH
from trainables.tasks.task import TaskInfo

__all__ = ["BENCHMARKS", "TASKS", "benchmark_of", "published_numbers", "task_info"]

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {benchmark.name: benchmark for benchmark in (PDEBENCH, NAS_BENCH_360)}
)
TASKS: Mapping[str, TaskInfo] = MappingProxyType(
    {info.name: info for benchmark in BENCHMARKS.values() for info in benchmark.tasks}
)


def task_info(name: str) -> TaskInfo:
    """Return the description of a task.

    Raises:
        ConfigError: The task is unknown.
    """
    if name not in TASKS:
        variants = [each for each in TASKS if each.partition("@")[0] == name.partition("@")[0]]
        raise ConfigError(
            f"There is no task `{name}`. Known: {', '.join(variants or sorted(TASKS))}."
        )
    return TASKS[name]


def benchmark_of(name: str) -> Benchmark:
    """Return the benchmark of a task.

    Raises:
        ConfigError: The task is unknown.
    """
    return BENCHMARKS[task_info(name).benchmark]


def published_numbers(name: str) -> Mapping[str, PublishedNumber]:
    """Return the published numbers of a task by method. Our own variants have none.

    Raises:
        ConfigError: The task is unknown.
    """
    return benchmark_of(name).published_numbers(task_info(name))
