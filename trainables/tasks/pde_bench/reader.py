"""The reader of PDEBench's published files (Takamoto et al., "PDEBench", NeurIPS 2022).

    x  the first frame, or the coefficient                 float32 [c_in, *grid]
    y  the frame at the end time of the sample's split     float32 [c_out, *grid]

The test set is a tenth of the samples, at the same end of the file as in official code. The
validation split is a tenth of the rest; official code validates on the test set. With `@orca`, the
frame of y in the training split differs from that in the other splits. If the protocol standardises
the data, each point of x and y is standardised by the training inputs, as in ORCA (Shen et al.,
ICML 2023).

Some files were corrected later. The fields of advection, for example, moved at half the stated
speed until September 2023. An older edition is no fault, but its scores are not comparable with
others. The manifest therefore names the edition.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainables.tasks.benchmark import ImportedSplits
from trainables.tasks.formats.files import damaged, find_file, md5_note
from trainables.tasks.formats.hdf5 import open_file
from trainables.tasks.pde_bench.layouts import Layout, open_layout
from trainables.tasks.pde_bench.published import PUBLISHED, PublishedFile
from trainables.tasks.pde_bench.tasks import problems
from trainables.tasks.problem import Problem, Problems
from trainables.tasks.splitting import hold_out, shuffled
from trainables.tasks.store.arrays import release, row_blocks, scratch_array
from trainables.tasks.store.split import SPLITS, cut
from trainables.tasks.store.statistics import Standardiser, mean_and_std
from trainables.tasks.task import TaskInfo

TEST_FRACTION = 0.1
LOOKED_AT = 64  # samples for the check of the speed


@dataclass(frozen=True)
class PairReader:
    """Reader of the file of one task."""

    info: TaskInfo

    @property
    def _name(self) -> str:
        """The name of the published task, of which this task may be a variant."""
        return self.info.published_as or self.info.name

    def find(self, files: Sequence[Path], *, seed: int = 0) -> dict[str, Path]:
        """Return the file to read, by its published name.

        Raises:
            DataError: The file is missing.
        """
        del seed
        name = PUBLISHED[self._name].name
        return {name: find_file(files, name)}

    def read(self, files: Sequence[Path], scratch: Path, *, seed: int = 0) -> ImportedSplits:
        """Read the file slab by slab into arrays that are mapped from `scratch`.

        Raises:
            DataError: The file is missing or damaged, belongs to another task, or is not finite.
        """
        published, (path,) = PUBLISHED[self._name], self.find(files).values()
        task, ends = self._name.partition("/")[2], problems(self.info)
        problem: Any = ends.train
        # Training rows come first in the mapped arrays, then validation and test rows. Each split
        # is therefore a view, and reading needs one pass over the file.
        with open_file(path) as file:
            facts, notes = check_attributes(file, published, problem)
            layout = self._open(file, published, ends)
            rows = _rows(layout.count, problem, seed, task)
            order = np.concatenate([rows[split] for split in SPLITS])
            # Index 0 is the end time of training, 1 that of validation and test where it differs.
            times = np.full(layout.count, int(ends.scored != ends.train))
            times[rows["train"]] = 0
            x, y = _read_all(path, layout, order, times, scratch)
        md5, remarks = md5_note(path, published.md5)
        facts |= {"file": path.name, "frames": dict(layout.frames), "md5": md5}
        if published.speed:
            speed, sample = getattr(problem, published.speed), slice(LOOKED_AT)
            found, note = check_speed(path, x[sample], y[sample], speed, problem.end_time)
            facts, remarks = facts | {"speed": found}, [*remarks, *note]
        notes += remarks
        description: dict[str, Any] = {"published": facts, "notes": notes}
        if problem.normalized:
            description["normalization"] = _standardise(x, y, len(rows["train"]))
        return ImportedSplits(cut(rows, x, y), description)

    def _open(self, file: Any, published: PublishedFile, ends: Problems) -> Layout:
        """Return the layout of a file.

        Raises:
            DataError: Its grid differs from that of the task, or it has too few or too many
                samples.
        """
        train, scored = (vars(problem)["end_time"] for problem in (ends.train, ends.scored))
        layout = open_layout(file, published, [train] if train == scored else [train, scored])
        grid = self.info.input_shape[1:]
        if layout.grid != grid:
            raise damaged(
                file.filename, f"its fields give {layout.grid} points, but the task's {grid}"
            )
        # Each of the three splits needs a sample.
        if not 3 <= layout.count <= self.info.samples:
            raise damaged(
                file.filename,
                f"it has {layout.count} samples, but {self.info.samples} were published",
            )
        return layout


def _rows(count: int, problem: Problem, seed: int, task: str) -> dict[str, np.ndarray]:
    """Return the samples of each split, in random order."""
    num_test = max(1, round(count * TEST_FRACTION))
    start = 0 if problem.test_first else count - num_test
    rest = np.delete(np.arange(count), slice(start, start + num_test))
    rows = hold_out(len(rest), seed, task, "train")
    return {
        "train": rest[rows["train"]],
        "val": rest[rows["val"]],
        "test": start + shuffled(num_test, seed, task, "test"),
    }


def _read_all(
    path: Path, layout: Layout, order: np.ndarray, times: np.ndarray, scratch: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Read samples in the order of the file, and store them in the order of the splits.

    `order` [n] has sample numbers in the order of the splits, `times` [n] the index of the end time
    of each sample.
    """
    shape = (layout.count, 1, *layout.grid)
    x, y = (scratch_array(scratch / f"{column}.raw", shape, np.float32) for column in ("x", "y"))
    # The inverse of `order`: the row for each sample of the file.
    place = np.empty(layout.count, dtype=np.int64)
    place[order] = np.arange(layout.count)
    for start in range(0, layout.count, layout.step):
        slab = slice(start, min(start + layout.step, layout.count))
        for column, values in zip((x, y), layout.read(slab, times[slab]), strict=True):
            broken = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
            if broken.any():
                raise damaged(path, f"sample {start + int(broken.argmax())} is not finite")
            column[place[slab]] = values
            release(column)
    return x, y


def _standardise(x: np.ndarray, y: np.ndarray, num_train: int) -> dict[str, Any]:
    """Standardise each point in place, by the inputs of the first `num_train` rows."""
    standardise = Standardiser.of(*mean_and_std(x[:num_train]))
    for array in (x, y):
        for block in row_blocks(array):
            block[...] = standardise(block)
    return standardise.rule


RELATIVE_TOLERANCE = 1e-5  # of a parameter, which may be stored in single precision
MAX_UNEXPLAINED = 0.3  # maximal relative error between an output and its shifted input


def check_attributes(
    file: Any, published: PublishedFile, problem: Problem
) -> tuple[dict[str, Any], list[str]]:
    """Return the parameters that a file states, and a note for each missing one.

    Raises:
        DataError: A parameter has another value than in the task, or belongs to another task.
    """
    others = {name for file in PUBLISHED.values() for name in file.attributes}
    if foreign := sorted(others.difference(published.attributes).intersection(file.attrs)):
        raise damaged(file.filename, f"it states {foreign[0]}, as files of another task do")
    stated, notes = {}, []
    for attribute, name in published.attributes.items():
        expected = float(getattr(problem, name))
        value = _number(file.attrs, attribute)
        if value is None:
            notes.append(f"{Path(file.filename).name}: it does not state `{attribute}`.")
        elif not np.isclose(value, expected, rtol=RELATIVE_TOLERANCE, atol=0):
            raise damaged(
                file.filename, f"it states {attribute} = {value:g}, but the task has {expected:g}"
            )
        else:
            stated[attribute] = value
    return {"attributes": stated}, notes


def check_speed(
    path: Path, x: np.ndarray, y: np.ndarray, speed: float, time: float
) -> tuple[float, list[str]]:
    """Return the speed of the fields, which is the stated one or half of it, and a note.

    Args:
        path: The file, for messages.
        x: Inputs [n, 1, m].
        y: Outputs [n, 1, m].
        speed: The stated speed.
        time: Time from x to y.

    Raises:
        DataError: Neither speed explains the outputs.
    """
    unexplained = {each: _unexplained(x, y, each * time) for each in (speed, speed / 2)}
    found = min(unexplained, key=lambda each: unexplained[each])
    if unexplained[found] > MAX_UNEXPLAINED:
        raise damaged(
            path,
            f"moving the inputs at speed {speed:g} leaves {unexplained[speed]:.0%} of the outputs "
            f"unexplained, and at {speed / 2:g} {unexplained[speed / 2]:.0%}",
        )
    if found == speed:
        return speed, []
    note = (
        f"{path.name}: its fields move at {found:g}, half the stated speed, as in files of before "
        "September 2023. Numbers compare only with those on such a file."
    )
    return found, [note]


def _unexplained(x: np.ndarray, y: np.ndarray, distance: float) -> float:
    """Return the relative error of inputs that are shifted by `distance` on the periodic [0, 1)."""
    points = np.arange(x.shape[-1]) / x.shape[-1]
    moved = np.stack([np.interp(points - distance, points, row, period=1.0) for row in x[:, 0]])
    spread = np.square(y[:, 0] - y[:, 0].mean(axis=1, keepdims=True)).sum()
    error = np.square(moved - y[:, 0]).sum()
    return float(np.sqrt(error / spread)) if spread else 0.0


def _number(attributes: Mapping[str, Any], name: str) -> float | None:
    try:
        return float(np.asarray(attributes[name]).item())
    except (KeyError, ValueError, TypeError, OSError):
        return None
