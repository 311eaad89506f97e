"""The registry of benchmarks, and of their tasks by their names in sweep files.

Tasks of users are registered for the current process, by `register`. Importing this module loads no
data. Scores are comparable only between runs with the same
`protocol`.
"""

from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trainables.errors import ConfigError
from trainables.tasks.benchmark import Benchmark, PublishedNumber
from trainables.tasks.nas_bench_360.benchmark import NAS_BENCH_360
from trainables.tasks.own.benchmark import OwnBenchmark, own_benchmark
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.pde_bench.benchmark import PDEBENCH
from trainables.tasks.task import TaskInfo

__all__ = [
    "BENCHMARKS",
    "BUILT_IN",
    "TASKS",
    "benchmark_of",
    "own_benchmark_of",
    "published_numbers",
    "register",
    "register_own",
    "task_info",
]

BUILT_IN: Mapping[str, Benchmark] = MappingProxyType(
    {benchmark.name: benchmark for benchmark in (PDEBENCH, NAS_BENCH_360)}
)
_REGISTERED: dict[str, Benchmark] = {}
_TASKS = {info.name: info for benchmark in BUILT_IN.values() for info in benchmark.tasks}

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(ChainMap(_REGISTERED, dict(BUILT_IN)))
TASKS: Mapping[str, TaskInfo] = MappingProxyType(_TASKS)


def register(benchmark: Benchmark, *, replace: bool = False) -> None:
    """Add a benchmark to those of this process. Own tasks are added to the registered ones.

    Registering the same tasks again updates the facts of their data.

    Args:
        benchmark: The benchmark.
        replace: Replace tasks of the same names, as after a change of their file.

    Raises:
        ConfigError: A benchmark of the package, or another task, has the name.
    """
    name = benchmark.name
    known = _REGISTERED.get(name)
    if name in BUILT_IN:
        raise ConfigError(f"`{name}` is a benchmark of this package. Choose another name.")
    if isinstance(benchmark, OwnBenchmark) and isinstance(known, OwnBenchmark):
        if not replace:
            _check_same(known, benchmark)
        benchmark = benchmark.added_to(known)
    elif known is not None and known != benchmark and not replace:
        raise ConfigError(f"There are two benchmarks `{name}`. Rename one of them.")
    for info in known.tasks if known is not None else ():
        del _TASKS[info.name]
    _REGISTERED[name] = benchmark
    _TASKS.update({info.name: info for info in benchmark.tasks})


def _check_same(known: OwnBenchmark, added: OwnBenchmark) -> None:
    for name, definition in added.definitions.items():
        if known.definitions.get(name, definition) != definition:
            raise ConfigError(f"There are two tasks `{name}`. Rename one of them.")


def register_own(definition: Mapping[str, Any] | None, home: Path) -> None:
    """Register the own task of a trial, by the content of its file; None: its task is no own one.

    Raises:
        ConfigError: Another task has the name.
        ValidationError: The content is not that of a task file.
    """
    if definition is not None:
        register(own_benchmark([TaskDefinition.model_validate(definition)], home))


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


def own_benchmark_of(name: str) -> OwnBenchmark | None:
    """Return the benchmark of an own task, or None for any other task.

    Raises:
        ConfigError: The task is unknown.
    """
    benchmark = benchmark_of(name)
    return benchmark if isinstance(benchmark, OwnBenchmark) else None


def published_numbers(name: str) -> Mapping[str, PublishedNumber]:
    """Return the published numbers of a task by method. Our own variants have none.

    Raises:
        ConfigError: The task is unknown.
    """
    return benchmark_of(name).published_numbers(task_info(name))
