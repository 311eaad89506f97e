"""Benchmarks of users: tasks that files describe, and the facts of their imported data.

The first part of a task's name is its benchmark. Shapes, samples and classes are known once the
data are imported: they come from the manifest of the store, whose entry `own` records the
definition. Before that, and if the store was imported from another definition, they are unknown.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar, Literal, cast

from trainables.errors import DataError, TaskDataError
from trainables.tasks.benchmark import Benchmark, ImportedSplits, Reader
from trainables.tasks.kinds import KINDS
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.store.manifest import MANIFEST, folder_of, read_manifest
from trainables.tasks.store.rows import present
from trainables.tasks.store.split import SPLITS
from trainables.tasks.task import TaskInfo

Stored = Literal["float32", "float16", "uint8"]
# Entry of a manifest: definition, definition_hash, input_shape, outputs, and the path of the file.
OWN = "own"


@dataclass(frozen=True, kw_only=True)
class OwnFacts:
    """Facts of the imported data of a task, as its manifest records them."""

    input_shape: tuple[int, ...]  # of one x, as a network takes it: [c_in, *grid]
    output_shape: tuple[int, ...]  # of one y, as stored
    outputs: int  # classes, labels, channels or numbers
    stored: Stored  # type of the inputs on disk
    splits: Mapping[str, int]  # samples by split
    bytes: int = 0  # on disk, once they are stored
    classes: tuple[str, ...] = ()  # names, if the data have any

    @property
    def samples(self) -> int:
        """The number of samples of all splits."""
        return sum(self.splits.values())

    @classmethod
    def of_manifest(cls, manifest: Mapping[str, Any]) -> "OwnFacts":
        """Return the facts of a manifest that has the entry `own`."""
        own, files = manifest[OWN], manifest["files"]
        return cls(
            input_shape=tuple(own["input_shape"]),
            output_shape=tuple(manifest["shapes"]["y"]),
            outputs=own["outputs"],
            stored=manifest["dtypes"]["x"],
            splits={split: files[f"{split}.arrow"]["samples"] for split in SPLITS},
            bytes=sum(entry["bytes"] for entry in files.values()),
            classes=tuple(map(str, manifest.get("classes") or ())),
        )

    @classmethod
    def of_splits(cls, imported: ImportedSplits) -> "OwnFacts":
        """Return the facts of splits that were just read."""
        train, description = imported.splits["train"], imported.description
        y_shape = tuple(train.y.shape[1:])
        return cls(
            input_shape=tuple(present(train.x[:1], description).shape[1:]),
            output_shape=y_shape,
            outputs=y_shape[0] if y_shape else len(description["classes"]),
            stored=cast(Stored, str(train.x.dtype)),
            splits={split: len(imported.splits[split].sample_id) for split in SPLITS},
        )


@dataclass(frozen=True, kw_only=True)
class OwnBenchmark(Benchmark):
    """Own tasks with the same first part of their names."""

    definitions: Mapping[str, TaskDefinition]  # by the task's name
    home: Path  # SWEEPER_HOME, whose data were looked at
    files: Mapping[str, Path] = field(default_factory=dict)  # task files, if they are known here
    facts: Mapping[str, OwnFacts] = field(default_factory=dict)  # of imported data

    hint: ClassVar[str] = "See that it is whole."
    doubt: ClassVar[str] = ""

    def added_to(self, known: "OwnBenchmark") -> "OwnBenchmark":
        """Return the benchmark with its own tasks and the other ones of `known`."""
        definitions = {**known.definitions, **self.definitions}
        return own_benchmark(definitions.values(), self.home, {**known.files, **self.files})

    def can_import(self, info: TaskInfo) -> bool:
        """Return True: own data are always read from files."""
        return True

    def identity(self, info: TaskInfo) -> Mapping[str, str]:
        """Return the hash of the task's definition."""
        return {"definition": self.definitions[info.name].data_hash}

    def completed(self, info: TaskInfo, imported: ImportedSplits) -> TaskInfo:
        """Return the description of a task, with shapes and samples of splits that were read.

        Raises:
            TaskDataError: The samples are not of the dimension that the definition tells.
        """
        definition = self.definitions[info.name]
        facts = OwnFacts.of_splits(imported)
        if len(facts.input_shape) != 1 + int(definition.dimension[0]):
            raise TaskDataError(
                f"{info.name}: its task file tells of {definition.dimension} samples, but they are "
                f"{list(facts.input_shape)}: say `input.layout`, the order of the axes.",
                ("input", "layout"),
            )
        return describe(definition, facts)

    def record(self, info: TaskInfo) -> Mapping[str, Any]:
        """Return the entry `own` of the manifest of a completed task."""
        definition, file = self.definitions[info.name], self.files.get(info.name)
        return {
            OWN: {
                "task_file": None if file is None else str(file),
                "definition": definition.content,
                "definition_hash": definition.data_hash,
                "input_shape": list(info.input_shape),
                "outputs": info.channels[1],
            }
        }

    def way_to_import(self, name: str) -> str:
        """Return the command that imports the data of a task."""
        file = self.files.get(name) or recorded_file(name, self.home)
        return f"sweeper data import {in_command(file)}"

    def way_to_replace(self, name: str, files: Sequence[Path] = (), seed: int = 0) -> str:
        """Return the command that imports a task's data in the place of former ones."""
        del files, seed  # the task file names both
        return f"{self.way_to_import(name)} --replace"


def own_benchmark(
    definitions: Iterable[TaskDefinition],
    home: Path,
    files: Mapping[str, Path] | None = None,
) -> OwnBenchmark:
    """Return the benchmark of own tasks, with the facts of those whose data are imported.

    Args:
        definitions: Tasks of one benchmark.
        home: SWEEPER_HOME.
        files: Task files by the task's name, if they are known here.
    """
    found = {definition.name: definition for definition in definitions}

    def reader(info: TaskInfo) -> Reader:
        from trainables.tasks.own.reading import OwnReader  # and the libraries of the formats

        return OwnReader(found[info.name])

    facts = {
        name: known
        for name, definition in found.items()
        if (known := _facts(definition, folder_of(name, home))) is not None
    }
    return OwnBenchmark(
        name=next(iter(found.values())).benchmark,
        tasks=tuple(describe(each, facts.get(name)) for name, each in found.items()),
        reader=reader,
        definitions=found,
        home=home,
        files=files or {},
        facts=facts,
    )


def in_command(file: Path | None) -> str:
    """Return a task file as a word of a command; one that is not known has a stand-in."""
    return "FILE.task.yaml" if file is None else quote(str(file))


def recorded_file(name: str, home: Path) -> Path | None:
    """Return the task file that the data of a task were imported from, if it is still there."""
    try:
        text = read_manifest(folder_of(name, home))[OWN]["task_file"]
    except (DataError, OSError, KeyError, TypeError):  # the use of the data reports it
        return None
    return Path(text) if isinstance(text, str) and Path(text).is_file() else None


def _facts(definition: TaskDefinition, folder: Path) -> OwnFacts | None:
    """Return the facts of the imported data, or None if they are missing, damaged or others."""
    if not (folder / MANIFEST).is_file():
        return None
    try:
        manifest = read_manifest(folder)
        if manifest[OWN]["definition_hash"] != definition.data_hash:
            return None
        return OwnFacts.of_manifest(manifest)
    except (DataError, OSError, KeyError, TypeError):  # the use of the data reports it
        return None


def describe(definition: TaskDefinition, facts: OwnFacts | None = None) -> TaskInfo:
    """Return the description of a task; without facts, its shapes and samples are unknown."""
    kind = KINDS[definition.kind]
    channels = (0, 0)
    grid: tuple[int, ...] = ()
    if facts is not None:
        channels, grid = (facts.input_shape[0], facts.outputs), facts.input_shape[1:]
    return TaskInfo(
        name=definition.name,
        title=definition.title or definition.name,
        dimension=definition.dimension,
        kind=definition.kind,
        metric=definition.score,
        loss=kind.losses[definition.score],
        samples=0 if facts is None else facts.samples,
        resolution=max(grid, default=0),
        channels=channels,
        # Scores of two definitions cannot be compared, so that the protocol names the definition.
        protocol=f"own splits of {definition.name}, task file {definition.data_hash}",
        recipe=definition.recipe,
        grid=grid,
        test_samples=0 if facts is None else facts.splits["test"],
        stored="float32" if facts is None else facts.stored,
        recurring="so the given files have them",
    )
