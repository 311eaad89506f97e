"""A benchmark: tasks that were published together, with their data, readers and numbers.

To add a benchmark, create an instance of `Benchmark`, and offer it by an entry point of the group
`sweeper.tasks` (`trainables/plugins.py`). Creating an
instance loads neither torch nor a solver, because `problems` and `reader` import them when called.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, runtime_checkable

from trainables.tasks.problem import Problems
from trainables.tasks.store.split import SplitData
from trainables.tasks.task import TaskInfo

FRAMES = "{frames}"  # placeholder in a protocol for the frames of the task


@dataclass(frozen=True)
class ImportedSplits:
    """The splits that a reader made from published files. The rows of each are in random order."""

    splits: Mapping[str, SplitData]  # by "train", "val", "test"
    description: Mapping[str, Any] = field(default_factory=dict)  # plain data, for the manifest
    changes: Sequence[str] = ()  # of what was given, to be said before it is stored


@runtime_checkable
class Reader(Protocol):
    """Reader of the published files of one task: an object, or a module with both functions."""

    def find(self, files: Sequence[Path], *, seed: int = 0) -> Mapping[str, Path]:
        """Return the published files found in `files`, by their published names.

        Raises:
            DataError: A published file is missing.
        """
        ...

    def read(self, files: Sequence[Path], scratch: Path, *, seed: int = 0) -> ImportedSplits:
        """Return the splits. Arrays that do not fit in memory may be mapped from `scratch`.

        Args:
            files: The published files, or folders that hold them.
            scratch: An empty folder. It is deleted once the splits are stored.
            seed: Seed of the validation split and of the order of the rows.

        Raises:
            DataError: A file is missing or damaged, or differs from the published one.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The score of a perfect predictor of the last frame, evaluated on the tested frame."""

    value: float
    remark: str  # its measurement, and its comparison with the published scores


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """Published scores by method and task, as printed; lower is better."""

    title: str
    tasks: tuple[str, ...]  # names of the columns, without the name of the benchmark
    rows: Mapping[str, tuple[float | None, ...]]  # by method; None: no printed score
    citations: Mapping[str, str]  # by method
    protocols: Mapping[str, str]  # by method; default "official test set"; may contain {frames}
    units: Mapping[str, float] = field(default_factory=dict)  # by task: factor printed -> ours
    frames: Mapping[str, str] = field(default_factory=dict)  # by task: frames of training and test
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
    floor: float | None = None  # of the protocol; None: unknown
    remark: str = ""  # on the floor


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Tasks that were published together, with their readers, generators and scores."""

    name: str  # "pdebench": the first part of the names of its tasks
    tasks: tuple[TaskInfo, ...]
    reader: Callable[[TaskInfo], Reader] | None = None  # for tasks with a `publication`
    problems: Callable[[TaskInfo], Problems] | None = None  # None: data cannot be generated
    results: PublishedTable | None = None

    # Ends of messages: of files that cannot be read, and of data that differ from the description.
    hint: ClassVar[str] = "Fetch the published files again."
    doubt: ClassVar[str] = " Are these the published files?"

    def __post_init__(self) -> None:
        """Check the names of the tasks.

        Raises:
            ValueError: A name occurs twice, or it does not begin with that of the benchmark.
        """
        names = [info.name for info in self.tasks]
        if foreign := [name for name in names if not name.startswith(f"{self.name}/")]:
            raise ValueError(f"{foreign[0]}: tasks of {self.name} are called `{self.name}/NAME`.")
        if len(set(names)) < len(names):
            raise ValueError(f"{self.name}: two tasks have the same name.")

    def can_import(self, info: TaskInfo) -> bool:
        """Return whether the data of a task are read from files."""
        return info.publication is not None

    def identity(self, info: TaskInfo) -> Mapping[str, str]:
        """Return what an import of a task depends on, besides its files and its seed."""
        return {}

    def completed(self, info: TaskInfo, imported: ImportedSplits) -> TaskInfo:
        """Return the description of a task, with what only its data tell. No split is empty."""
        return info

    def record(self, info: TaskInfo) -> Mapping[str, Any]:
        """Return further entries of the manifest of a completed task."""
        return {}

    def way_to_replace(self, name: str, files: Sequence[Path], seed: int) -> str:
        """Return the command that imports a task's data in the place of former ones."""
        words = " ".join(quote(str(file)) for file in files)
        seeded = f" --seed {seed}" if seed else ""
        return f"sweeper data import {name} {words}{seeded} --replace"

    def published_numbers(self, info: TaskInfo) -> Mapping[str, PublishedNumber]:
        """Return the published numbers of a task by method. Our own variants have none."""
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
