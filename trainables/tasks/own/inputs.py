"""Inputs of a user's task as one mapped array: training, validation and test samples in turn.

Files are read once, block by block. Each sample goes to its place in the order of the splits.
Statistics of the training samples are taken on the way.

Shapes: n = samples of all splits, m = samples of a block, c = channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainables.errors import DataError, TaskDataError
from trainables.tasks.formats.files import shown
from trainables.tasks.own.conversion import Form, check_plausible, form_of
from trainables.tasks.own.definition import LAYOUTS, TaskDefinition
from trainables.tasks.own.formats.samples import SampleArray
from trainables.tasks.own.statistics import ChannelStatistics
from trainables.tasks.store.arrays import put_rows, release, scratch_array

MEMORY_BYTES = 2**29  # size up to which the array is no scratch file
RELEASE_BYTES = 2**26  # bytes to write before their pages are released
FILL_ROWS = 256  # rows with missing values that are filled at once
SMALLEST = 1e-18  # deviation whose squares single precision holds
SPACING = 2.0**-24  # of single precision, in units of a number: the largest error of rounding
LOST = 0.01  # error of rounding, in units of what numbers differ by, that is too large
CONSTANT = 1e-12  # deviation of a constant channel, in units of its mean


@dataclass(frozen=True)
class Order:
    """The place of each sample in the stored arrays, and the number of training samples."""

    place: np.ndarray  # int64 [n]
    num_train: int

    @property
    def count(self) -> int:
        """The number of all samples."""
        return len(self.place)


@dataclass(frozen=True)
class Stored:
    """Inputs or outputs [n, ...] in the order of the splits, and facts for the manifest."""

    array: np.ndarray
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def is_rounded(dtype: np.dtype) -> bool:
    """Return whether single precision holds not all numbers of a type."""
    return dtype.kind in "iufc" and not np.can_cast(dtype, np.float32) and dtype != np.complex64


def input_forms(definition: TaskDefinition, parts: Sequence[SampleArray]) -> list[Form]:
    """Return the conversion of each file, all to one shape.

    Raises:
        TaskDataError: An array does not fit the task file or the other files.
    """
    wanted = definition.input
    forms = [
        form_of(
            part,
            wanted.layout,
            length=wanted.length if wanted.representation == "raw" else None,
            complex_=wanted.complex,
            # All splits are one array, so that bytes stay bytes only if all files have them.
            keep_bytes=all(each.dtype == np.uint8 for each in parts),
        )
        for part in parts
    ]
    check_same_shape(parts, forms, "input")
    grid = forms[0].shape[1:]
    if wanted.size is not None and tuple(wanted.size) != grid:
        raise TaskDataError(
            f"{parts[0].where}: `size` is {list(wanted.size)}, but its grid is {list(grid)}. Only "
            "files of images are resized: resize arrays before, or leave `size` out.",
            ("input", "size"),
        )
    if wanted.missing == "interpolate" and LAYOUTS[forms[0].layout] != "1d":
        raise TaskDataError(
            "`missing: interpolate` is for sequences. Set it to mean or zero.", ("input", "missing")
        )
    return forms


def check_same_shape(parts: Sequence[SampleArray], forms: Sequence[Form], section: str) -> None:
    """Check that all files have samples of one shape, with columns in one order.

    Raises:
        TaskDataError: Two files differ.
    """
    first = forms[0]
    for part, form in zip(parts, forms, strict=True):
        _check_same_order(parts[0], part, section)
        if form.shape == first.shape:
            continue
        sequences = len(form.shape) == len(first.shape) == 2 and form.shape[0] == first.shape[0]
        fit = [
            Path(p.where).name for p, f in zip(parts, forms, strict=True) if f.shape == first.shape
        ]
        hint = f"Files of a split must have one shape; name one: {', '.join(fit)}"
        if sequences and section == "input":
            hint = "Set `input: {length: …}`"
        raise TaskDataError(
            f"{parts[0].where} has samples {list(first.shape)}, but {part.where} "
            f"{list(form.shape)}. {hint}.",
            (section, "length" if sequences and section == "input" else "path"),
        )


def _check_same_order(first: SampleArray, part: SampleArray, section: str) -> None:
    """Check that no column of two files is at different places, where a pattern found it."""
    place = {name: i for i, name in enumerate(first.names)}
    moved = [name for i, name in enumerate(part.names) if place.get(name, i) != i]
    if moved:
        raise TaskDataError(
            f"{part.where}: column `{shown(moved[0])}` is at another place than in {first.where}. "
            f"Name the columns one by one in `{section}.columns`: they are read in that order.",
            (section, "columns"),
        )


def write_inputs(
    definition: TaskDefinition,
    parts: Sequence[SampleArray],
    forms: Sequence[Form],
    order: Order,
    path: Path,
) -> Stored:
    """Read, convert and store the inputs of all files.

    Args:
        definition: Content of the task file.
        parts: Samples of each file.
        forms: Conversions of each file.
        order: Place of each sample.
        path: Scratch file of the array.

    Raises:
        DataError: A file is damaged, a value is missing or not finite, or a channel is constant.
    """
    form, wanted = forms[0], definition.input
    shape = (order.count, *form.shape)
    array = scratch_array(path, shape, form.dtype, in_memory=MEMORY_BYTES)
    missing = _Missing(wanted.missing)
    statistics = _store_blocks(parts, forms, order, array, missing)
    mean, std = statistics.mean, statistics.std
    missing.fill_means(array, mean)
    notes = [check_plausible(parts[0], form), *changes_of(parts, forms), *missing.notes()]
    constant = _constant_channels(parts[0].where, mean, std)
    if constant.any():
        notes.append(f"channels {np.flatnonzero(constant).tolist()} are constant in training")
    if any(is_rounded(part.dtype) for part in parts):
        lost = ~constant & (np.abs(mean) * SPACING > LOST * std)
        if lost.any():
            notes.append(
                f"channels {np.flatnonzero(lost).tolist()} differ by little more than single "
                "precision can tell: subtract a constant, or take another unit"
            )
    facts = {**parts[0].facts, "channels": form.shape[0], "layout": form.layout}
    facts |= {"standardised": definition.standardize}
    facts |= {"channel_names": [*parts[0].names]} if parts[0].names else {}
    if definition.standardize:
        # Inputs stay as they are on disk. They are standardised when a batch is read.
        # A constant channel would be divided by its rounding errors.
        scale = np.where(constant, 1.0, std)
        facts["input_scaling"] = {"mean": mean.tolist(), "std": scale.tolist()}
    return Stored(array, facts, tuple(note for note in notes if note))


def _constant_channels(where: str, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return whether each channel [c] is constant.

    Raises:
        TaskDataError: All are, or the statistics are not those of the inputs.
    """
    # Rounding gives a constant channel a small deviation, in proportion to its mean.
    constant: np.ndarray = std <= CONSTANT * np.maximum(np.abs(mean), 1e-30)
    known = np.isfinite(mean) & np.isfinite(std) & (constant | (std >= SMALLEST))
    if not known.all():
        channel = int(known.argmin())
        raise TaskDataError(
            f"{where}: channel {channel} is too large or too small for the squares of single "
            f"precision (deviation {std[channel]:.3g}). Store it in another unit.",
            ("input", "key"),
        )
    if constant.all():
        raise TaskDataError(
            f"{where}: all training inputs are alike, {mean[0]:g} at every point.", ("input", "key")
        )
    return constant


def _store_blocks(
    parts: Sequence[SampleArray],
    forms: Sequence[Form],
    order: Order,
    array: np.ndarray,
    missing: "_Missing",
) -> ChannelStatistics:
    """Write all samples to their places, and return the statistics of those that train."""
    statistics = ChannelStatistics(forms[0].shape[0])
    start = written = 0
    for part, convert in zip(parts, forms, strict=True):
        first = start
        for block in part.read():
            values, points = convert(block)
            rows = order.place[start : start + len(values)]
            known = missing.treat(values, points, rows, part.where, start - first)
            # Indexing copies a block, which is avoided where all of its samples train.
            trains = rows < order.num_train
            whole = bool(trains.all())
            statistics.add(
                values if whole else values[trains],
                known if whole or known is None else known[trains],
            )
            put_rows(array, rows, values)
            start += len(values)
            written += values.nbytes
            if written > RELEASE_BYTES:
                release(array)
                written = 0
    return statistics


def changes_of(parts: Sequence[SampleArray], forms: Sequence[Form]) -> list[str]:
    """Return what is changed in the inputs: bad cells, and sequences that are padded or cut."""
    padded = cut = 0
    for part, form in zip(parts, forms, strict=True):
        if form.length is not None:
            stored = part.lengths
            if stored is None:
                stored = np.full(part.count, part.shape[form.layout.index("L") - 1])
            padded += int((stored < form.length).sum())
            cut += int((stored > form.length).sum())
    points = forms[0].shape[1]
    note = f"sequences have {points} points: {padded} were padded by zeros and {cut} cut"
    return [*(each for part in parts for each in part.notes), *[note] * bool(padded or cut)]


class _Missing:
    """The treatment of missing values (NaN), as the task file says."""

    def __init__(self, rule: str) -> None:
        self._rule = rule
        self._rows: list[np.ndarray] = []  # places of samples to fill once the means are known
        self._values = self._samples = 0

    def treat(
        self,
        values: np.ndarray,
        points: np.ndarray | None,
        rows: np.ndarray,
        where: str,
        start: int,
    ) -> np.ndarray | None:
        """Fill missing values of a block in place, where it can be done before the means are known.

        Args:
            values: [m, c, *grid].
            points: Points of each sequence [m]; others are padding.
            rows: Places of the samples.
            where: File, for messages.
            start: Number of the block's first sample in the file.

        Returns:
            True for the known points, in a shape that broadcasts to that of `values`; None: all.

        Raises:
            DataError: A value is infinite, or missing where this is refused.
        """
        inside = None
        if points is not None and (points < values.shape[2]).any():
            inside = (np.arange(values.shape[2]) < points[:, None])[:, None]
        # A sum is finite only if each of its terms is. It takes half the time of looking at each.
        if values.dtype.kind != "f" or np.isfinite(values.sum()) or np.isfinite(values).all():
            return inside
        _check_bounded(values, where, start)
        absent = np.isnan(values)
        broken = absent.reshape(len(values), -1).any(axis=1)
        self._values += int(absent.sum())
        self._samples += int(broken.sum())
        if self._rule == "refuse":
            raise TaskDataError(
                f"{where}: sample {start + int(broken.argmax())} (counted from 0) has a missing "
                "value (NaN). Correct it, or set `input: {missing: zero | mean | interpolate}`.",
                ("input", "missing"),
            )
        if self._rule == "zero":
            values[absent] = 0
        elif self._rule == "interpolate":
            for row in np.flatnonzero(broken).tolist():
                end = None if points is None else points[row]  # padding has no values to use
                _interpolate(values[row][:, :end], f"{where}: sample {start + row}")
        else:
            self._rows.append(rows[broken])
            inside = ~absent if inside is None else ~absent & inside
        return inside

    def fill_means(self, array: np.ndarray, mean: np.ndarray) -> None:
        """Replace the values that are still missing by the means of their channels [c]."""
        if not self._rows:
            return
        # In the order of the file, from which the array may be mapped.
        rows = np.sort(np.concatenate(self._rows))
        side = (1, -1, *(1,) * (array.ndim - 2))
        for start in range(0, len(rows), FILL_ROWS):
            chosen = rows[start : start + FILL_ROWS]
            values = array[chosen]
            array[chosen] = np.where(np.isnan(values), mean.reshape(side), values)
            release(array)

    def notes(self) -> list[str]:
        """Return what was imputed, for the manifest."""
        if not self._values:
            return []
        return [
            f"{self._values} missing value{'s' * (self._values > 1)} of {self._samples} "
            f"sample{'s' * (self._samples > 1)} imputed ({self._rule})"
        ]


def _check_bounded(values: np.ndarray, where: str, start: int) -> None:
    if np.isinf(values).any():
        first = start + int(np.isinf(values).reshape(len(values), -1).any(axis=1).argmax())
        raise DataError(
            f"{where}: sample {first} (counted from 0) has a value that is infinite, or larger "
            "than single precision holds. Correct it, or leave the sample out."
        )


def _interpolate(channels: np.ndarray, where: str) -> None:
    """Fill the missing values of a sample [c, l] linearly; at the ends, by the nearest value.

    Raises:
        TaskDataError: A channel has no value at all.
    """
    place = np.arange(channels.shape[1])
    for number, values in enumerate(channels):
        absent = np.isnan(values)
        if absent.all():
            raise TaskDataError(
                f"{where}: channel {number} has no value to interpolate from. Set "
                "`missing: mean`, or leave the sample out.",
                ("input", "missing"),
            )
        if absent.any():
            values[absent] = np.interp(place[absent], place[~absent], values[~absent])
