"""The reader of a user's data, as their task file describes them.

The arrays of the splits are mapped from a scratch folder.

Files are untrusted. No pickle is ever read, and declared sizes are checked before memory or disk
space is used. Every fault names the file, and the key of the task file if one can be corrected.
"""

import math
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trainables.errors import DataError, TaskDataError
from trainables.tasks.benchmark import ImportedSplits
from trainables.tasks.formats.files import shown
from trainables.tasks.own.conversion import Form
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.own.dividing import divide
from trainables.tasks.own.files import LocatedFiles, locate
from trainables.tasks.own.formats.samples import (
    Container,
    SampleArray,
    check_as_many,
    names_of,
)
from trainables.tasks.own.inputs import Order, Stored, changes_of, input_forms, write_inputs
from trainables.tasks.own.opening import Opened, opened_inputs, opened_targets
from trainables.tasks.own.targets import read_labels, write_outputs
from trainables.tasks.store.split import SPLITS, cut

SPARE_BYTES = 2**28  # disk space that an import leaves free


@dataclass(frozen=True)
class OwnReader:
    """The reader of one own task. The folder of the task file is its only input."""

    definition: TaskDefinition

    def find(self, files: Sequence[Path], *, seed: int = 0) -> Mapping[str, Path]:
        """Return the files that the definition names, by their paths relative to the folder.

        Raises:
            TaskDataError: A file is missing or named for two splits.
        """
        del seed  # a key of the definition
        return locate(self.definition, files[0]).names(files[0])

    def read(self, files: Sequence[Path], scratch: Path, *, seed: int = 0) -> ImportedSplits:
        """Return the splits that the definition describes.

        They come with facts for the manifest: `classes` (names), `channels`, `layout`,
        `standardised`, `input_scaling` and `notes`.

        Raises:
            TaskDataError: A file is missing or damaged, or its content does not fit the task file.
        """
        del seed
        located = locate(self.definition, files[0])
        try:
            return _read(self.definition, located, scratch)
        except TaskDataError:
            raise
        except DataError as error:
            raise TaskDataError(str(error), _key_of(str(error), located)) from error


def _key_of(message: str, located: LocatedFiles) -> tuple[str, ...]:
    """Return the key of the task file that names the faulty file of a message."""
    parts = (*located.inputs, *located.targets)
    named = [part for part in parts if str(part.path) in message]
    named += [part for part in parts if str(part.root) in message]
    return (*named, *parts)[0].key


def _read(definition: TaskDefinition, located: LocatedFiles, scratch: Path) -> ImportedSplits:
    opened = opened_inputs(definition, located, scratch)
    if not located.targets and definition.kind != "dense":
        _check_apart(definition, opened[0].container)
    inputs = [each.container.inputs(each.input) for each in opened]
    targets = opened_targets(definition, located, opened, scratch)
    _check_counts(inputs, targets, own_files=bool(located.targets))
    if definition.target.source == "array" and located.targets:
        _check_order(located)
    forms = input_forms(definition, inputs)
    count = sum(part.count for part in inputs)
    _check_space(scratch, count, forms[0], targets, definition)
    labels = read_labels(targets) if definition.kind == "classification" else None
    division = divide(
        definition.splits,
        definition.name,
        np.concatenate([o.splits(x) for o, x in zip(opened, inputs, strict=True)]),
        column=_column(opened, inputs, definition.splits.column, "column"),
        groups=(groups := _column(opened, inputs, definition.splits.group, "group")),
        classes=labels.codes if labels else None,
        names=labels.names if labels else (),
    )
    chosen = np.concatenate([division.rows[split] for split in SPLITS])
    # The inverse of `chosen`: the stored row of each sample in the order of the files.
    place = np.empty(count, np.int64)
    place[chosen] = np.arange(len(chosen))
    order = Order(place, len(division.rows["train"]))
    if labels is None:
        outputs = write_outputs(definition, targets, forms[0], order, scratch / "own-y.raw")
        if definition.kind == "multilabel":
            outputs = replace(outputs, notes=_absent_labels(outputs, division.rows))
    else:
        outputs = Stored(labels.codes[chosen], {"classes": list(labels.names)}, labels.notes)
    written = write_inputs(definition, inputs, forms, order, scratch / "own-x.raw")
    description = {
        **written.facts,
        **outputs.facts,
        "notes": [*written.notes, *outputs.notes, *division.notes],
    }
    # A group is stored as a number, by which a sample is divided anew (`redividing`).
    params = {} if groups is None else {"group": np.unique(groups, return_inverse=True)[1]}
    splits = cut(division.rows, written.array, outputs.array, params)
    return ImportedSplits(splits, description, changes_of(inputs, forms))


def _absent_labels(outputs: Stored, rows: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Return remarks on labels that no sample of a split has."""
    notes, start = [], 0
    for split in SPLITS:
        end = start + len(rows[split])
        absent = np.flatnonzero(~(outputs.array[start:end] > 0).any(axis=0)).tolist()
        start = end
        if absent:
            what = "never learned" if split == "train" else "never scored there"
            notes.append(
                f"{len(absent)} label{'s' * (len(absent) > 1)} that no {split} sample has, {what}, "
                f"such as `{outputs.facts['classes'][absent[0]]}`"
            )
    return tuple(notes)


def _check_apart(definition: TaskDefinition, container: Container) -> None:
    """Check that no column of a table is an input and an output.

    Raises:
        TaskDataError: A column is both, or one is not there.
    """
    from trainables.tasks.own.formats.tables import ColumnTable

    table = getattr(container, "table", container)  # of a long table
    if not isinstance(table, ColumnTable) or definition.target.source != "array":
        return
    wanted, target = definition.input, definition.target
    key = ("input", "columns" if wanted.columns else "key")
    inputs = table.selected(wanted.columns, wanted.key, key)
    outputs = table.selected(target.columns, target.key, ("target", "key"))
    if both := [name for name in inputs if name in outputs]:
        raise TaskDataError(
            f"{table.path}: column `{shown(both[0])}` is an input and an output, so that a network "
            f"could read what it has to predict. Take it out of `{'.'.join(key)}`.",
            key,
        )


def _check_counts(
    inputs: Sequence[SampleArray], targets: Sequence[SampleArray], *, own_files: bool
) -> None:
    """Check that there are as many outputs as inputs: in each file, or if these differ in all.

    Raises:
        DataError: The numbers differ, or there are no samples.
    """
    if len(inputs) == len(targets):
        for x, y in zip(inputs, targets, strict=True):
            check_as_many(x, y)
    num_inputs, num_targets = (sum(part.count for part in parts) for parts in (inputs, targets))
    if num_inputs != num_targets:
        raise TaskDataError(
            f"{num_inputs} inputs have {num_targets} outputs.",
            ("target", "path") if own_files else ("target", "key"),
        )
    if not num_inputs:
        raise DataError(f"{inputs[0].where}: it has no samples.")


def _check_order(located: LocatedFiles) -> None:
    """Check that numbered files, whose outputs are together, are read in the order of the numbers.

    Raises:
        TaskDataError: They are in the order of their names as text: 1, 10, 2.
    """
    parts = located.inputs
    if len(parts) == len(located.targets):
        return
    for split in dict.fromkeys(part.split for part in parts):
        paths = [part.path for part in parts if part.split == split]
        if paths == sorted(paths) != (numbered := sorted(paths, key=_by_numbers)):
            first = next(i for i, path in enumerate(numbered) if path != paths[i])
            raise TaskDataError(
                f"{paths[first]}: it is read before {numbered[first].name}, in the order of names, "
                "but the outputs are not in files of their own. Name the files in a list, in the "
                "order of the outputs, or number them with leading zeros.",
                parts[0].key,
            )


def _by_numbers(path: Path) -> list[tuple[bool, int, str]]:
    """Return what sorts the paths of numbered files by their numbers."""
    words = re.split(r"(\d+)", str(path))
    return [(word.isdigit(), int(word) if word.isdigit() else 0, word) for word in words]


def _check_space(
    scratch: Path,
    count: int,
    form: Form,
    targets: Sequence[SampleArray],
    definition: TaskDefinition,
) -> None:
    """Check that the disk can hold the data twice: in the scratch folder and in the store.

    Raises:
        DataError: The disk is too small, or a file declares more than it can hold.
    """
    needed = count * math.prod(form.shape) * form.dtype.itemsize
    if definition.kind != "classification":
        needed += count * math.prod(targets[0].shape) * 4
    free = shutil.disk_usage(scratch).free - SPARE_BYTES
    if 2 * needed > free:
        raise TaskDataError(
            f"{count} samples {list(form.shape)} take {2 * needed:,} bytes while they are "
            f"imported, but {scratch} has {max(0, free):,} left. Free space, import fewer samples, "
            "or set a smaller `length`.",
            ("input", "path" if definition.input.length is None else "length"),
        )


def _column(
    opened: Sequence[Opened],
    inputs: Sequence[SampleArray],
    name: str | None,
    key: str,
) -> np.ndarray | None:
    """Return one value per sample of all files, or None if the task file names no column."""
    if name is None:
        return None
    found = []
    for each, samples in zip(opened, inputs, strict=True):
        column = each.container.column(name, ("splits", key))
        values = column.values() if column.shape in ((), (1,)) else None
        if values is None or len(values) != samples.count:
            raise TaskDataError(
                f"{each.container.path}: `{name}` must have one value for each of {samples.count} "
                "samples.",
                ("splits", key),
            )
        values = values.reshape(-1)
        found.append(np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values)
    if len({values.dtype.kind == "U" for values in found}) > 1:
        raise TaskDataError(
            f"`{name}` holds numbers in one file and text in another.", ("splits", key)
        )
    joined = names_of(np.concatenate(found), f"`{name}`", ("splits", key))
    # NaN is no number.
    if (joined == "" if joined.dtype.kind == "U" else joined != joined).any():
        raise TaskDataError(f"`{name}`: a value is missing.", ("splits", key))
    return joined
