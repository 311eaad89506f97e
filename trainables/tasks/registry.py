"""The tasks, by the name that a sweep file uses. A literal table: reading it loads no data.

Numbers compare only between runs with the same `protocol`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from trainables.errors import ConfigError
from trainables.tasks.nas_bench_360 import benchmark as nas_bench_360
from trainables.tasks.pde_bench import benchmark as pde_bench
from trainables.tasks.pde_bench.published import PUBLISHED
from trainables.tasks.task import Publication, TaskInfo

__all__ = ["TASKS", "publication", "task_info"]

TASKS: Mapping[str, TaskInfo] = MappingProxyType(
    {info.name: info for info in (*pde_bench.INFOS, *nas_bench_360.INFOS)}
)


def task_info(name: str) -> TaskInfo:
    """Returns the entry of a task.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in TASKS:
        variants = [each for each in TASKS if each.partition("@")[0] == name.partition("@")[0]]
        raise ConfigError(
            f"There is no task `{name}`. Known: {', '.join(variants or sorted(TASKS))}."
        )
    return TASKS[name]


def publication(name: str) -> Publication | None:
    """Returns what a task was published as, or None for a variant of ours."""
    problem = name.removesuffix(pde_bench.ORCA) if name in pde_bench.ORCA_FRAMES else name
    if problem not in PUBLISHED:
        return nas_bench_360.PUBLICATIONS.get(name)
    file = PUBLISHED[problem]
    return Publication(
        files=pde_bench.FILES[problem],
        address=f"{pde_bench.DATAFILES}/{file.datafile}",
        licence=pde_bench.LICENCE,
        megabytes=file.megabytes,
    )
