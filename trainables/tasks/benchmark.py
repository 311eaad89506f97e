"""A benchmark: tasks that were published together, with their data, readers and numbers.

A third benchmark is one more instance of `Benchmark`, listed in `registry.py`. Making an instance
loads neither torch nor a solver: `problems` and `reader` import what they need when called.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from trainables.tasks.problem import Problems
from trainables.tasks.store.split import SplitData
from trainables.tasks.task import TaskInfo

__all__ = ["Benchmark", "Floor", "ImportedSplits", "PublishedNumber", "PublishedTable", "Reader"]

FRAMES = "{frames}"  # in a protocol: stands for the frames of the task


@dataclass(frozen=True)
class ImportedSplits:
    """The splits that a reader made of published files, the rows of each in random order."""

    splits: Mapping[str, SplitData]  # by "train", "val", "test"
    description: Mapping[str, Any] = field(default_factory=dict)  # plain data, for the manifest


@runtime_checkable
class Reader(Protocol):
    """Reader of the published files of one task: an object, or a module with both functions."""

    def find(self, files: Sequence[Path], *, seed: int = 0) -> Mapping[str, Path]:
        """Return the files to read among those named, by their published names.

        Raises:
            DataError: One is missing.
        """
        ...

    def read(self, files: Sequence[Path], scratch: Path, *, seed: int = 0) -> ImportedSplits:
        """Return the splits. Arrays that do not fit in memory may lie in `scratch`.

        Args:
            files: The published files, or folders that hold them.
            scratch: An empty folder, deleted once the splits are stored.
            seed: Draws the validation split and the order of the rows.

        Raises:
            DataError: A file is missing, damaged, or not as published.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The score of a perfect predictor of the last frame on the frame that is tested."""

    value: float
    remark: str  # how it was measured, and how the published scores compare to it


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """Published scores by method and task, as printed; lower is better."""

    title: str
    tasks: tuple[str, ...]  # of the columns: names without that of the benchmark
    rows: Mapping[str, tuple[float | None, ...]]  # by method; None where nothing is printed
    citations: Mapping[str, str]  # by method
    protocols: Mapping[str, str]  # by method, for the rest "official test set"; may say {frames}
    units: Mapping[str, float] = field(default_factory=dict)  # by task: printed -> ours
    frames: Mapping[str, str] = field(default_factory=dict)  # by task: trained on, tested on
    floors: Mapping[str, Floor] = field(default_factory=dict)  # by task: of protocols with {frames}


@dataclass(frozen=True, kw_only=True)
class PublishedNumber:
    """One published score, in the unit of our metric."""

    method: str
    task: str
    value: float
    metric: str
    protocol: str
    table: str
    citation: str
    floor: float | None = None  # of the protocol; None where none is known
    remark: str = ""  # on the floor


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Tasks that were published together, and all that is known of them."""

    name: str  # "pdebench": the first part of the names of its tasks
    tasks: tuple[TaskInfo, ...]
    reader: Callable[[TaskInfo], Reader]  # of tasks that have a `publication`
    problems: Callable[[TaskInfo], Problems] | None = None  # None: no data can be generated
    results: PublishedTable | None = None

    def __post_init__(self) -> None:
        """Check the names of the tasks.

        Raises:
            ValueError: One is there twice, or does not begin with that of the benchmark.
        """
        names = [info.name for info in self.tasks]
        if foreign := [name for name in names if not name.startswith(f"{self.name}/")]:
            raise ValueError(f"{foreign[0]}: tasks of {self.name} are called `{self.name}/NAME`.")
        if len(set(names)) < len(names):
            raise ValueError(f"{self.name}: two tasks have the same name.")

    def published_numbers(self, info: TaskInfo) -> Mapping[str, PublishedNumber]:
        """Return the published numbers of a task by method; none of a variant of ours."""
        table = self.results
        column = (info.published_as or info.name).removeprefix(f"{self.name}/")
        if table is None or column not in table.tasks:
            return MappingProxyType({})
        place = table.tasks.index(column)
        return MappingProxyType(
            {
                method: _number(info, table, method, column, printed)
                for method, row in table.rows.items()
                if (printed := row[place]) is not None
            }
        )


def _number(
    info: TaskInfo, table: PublishedTable, method: str, column: str, printed: float
) -> PublishedNumber:
    protocol = table.protocols.get(method, "official test set")
    floor = table.floors.get(column) if FRAMES in protocol else None
    return PublishedNumber(
        method=method,
        task=info.name,
        value=printed * table.units.get(column, 1.0),
        metric=info.metric,
        protocol=protocol.replace(FRAMES, table.frames.get(column, "")),
        table=table.title,
        citation=table.citations[method],
        floor=floor.value if floor else None,
        remark=floor.remark if floor else "",
    )
