"""The registry of benchmarks, and of their tasks by their names in sweep files.

The benchmarks are entry points of the group `sweeper.tasks` (`trainables/plugins.py`). Tasks of
users are registered for the current process, by `register`. Importing this module loads no data.
Scores are comparable only between runs with the same `protocol`.
"""

from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from trainables.errors import ConfigError, PluginError
from trainables.plugins import Registry
from trainables.tasks.benchmark import Benchmark, PublishedNumber
from trainables.tasks.own.benchmark import OwnBenchmark, own_benchmark
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.task import TaskInfo

BUILT_IN: Registry[Benchmark] = Registry(  # and those of plugins
    "sweeper.tasks", ("pdebench", "nasbench360"), lambda value: isinstance(value, Benchmark)
)
REGISTERED: dict[str, Benchmark] = {}
BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    ChainMap(REGISTERED, cast(MutableMapping[str, Benchmark], BUILT_IN))
)


class _Tasks(Mapping[str, TaskInfo]):
    """The tasks of all benchmarks by name. A look-up imports the benchmark of that task alone.

    Iteration leaves out the tasks of a benchmark that cannot be imported.
    """

    def __getitem__(self, name: str) -> TaskInfo:
        benchmark = name.partition("/")[0]
        found = [info for info in BENCHMARKS[benchmark].tasks if info.name == name]
        if not found:
            raise KeyError(name)
        return found[0]

    def __contains__(self, name: object) -> bool:
        try:
            return self[str(name)] is not None
        except KeyError:
            return False
        except PluginError:  # a look-up then gives the reason
            return True

    def __iter__(self) -> Iterator[str]:
        for benchmark in (BUILT_IN.usable() | REGISTERED).values():
            yield from (info.name for info in benchmark.tasks)

    def __len__(self) -> int:
        return sum(1 for _ in self)


TASKS: Mapping[str, TaskInfo] = _Tasks()


def register(benchmark: Benchmark, *, replace: bool = False) -> None:
    """Add a benchmark to those of this process. Own tasks are added to the registered ones.

    Registering the same tasks again updates the facts of their data.

    Args:
        benchmark: The benchmark.
        replace: Replace tasks of the same names, as after a change of their file.

    Raises:
        ConfigError: A benchmark of a package, or another task, has the name.
    """
    name = benchmark.name
    known = REGISTERED.get(name)
    if name in BUILT_IN:
        where = BUILT_IN.origins(name)
        raise ConfigError(f"`{name}` is a benchmark of {where}. Choose another name.")
    if isinstance(benchmark, OwnBenchmark) and isinstance(known, OwnBenchmark):
        if not replace:
            _check_same(known, benchmark)
        benchmark = benchmark.added_to(known)
    elif known is not None and known != benchmark and not replace:
        raise ConfigError(f"There are two benchmarks `{name}`. Rename one of them.")
    REGISTERED[name] = benchmark


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
        is_own = "/" in name and name.partition("/")[0] not in BUILT_IN
        own = " A task of yours is found by its file: name FILE.task.yaml." if is_own else ""
        raise ConfigError(
            f"There is no task `{name}`. Known: {', '.join(variants or sorted(TASKS))}.{own}"
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
