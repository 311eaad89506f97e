"""The three layouts of PDEBench's files, read as pairs of an input and an output.

The output is the frame at the end time of the sample's split. In most tasks all splits have the
same end time.

A layout has the `count` of pairs, the `grid` of one pair, the `step` (pairs to read at once) and,
for the manifest, the `frames` that are read. Its `read` returns x and y, each [k, 1, *grid], of the
pairs `rows`; `times` (int64 [k]) has the index of the end time of each. It raises DataError if this
part of the file is damaged.

Shapes: n = samples, t = frames, m = points per side, c = channels; k = samples of a slab.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainables.tasks.formats.files import damaged
from trainables.tasks.formats.hdf5 import (
    SLAB_BYTES,
    check_points,
    find_array,
    read_array,
    rows_at_once,
)
from trainables.tasks.pde_bench.published import PublishedFile

TIME_TOLERANCE = 1e-3  # relative to the end time; frames are farther apart


class FrameSeries:
    """Layout of arrays [n, t, m]: first frame -> frame at the end time, arrays concatenated."""

    def __init__(self, file: Any, published: PublishedFile, end_times: Sequence[float]) -> None:
        self._arrays = [find_array(file, key, 3) for key in published.arrays]
        shapes = {array.shape for array in self._arrays}
        if len(shapes) > 1:
            keys = ", ".join(f"`{key}`" for key in published.arrays)
            raise damaged(file.filename, f"{keys} differ in shape: {sorted(shapes)}")
        ((self.count, frames, points),) = shapes
        check_points(file, ["x-coordinate"], points)
        self._points = slice(None, None, published.stride)
        self._ends, self.frames = _frames_at(file, "t-coordinate", frames, end_times)
        kept = len(range(points)[self._points])
        self.grid: tuple[int, ...] = (len(self._arrays) * kept,)
        self.step = rows_at_once(self._arrays[0], 8 * points * len(self._arrays))

    def read(self, rows: slice, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read whole lines and drop points in memory. HDF5 would read the points one by one."""
        start = self._read_frame(rows, 0)
        end = np.empty_like(start)
        for which in np.unique(times):
            chosen = times == which
            end[chosen] = self._read_frame(rows, self._ends[which])[chosen]
        return start[:, None], end[:, None]

    def _read_frame(self, rows: slice, frame: int) -> np.ndarray:
        return np.concatenate(
            [read_array(array, (rows, frame))[:, self._points] for array in self._arrays], axis=1
        )


class Fields:
    """Layout of a coefficient `nu` [n, m, m] and a solution `tensor` [n, 1, m, m]."""

    frames: Mapping[str, Any] = {}

    def __init__(self, file: Any, stride: int) -> None:
        self._coefficient, self._solution = find_array(file, "nu", 3), find_array(file, "tensor", 4)
        self.count, *sides = self._coefficient.shape
        if self._solution.shape != (self.count, 1, *sides):
            raise damaged(
                file.filename,
                f"`tensor` must be {[self.count, 1, *sides]} as `nu` is "
                f"{list(self._coefficient.shape)}, but is {list(self._solution.shape)}",
            )
        check_points(file, ["x-coordinate", "y-coordinate"], sides[0])
        self._points = slice(None, None, stride)
        self.grid = tuple(len(range(side)[self._points]) for side in sides)
        self.step = rows_at_once(self._solution, 8 * sides[0] * sides[1])

    def read(self, rows: slice, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read whole fields and drop points in memory."""
        kept = (..., self._points, self._points)
        coefficient = read_array(self._coefficient, rows)[kept]
        return coefficient[:, None], read_array(self._solution, rows)[kept]


class Groups:
    """Layout of one group per sample, in the order of their names, with `data` [t, *grid, c]."""

    def __init__(self, file: Any, output_channel: int, end_times: Sequence[float]) -> None:
        # The first sample determines shape and frames. `read` checks those of the other samples.
        self._file, self._names = file, sorted(file)
        if not self._names:
            raise damaged(file.filename, "it has no sample")
        first = find_array(file, f"{self._names[0]}/data", 3, 4)
        self._ndim = first.ndim
        if first.shape[-1] <= output_channel:
            raise damaged(
                file.filename,
                f"`{self._names[0]}/data` must be [t, *grid, c], with {output_channel + 1} "
                f"channels at least, but is {list(first.shape)}",
            )
        self.count, self._shape = len(self._names), first.shape
        self.grid = first.shape[1:-1]
        self.step = max(1, SLAB_BYTES // (8 * int(np.prod(self.grid))))
        self._end_times = end_times
        self._ends, self.frames = self._frames_of(self._names[0])
        self._output_channel = output_channel

    def read(self, rows: slice, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read the first frame of channel 0, and the end frame of the output channel."""
        ends = [self._ends[which] for which in times]
        pairs = [self._pair(*each) for each in zip(self._names[rows], ends, strict=True)]
        x, y = (np.stack(fields)[:, None] for fields in zip(*pairs, strict=True))
        return x, y

    def _pair(self, name: str, end: int) -> tuple[np.ndarray, np.ndarray]:
        data = find_array(self._file, f"{name}/data", self._ndim)
        if data.shape != self._shape:
            raise damaged(
                self._file.filename,
                f"`{name}/data` is {list(data.shape)}, but the first is {list(self._shape)}",
            )
        # The manifest states the frames of the first sample, which are read from all.
        ends, _ = self._frames_of(name)
        if ends != self._ends:
            times = ", ".join(f"{time:g}" for time in self._end_times)
            raise damaged(
                self._file.filename,
                f"`{name}/grid/t` has time {times} at frame {', '.join(map(str, ends))}, but that "
                f"of the first sample at frame {', '.join(map(str, self._ends))}",
            )
        output = (end, ..., self._output_channel)
        return read_array(data, (0, ..., 0)), read_array(data, output)

    def _frames_of(self, name: str) -> tuple[list[int], Mapping[str, Any]]:
        """Return the frames at the end times of one sample, and the entry of the manifest."""
        return _frames_at(self._file, f"{name}/grid/t", self._shape[0], self._end_times)


Layout = FrameSeries | Fields | Groups


def open_layout(file: Any, published: PublishedFile, end_times: Sequence[float]) -> Layout:
    """Find the arrays of a file.

    `end_times` has one end time of all splits, or those of the training split and of the others.

    Raises:
        DataError: An array is missing or has another number of axes, the arrays differ in shape, or
            there is no frame at an end time.
    """
    if published.layout == "fields":
        return Fields(file, published.stride)
    if published.layout == "groups":
        return Groups(file, published.output_channel, end_times)
    return FrameSeries(file, published, end_times)


def _frames_at(
    file: Any, key: str, frames: int, end_times: Sequence[float]
) -> tuple[list[int], Mapping[str, Any]]:
    """Return the frames at the end times, and the entry of the manifest on all frames."""
    times = find_array(file, key, 1)
    if len(times) < frames:
        raise damaged(
            file.filename,
            f"`{key}` has {len(times)} times, but there are {frames} frames. Axes must be sample, "
            "time, space",
        )
    times = read_array(times, slice(frames)).astype(np.float64)
    found = [_frame_at(file, key, times, end_time) for end_time in end_times]
    read: dict[str, Any] = {"input": 0}
    # With one end time for all splits there is no `scored_output`.
    for name, frame in zip(("output", "scored_output"), found, strict=False):
        read |= {name: frame, f"{name}_time": float(times[frame])}
    return found, read


def _frame_at(file: Any, key: str, times: np.ndarray, end_time: float) -> int:
    frame = int(np.abs(times - end_time).argmin())
    tolerance = TIME_TOLERANCE * end_time
    if not (abs(times[frame] - end_time) <= tolerance and abs(times[0]) <= tolerance):
        raise damaged(
            file.filename,
            f"no first frame at time 0 and none at {end_time:g}: `{key}` has {len(times)} from "
            f"{times[0]:g} to {times[-1]:g}",
        )
    return frame
