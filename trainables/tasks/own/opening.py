"""The choice of a format by the ending of a file.

Files of arrays and tables hold many samples each. Images and sounds are one sample each, and all of
them together are one container.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from trainables.errors import TaskDataError
from trainables.tasks.own import formats
from trainables.tasks.own.definition import InputData, Key, TargetData, TaskDefinition
from trainables.tasks.own.files import LocatedFiles, Part
from trainables.tasks.own.formats.endings import ARRAYS, IMAGES, KNOWN, PICKLES, SOUNDS
from trainables.tasks.own.formats.samples import Container, NamedArrays, SampleArray

CLASSES = {  # module and class of each format of named arrays
    "npy": ("numpy_files", "NpyFile"),
    "npz": ("numpy_files", "NpzFile"),
    "hdf5": ("hdf5_file", "Hdf5File"),
    "matlab": ("matlab", "MatFile"),
    "torch": ("tensors", "TensorFile"),
}


@dataclass(frozen=True)
class Opened:
    """Samples of a container, and the split that they belong to."""

    container: Container
    split: str | Sequence[str]  # of all samples, or of each
    input: InputData
    target: TargetData

    def splits(self, samples: SampleArray) -> np.ndarray:
        """Return the split of each sample [n]."""
        if isinstance(self.split, str):
            return np.full(samples.count, self.split)
        return np.array(self.split)


def opened_inputs(definition: TaskDefinition, located: LocatedFiles, scratch: Path) -> list[Opened]:
    """Open the files of the inputs.

    Args:
        definition: Content of the task file.
        located: The files.
        scratch: Folder for parts that do not fit in memory.

    Raises:
        DataError: A format is not known, formats are mixed, or a file is damaged.
    """
    parts = located.inputs
    of_samples = [part for part in parts if part.path.suffix.lower() in IMAGES + SOUNDS]
    sounds = all(part.path.suffix.lower() in SOUNDS for part in parts)
    if definition.input.representation != "raw" and not sounds:
        raise TaskDataError(
            f"{parts[0].path}: `representation: {definition.input.representation}` is for WAV "
            "files. Leave it out.",
            ("input", "representation"),
        )
    if not of_samples:
        if definition.target.source != "array":
            raise TaskDataError(
                f"{parts[0].path}: `target.source: {definition.target.source}` is for folders of "
                "images or sounds. Here the outputs are an array or a column: leave it out.",
                ("target", "source"),
            )
        return _opened_arrays(definition, parts, scratch)
    kinds = Counter(_family(part.path) for part in parts)
    if len(kinds) > 1:
        raise TaskDataError(
            f"{parts[0].path.parent}: files of several kinds are there "
            f"({', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}). Name those "
            "of one kind by a glob, such as images/**/*.png.",
            parts[0].key,
        )
    return [_open_sample_files(definition, located, scratch)]


def _opened_arrays(
    definition: TaskDefinition, parts: Sequence[Part], scratch: Path
) -> list[Opened]:
    opened = [open_container(p.path, scratch, definition.input, p.key) for p in parts]
    (_, *others) = sets = definition.arrays
    for part, container in zip(parts, opened, strict=True):
        if others and not isinstance(container, NamedArrays):
            raise TaskDataError(
                f"{part.path}: `splits.{others[0][0]}` names arrays, but the rows of this file "
                "have columns. Name a file of the split, or use `splits.column`.",
                ("splits", others[0][0]),
            )
    return [
        Opened(container, split or part.split, wanted, target)
        for split, wanted, target in sets
        for part, container in zip(parts, opened, strict=True)
    ]


def _family(path: Path) -> str:
    suffix = path.suffix.lower()
    return "images" if suffix in IMAGES else "sounds" if suffix in SOUNDS else "arrays or tables"


def _open_sample_files(definition: TaskDefinition, located: LocatedFiles, scratch: Path) -> Opened:
    from trainables.tasks.own.formats.images import describe_images
    from trainables.tasks.own.formats.sample_files import SampleFiles, listed_files
    from trainables.tasks.own.formats.sounds import describe_sounds
    from trainables.tasks.own.formats.tables import open_table

    parts, target = located.inputs, definition.target
    files, table = [part.path for part in parts], None
    if target.source == "csv":
        if len(located.targets) != 1:
            raise TaskDataError(
                "`source: csv` needs one table of file names and labels in `target.path`.",
                ("target", "path"),
            )
        (listed,) = located.targets
        # A dictionary has each folder once, in the order in which they are tried.
        roots = dict.fromkeys([*(part.root for part in parts), listed.path.parent])
        table = open_table(listed.path, scratch, header=definition.input.header)
        files = listed_files(table, files, [*roots], target.file_column)
    elif located.targets:
        raise TaskDataError(
            "`target.path` of images or sounds is a table of their labels: set `source: csv`.",
            ("target", "source"),
        )
    split_of = {part.path.resolve(): part.split for part in parts}
    images = _family(files[0]) == "images"
    container = SampleFiles(
        path=parts[0].root,
        files=files,
        describe=describe_images if images else describe_sounds,
        target=target,
        table=table,
    )
    splits = [split_of[path.resolve()] for path in files]
    return Opened(container, splits, definition.input, target)


def opened_targets(
    definition: TaskDefinition, located: LocatedFiles, opened: Sequence[Opened], scratch: Path
) -> list[SampleArray]:
    """Return the outputs: of files of their own, or of those of the inputs that are open.

    Raises:
        DataError: A format is not known, or a file is damaged.
    """
    if not located.targets or definition.target.source != "array":
        return [each.container.targets(each.target) for each in opened]
    if definition.input.sample is not None:
        raise TaskDataError(
            "with `input.sample`, the outputs are a column of the same table. Leave "
            "`target.path` out.",
            ("target", "path"),
        )
    files = [open_container(p.path, scratch, definition.input, p.key) for p in located.targets]
    return [each.targets(target) for _, _, target in definition.arrays for each in files]


def open_container(path: Path, scratch: Path, wanted: InputData, key: Key) -> Container:
    """Open a file of arrays by its ending.

    Args:
        path: The file.
        scratch: Folder for parts that do not fit in memory.
        wanted: The part `input` of the task file.
        key: Key of the task file that names the file.

    Raises:
        TaskDataError: The format is not known, or it is a pickle.
    """
    if path.is_dir():
        from trainables.tasks.own.formats.dataset_folders import open_dataset

        return open_dataset(path)
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise TaskDataError(
            f"{path}: a pickle may run code when it is read, so it is never read. Save its arrays "
            "with numpy.savez.",
            key,
        )
    kind = ARRAYS.get(suffix)
    if kind is None:
        raise TaskDataError(
            f"{path}: its format is not known by `{suffix or path.name}`. Known endings: "
            f"{', '.join(KNOWN)}.",
            key,
        )
    return _opened(kind, path, scratch, wanted)


def _opened(kind: str, path: Path, scratch: Path, wanted: InputData) -> Container:
    """Open a file by its format. Each library is imported where it is needed."""
    if kind in CLASSES:
        module, name = CLASSES[kind]
        opened: Container = getattr(import_module(f"{formats.__name__}.{module}"), name)(
            path, scratch
        )
        return opened
    from trainables.tasks.own.formats.long_tables import LongTable
    from trainables.tasks.own.formats.tables import open_table

    table = open_table(path, scratch, header=wanted.header)
    return table if wanted.sample is None else LongTable(table, wanted.sample, scratch)
