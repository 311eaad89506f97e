"""The tasks, by the name that a sweep file uses. A literal table: reading it loads no data.

Numbers compare only between runs with the same `protocol`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from trainables.errors import ConfigError
from trainables.tasks.nas_bench_360 import registry as nas_bench_360
from trainables.tasks.pde_bench import registry as pde_bench
from trainables.tasks.task import TaskInfo

__all__ = ["TASKS", "official_file", "task_info"]

TASKS: Mapping[str, TaskInfo] = MappingProxyType(
    {info.name: info for info in (*pde_bench.INFOS, *nas_bench_360.INFOS)}
)


def task_info(name: str) -> TaskInfo:
    """Returns the entry of a task.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in TASKS:
        raise ConfigError(f"There is no task `{name}`. Known: {', '.join(sorted(TASKS))}.")
    return TASKS[name]


def official_file(name: str) -> tuple[str, str] | None:
    """Returns the published files of a task, as one writes them in a shell, and where they are; or
    None for a variant of ours."""
    if name in pde_bench.FILES:
        return pde_bench.FILES[name], pde_bench.DATASET
    return nas_bench_360.FILES.get(name)
