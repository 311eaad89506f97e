"""Outputs of a user's task: classes, sets of labels, numbers or fields.

classification   labels [n] of numbers or text, or one-hot rows [n, k]  -> int64 [n]
multilabel       0 and 1 [n, k]                                         -> float32 [n, k]
regression       numbers [n] or [n, k]                                  -> float32 [n, k]
dense            fields, with a layout                                  -> float32 [n, c, *grid]

Shapes: n = samples of all splits, k = classes, labels or numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trainables.errors import DataError, TaskDataError
from trainables.tasks.formats.files import shown
from trainables.tasks.own.conversion import Form, form_of
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.own.formats.samples import MAX_EXACT, TEXT, SampleArray, check_kind
from trainables.tasks.own.formats.text_tables import MISSING
from trainables.tasks.own.inputs import (
    LOST,
    SPACING,
    Order,
    Stored,
    check_same_shape,
    is_rounded,
)
from trainables.tasks.store.arrays import put_rows, release, scratch_array

KEY = ("target", "key")
EXAMPLES = 3  # values in a message
ZERO = 1e-8  # `trainables.metrics.fields.MIN_NORM`, whose module needs torch
MANY = 20  # as many classes as samples, from which on labels look like measurements


@dataclass(frozen=True)
class Labels:
    """Classes 0..k-1 of all samples [n], and their names."""

    codes: np.ndarray
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_labels(parts: Sequence[SampleArray]) -> Labels:
    """Return the classes of a classification. Names are sorted, numbers by their size.

    Raises:
        TaskDataError: A label is missing, the labels are no classes, or there is only one class.
    """
    where = parts[0].where
    blocks = [_flat(part) for part in parts]
    notes = [note for _, note in blocks if note][:1]
    if len({block.dtype.kind in "SU" for block, _ in blocks}) > 1:
        raise TaskDataError(f"{where}: labels are numbers in one file and text in another.", KEY)
    values = np.concatenate([block for block, _ in blocks])
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "U":
        # A space beside a label would make a class of its own.
        values = np.char.strip(values)
        if (values == "").any():
            raise _absent(where, int((values == "").argmax()))
    elif values.dtype.kind == "f":
        values = _as_integers(values, where)
    classes, codes = np.unique(values, return_inverse=True)
    notes += [
        f"{int((values == name).sum())} samples have the label `{name}`, which is a class here: "
        "leave them out if it means that the label is missing"
        for name in classes.tolist()
        if name in MISSING
    ]
    if len(classes) < 2:
        raise TaskDataError(
            f"{where}: all samples have the label `{shown(str(classes[0]))}`. Two classes at least "
            "are needed.",
            KEY,
        )
    if len(classes) == len(values) >= MANY:
        raise TaskDataError(
            f"{where}: each of {len(values)} samples has a class of its own. Is it `kind: "
            "regression`, or a column of names?",
            KEY,
        )
    return Labels(codes.astype(np.int64), tuple(map(str, classes.tolist())), tuple(notes))


def _as_integers(values: np.ndarray, where: str) -> np.ndarray:
    """Return labels that are stored as real numbers."""
    if not np.isfinite(values).all():
        raise _absent(where, int((~np.isfinite(values)).argmax()))
    if (values != np.round(values)).any():
        number = values[values != np.round(values)][0]
        raise TaskDataError(
            f"{where}: labels must be whole numbers or text, but one is {number:g}. Is it "
            "`kind: regression`?",
            KEY,
        )
    # Beyond it two whole numbers may be one real number, so that labels would coincide.
    if (largest := np.abs(values).max()) >= MAX_EXACT:
        raise TaskDataError(f"{where}: the label {largest:g} is too large. Write it as text.", KEY)
    return values.astype(np.int64)


def _absent(where: str, row: int) -> TaskDataError:
    return TaskDataError(
        f"{where}: the label of sample {row} (counted from 0) is missing. Add it, or leave the "
        "sample out.",
        KEY,
    )


def _flat(part: SampleArray) -> tuple[np.ndarray, str]:
    """Return the labels [n] of a file, and a remark if they were one-hot."""
    check_kind(part.where, part.dtype, KEY, text=True)
    if part.dtype.kind == "c" or len(part.shape) > 1 or part.lengths is not None:
        raise TaskDataError(
            f"{part.where}: labels must be [n], but are {['n', *part.shape]} of {part.dtype}. "
            "Is it `kind: dense`?",
            KEY,
        )
    values = part.values()
    if part.shape in ((), (1,)):
        return values.reshape(-1), ""
    if values.dtype.kind in "biuf" and len(values):
        values = values.astype(np.float64)
        if np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all():
            found = values.argmax(axis=1)
            named = np.array(part.names)[found] if part.names else found
            return named, f"labels were {part.shape[0]} columns, one of them 1"
    raise TaskDataError(
        f"{part.where}: {part.shape[0]} labels a sample. Is it `kind: multilabel` or "
        "`kind: regression`?",
        KEY,
    )


def write_outputs(
    definition: TaskDefinition,
    parts: Sequence[SampleArray],
    inputs: Form,
    order: Order,
    path: Path,
) -> Stored:
    """Read, convert and store outputs that are no classes.

    Args:
        definition: Content of the task file.
        parts: Samples of each file.
        inputs: Conversion of the inputs, whose layout and grid fields have.
        order: Place of each sample.
        path: Scratch file of the array.

    Raises:
        DataError: A file is damaged, or its outputs are missing, not finite, all alike or of
            another shape.
    """
    kind = definition.kind
    for part in parts:
        _check_no_text(part, kind)
    if kind == "dense":
        layout = definition.target.layout or inputs.layout
        forms = [form_of(part, layout, part="target") for part in parts]
        _check_grid(parts[0], forms[0], inputs, definition)
    else:
        parts = [_as_rows(part, kind) for part in parts]
        forms = [form_of(replace(part, layout="NL"), "NL", part="target") for part in parts]
    check_same_shape(parts, forms, "target")
    shape = forms[0].shape if kind == "dense" else forms[0].shape[1:]
    array = scratch_array(path, (order.count, *shape), np.float32)
    seen = _Seen(axis=1 if kind == "dense" else 2)
    for start, part, values in _blocks(parts, forms):
        rows = order.place[start : start + len(values)]
        _check(part, values, kind)
        seen.add(values, rows < order.num_train)
        put_rows(array, rows, values.reshape(len(values), *shape))
        release(array)
    seen.check(parts)
    names = list(parts[0].names)
    if kind == "multilabel":
        return Stored(array, {"classes": names or [str(i) for i in range(shape[0])]})
    is_relative = kind == "dense" and definition.score == "nrmse"
    return Stored(array, {"outputs": names} if names else {}, seen.notes() if is_relative else ())


class _Seen:
    """The outputs so far: how many are zero, and the extremes of those that train.

    There are extremes for each channel of fields, and for each number of others.
    """

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self._low = self._high = np.zeros(0)
        self._samples = self._zero = 0

    def add(self, values: np.ndarray, trains: np.ndarray) -> None:
        """Take the outputs [m, c, *grid] or [m, 1, k] of a block, and which [m] train."""
        flat = values.reshape(len(values), -1)
        squares = np.einsum("ij,ij->i", flat, flat, dtype=np.float64)
        self._samples += len(values)
        self._zero += int((squares < ZERO**2).sum())
        values = values[trains]
        if not values.size:
            return
        others = tuple(i for i in range(values.ndim) if i != self._axis)
        low, high = values.min(axis=others), values.max(axis=others)
        if self._low.size:
            low, high = np.minimum(low, self._low), np.maximum(high, self._high)
        self._low, self._high = low, high

    def check(self, parts: Sequence[SampleArray]) -> None:
        """Check that the outputs differ, and by more than they were rounded.

        Raises:
            TaskDataError: They do not.
        """
        if not self._low.size:
            return
        wide = [part for part in parts if is_rounded(part.dtype)]
        largest = np.maximum(np.abs(self._low), np.abs(self._high))
        if self._low.min() == self._high.max():
            if wide and largest.max() > 1 / SPACING:
                raise TaskDataError(
                    f"{wide[0].where}: all training outputs are {self._low[0]:.9g} in single "
                    "precision. If they differ, subtract a constant, or take another unit.",
                    KEY,
                )
            raise TaskDataError(
                f"{parts[0].where}: all training outputs are {self._low[0]:g}: there is nothing to "
                "learn.",
                KEY,
            )
        span = np.float64(self._high) - self._low
        # Single precision holds each whole number up to 2^24.
        if all(part.dtype.kind in "iu" for part in wide):
            largest = np.where(largest <= 1 / SPACING, 0, largest)
        lost = (span > 0) & (largest * SPACING > LOST * span)
        if wide and lost.any():
            i = int(lost.argmax())
            raise TaskDataError(
                f"{wide[0].where}: outputs from {self._low[i]:.9g} to {self._high[i]:.9g} differ "
                "by little more than single precision can tell. Subtract a constant, or take "
                "another unit.",
                KEY,
            )

    def notes(self) -> tuple[str, ...]:
        """Return a remark on outputs that are zero, by whose norm nrmse would divide."""
        if not self._zero:
            return ()
        return (
            f"{self._zero} of {self._samples} fields are zero (a norm below {ZERO:g}): nrmse "
            "leaves them out, and while training they outweigh all others. Scale the outputs, or "
            "leave these samples out",
        )


def _check_no_text(part: SampleArray, kind: str) -> None:
    if part.dtype.kind in TEXT and part.dtype.itemsize:
        block = np.asarray(next(part.read(), ())).astype(str)
        examples = ", ".join(f"`{shown(each)}`" for each in np.unique(block)[:EXAMPLES].tolist())
        raise TaskDataError(
            f"{part.where} holds text, such as {examples}, but outputs of a {kind} are numbers. "
            "If these are classes, set `kind: classification`; else name the array or column of "
            "the numbers under `target`.",
            KEY,
        )


def _blocks(
    parts: Sequence[SampleArray], forms: Sequence[Form]
) -> Iterator[tuple[int, SampleArray, np.ndarray]]:
    start = 0
    for part, convert in zip(parts, forms, strict=True):
        for block in part.read():
            values = convert(block).values
            yield start, part, values
            start += len(values)


def _as_rows(part: SampleArray, kind: str) -> SampleArray:
    """Return outputs [n, k]. A single number per sample becomes [n, 1].

    Raises:
        TaskDataError: They are text or fields, or a set of labels has one column.
    """
    check_kind(part.where, part.dtype, KEY)
    if part.lengths is not None and len(part.shape) == 1:
        part = _of_one_length(part)
    if len(part.shape) > 1 or part.lengths is not None or part.dtype.kind == "c":
        raise TaskDataError(
            f"{part.where}: outputs of a {kind} are [n, k], but these are {['n', *part.shape]} of "
            f"{part.dtype}. Is it `kind: dense`?",
            KEY,
        )
    if part.shape:
        return part
    if kind == "multilabel":
        raise TaskDataError(
            f"{part.where}: sets of labels are [n, k] of 0 and 1, but these are [n]. Is it `kind: "
            "classification`?",
            KEY,
        )
    read = part.read
    return replace(part, shape=(1,), read=lambda: (np.asarray(b)[:, None] for b in read()))


def _of_one_length(part: SampleArray) -> SampleArray:
    """Return lists in a column as rows [n, k].

    Raises:
        TaskDataError: Some are longer than others.
    """
    assert part.lengths is not None
    shortest, longest = int(part.lengths.min()), int(part.lengths.max())
    if shortest < longest:
        raise TaskDataError(
            f"{part.where}: lists have {shortest} to {longest} numbers, but every sample needs as "
            "many outputs as the others.",
            KEY,
        )
    read = part.read
    return replace(part, lengths=None, read=lambda: (np.stack([*block]) for block in read()))


def _check(part: SampleArray, values: np.ndarray, kind: str) -> None:
    if not np.isfinite(values).all():
        raise DataError(
            f"{part.where}: outputs are missing or infinite (NaN or inf), or larger than single "
            "precision holds. Correct them, or leave these samples out."
        )
    if kind == "multilabel" and not ((values == 0) | (values == 1)).all():
        strange = values[(values != 0) & (values != 1)][0]
        raise TaskDataError(
            f"{part.where}: sets of labels are of 0 and 1, but one number is {strange:g}.", KEY
        )


def _check_grid(part: SampleArray, form: Form, inputs: Form, definition: TaskDefinition) -> None:
    if definition.input.length is not None or inputs.length is not None:
        raise TaskDataError(
            "`length` pads or cuts the inputs, but fields must keep their points. Give all "
            "samples one length before.",
            ("input", "length"),
        )
    if form.shape[1:] != inputs.shape[1:]:
        raise TaskDataError(
            f"{part.where}: fields are on a grid of {list(form.shape[1:])}, but inputs on one of "
            f"{list(inputs.shape[1:])}. Bring both to one grid, or correct `target.layout`.",
            ("target", "layout"),
        )
