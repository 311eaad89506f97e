"""The conversion of stored samples to [channels, *grid]: axes, complex numbers, lengths.

Shapes: m = samples of a block, c = channels, l = points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from trainables.errors import TaskDataError
from trainables.tasks.own.definition import LAYOUTS, Key, Layout
from trainables.tasks.own.formats.samples import Block, SampleArray, check_kind

FEW = 4  # channels of an image
WHOLE = 0.9  # share of the sequences that a usual length does not cut


class Converted(NamedTuple):
    """Samples [m, c, *grid] and the number of points of each [m], where they were padded."""

    values: np.ndarray
    points: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Form:
    """The conversion of the samples of one array. Call it with a block."""

    layout: Layout
    shape: tuple[int, ...]  # [c, *grid] of a converted sample
    dtype: np.dtype
    complex: Literal["channels", "magnitude"] | None = None
    length: int | None = None  # points of every sequence; None: as stored

    def __call__(self, block: Block) -> Converted:
        """Return the samples of a block. Numbers outside of single precision become infinite."""
        if isinstance(block, np.ndarray):
            values = self._single(self._channels_first(block))
            if self.length is None or values.shape[2] == self.length:
                return Converted(values)
            return self._fitted([*values])
        # A sequence has no axis of samples, which the conversion expects first.
        return self._fitted(
            [self._single(self._channels_first(np.asarray(s)[None]))[0] for s in block]
        )

    def _channels_first(self, block: np.ndarray) -> np.ndarray:
        """Return [m, c, *grid] without copying."""
        if "C" not in self.layout:
            return block[:, None]
        return np.moveaxis(block, self.layout.index("C"), 1)

    def _single(self, values: np.ndarray) -> np.ndarray:
        if values.dtype.kind == "c":
            if self.complex == "magnitude":
                values = np.abs(values)
            else:
                values = np.concatenate([values.real, values.imag], axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            # Missing values are filled in place, so that the block has to be writable.
            return np.require(values, self.dtype, ["C", "W"])

    def _fitted(self, sequences: Sequence[np.ndarray]) -> Converted:
        """Return sequences [c, l] of unequal length, padded by zeros or cut."""
        values = np.zeros((len(sequences), *self.shape), self.dtype)
        points = np.empty(len(sequences), np.int64)
        for row, sequence in enumerate(sequences):
            points[row] = min(sequence.shape[1], self.shape[1])
            values[row, :, : points[row]] = sequence[:, : points[row]]
        return Converted(values, points)


def form_of(
    samples: SampleArray,
    layout: Layout | None,
    *,
    part: str = "input",
    length: int | None = None,
    complex_: Literal["refuse", "channels", "magnitude"] = "refuse",
    keep_bytes: bool = False,
) -> Form:
    """Return the conversion of an array, checked against its shape.

    Args:
        samples: The array.
        layout: Order of the axes, as the task file says it.
        part: Part of the task file for messages: "input" or "target".
        length: Points of every sequence.
        complex_: Treatment of complex numbers.
        keep_bytes: Keep images of uint8.

    Raises:
        TaskDataError: Layout, length or type of the array do not fit.
    """
    check_kind(samples.where, samples.dtype, (part, "key"))
    layout = _layout(samples, layout, (part, "layout"))
    is_complex = samples.dtype.kind == "c"
    if is_complex and complex_ == "refuse":
        hint = "Set `input: {complex: channels}` or `magnitude`" if part == "input" else ""
        raise TaskDataError(
            f"{samples.where} holds complex numbers. {hint or 'Save real numbers'}.",
            (part, "complex" if part == "input" else "key"),
        )
    grid = [size for axis, size in zip(layout[1:], samples.shape, strict=True) if axis != "C"]
    channels = samples.shape[layout.index("C") - 1] if "C" in layout else 1
    if is_complex and complex_ == "channels":
        channels *= 2
    grid, fitted = _fit_length(samples, layout, grid, length, part)
    if 0 in (channels, *grid):
        raise TaskDataError(
            f"{samples.where}: samples {list(samples.shape)} are empty.", (part, "key")
        )
    images = keep_bytes and samples.dtype == np.uint8 and LAYOUTS[layout] == "2d"
    return Form(
        layout=layout,
        shape=(channels, *grid),
        dtype=np.dtype(np.uint8 if images else np.float32),
        complex=complex_ if is_complex and complex_ != "refuse" else None,
        length=fitted,
    )


def _layout(samples: SampleArray, wanted: Layout | None, key: Key) -> Layout:
    axes = len(samples.shape) + 1
    shape = ", ".join(("n", *map(str, samples.shape)))
    if wanted and samples.layout:
        # The format tells the order of the axes; the task file then tells the dimension alone. But
        # columns of single numbers are points, which the user may have meant as channels.
        points = samples.lengths is None and samples.layout == "NL"
        if LAYOUTS[wanted] != LAYOUTS[samples.layout] or (points and wanted != "NL"):
            raise TaskDataError(
                f"{samples.where}: samples of this kind are {samples.layout}, not {wanted}. "
                f"Set `layout` to {samples.layout}.",
                key,
            )
    layout = samples.layout or wanted or ("NL" if axes == 2 else None)
    possible = [name for name in LAYOUTS if len(name) == axes]
    if layout is None or len(layout) != axes:
        told = f"`layout` is {layout}, of {len(layout)} axes" if layout else "`layout` is not given"
        hint = f"Set it to {' or '.join(possible)}" if possible else "Samples have 1 to 3 axes"
        raise TaskDataError(f"{samples.where} is [{shape}], but {told}. {hint}.", key)
    return layout


def check_plausible(samples: SampleArray, form: Form) -> str:
    """Return a remark about a layout that is unusual, or an empty text.

    Raises:
        TaskDataError: The layout of images takes rows or columns for channels.
    """
    channels, *grid = form.shape
    if form.layout in ("NCHW", "NHWC"):
        # An axis of at most four numbers beside two equal ones can only be that of the channels.
        small, *others = sorted((channels, *grid))
        if small <= FEW < others[0] == others[1] and channels != small:
            other = "NHWC" if form.layout == "NCHW" else "NCHW"
            raise TaskDataError(
                f"{samples.where} is {['n', *samples.shape]}: as {form.layout} these are "
                f"{channels} channels on a grid of {grid[0]} x {grid[1]}. It looks like {other}.",
                ("input", "layout"),
            )
    if len(grid) == 1 and channels > grid[0] and "C" in form.layout:
        return (
            f"{form.layout} makes {channels} channels of {grid[0]} points, more channels than "
            "points: is the layout right?"
        )
    return ""


def _fit_length(
    samples: SampleArray, layout: Layout, grid: list[int], length: int | None, part: str
) -> tuple[list[int], int | None]:
    """Return the grid, and the points of every sequence if they are to be padded or cut."""
    key = (part, "length")
    if length is not None and LAYOUTS[layout] != "1d":
        raise TaskDataError(f"`length` is for sequences, but the layout is {layout}.", key)
    lengths = samples.lengths
    unequal = lengths is not None and len(np.unique(lengths)) > 1
    if unequal and length is None:
        assert lengths is not None
        raise lengths_differ(samples.where, lengths, key)
    if length is None:
        return grid, grid[0] if lengths is not None else None
    return [length], length


def typical_length(lengths: np.ndarray) -> int:
    """Return the number of points that nine of ten sequences do not exceed."""
    # `higher` takes a length that occurs; a value between two would cut further sequences.
    return int(np.quantile(lengths, WHOLE, method="higher"))


def lengths_differ(where: str, lengths: np.ndarray, key: Key) -> TaskDataError:
    """Return the error for sequences of unequal lengths [n]."""
    return TaskDataError(
        f"{where}: sequences have {lengths.min()} to {lengths.max()} points. Set the points of "
        f"every sequence, such as `input: {{length: {typical_length(lengths)}}}`: shorter ones are "
        "padded by zeros, longer ones are cut.",
        key,
    )
