"""Darcy Flow: the pressure of a fluid in a porous square.

Li et al., "Fourier Neural Operator", ICLR 2021; as a task, Tu et al., "NAS-Bench-360", NeurIPS
2022.

    -div(a grad u) = 1 on (0, 1)^2, u = 0 on the boundary, a of two values

    x  a, standardised at each point by the training fields; coordinates across, down    [3, 85, 85]
    y  u, in its own unit                                                                [1, 85, 85]

The files are piececonst_r421_N1024_smooth1.mat for training and piececonst_r421_N1024_smooth2.mat
for test, each with `coeff` and `sol` [1024, 421, 421]. The reader keeps every fifth point of the
first 1000 and the first 100 fields. Outputs are stored in their own unit. ORCA predicts outputs
that are standardised at each point, and decodes them before loss and metric. `orca_pool`
(`models.predictors`) does the same, with the statistics of the training split; ORCA includes the
validation fields. The `linear` head predicts in a common unit of all points.
"""

import math
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.io import loadmat, whosmat

from trainables.tasks.benchmark import ImportedSplits
from trainables.tasks.formats.files import (
    BinaryFile,
    as_numbers,
    as_single,
    blamed,
    damaged,
    finds,
    open_regular,
    shown,
)
from trainables.tasks.formats.hdf5 import find_array, open_file, read_array
from trainables.tasks.splitting import Labelled, split_published
from trainables.tasks.store.statistics import Standardiser

SIDE, STEP = 85, 5  # points kept, of 421
FIELDS = {"piececonst_r421_N1024_smooth1.mat": 1000, "piececonst_r421_N1024_smooth2.mat": 100}
MAX_NUMBERS = 1024 * 421 * 421  # numbers in a published array
HEAD = 128  # bytes of the header of a version 5 file
KINDS = ("double", "single", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)))

find = finds(*FIELDS)


def read(files: Sequence[Path], scratch: Path, *, seed: int = 0) -> ImportedSplits:
    """Read both files. The validation split is a tenth of the training fields.

    Raises:
        DataError: A file is missing, is no MATLAB file, or has no array of this shape.
    """
    train, test = (_read_fields(path, FIELDS[name]) for name, path in find(files).items())
    splits = split_published(train, test, by_class=False, seed=seed, scope="darcy_flow")
    # The statistics are those of the training split alone, so that no other split leaks into them.
    coefficient = splits["train"].x[:, 0]
    standardise = Standardiser.of(
        coefficient.mean(axis=0, dtype=np.float64), coefficient.std(axis=0, dtype=np.float64)
    )
    for data in splits.values():
        data.x[:, 0] = standardise(data.x[:, 0])
    return ImportedSplits(
        splits,
        {
            "normalization": {
                "kind": "(a - mean) / std at each point, by the training fields",
                "mean": standardise.shift.tolist(),
                "std": standardise.scale.tolist(),
            }
        },
    )


def _read_fields(path: Path, fields: int) -> Labelled:
    coefficient, pressure = (
        as_single(path, name, _read_array(path, name)[:fields]) for name in ("coeff", "sol")
    )
    if coefficient.shape != pressure.shape:
        raise damaged(
            path, f"`coeff` {list(coefficient.shape)} and `sol` {list(pressure.shape)} differ"
        )
    x = np.empty((len(coefficient), 3, SIDE, SIDE), dtype=np.float32)
    across = np.linspace(0, 1, SIDE, dtype=np.float32)
    x[:, 0], x[:, 1], x[:, 2] = coefficient, across, across[:, None]
    return Labelled(x, pressure[:, None])


def _read_array(path: Path, name: str) -> np.ndarray:
    """Return every fifth point of an array, [n, 85, 85]."""
    # Size, shape and type are checked before SciPy allocates memory for the array.
    fault = f"it is no MATLAB file with `{name}` [n, 421, 421]"
    with open_regular(path) as file, blamed(path, fault, file=file):
        try:
            _check_whole(file, path.stat().st_size)
            found = {key: (shape, kind) for key, shape, kind in whosmat(file)}
            _check_shape(path, name, *found.get(name, (None, "")))
            array: np.ndarray = loadmat(file, variable_names=[name])[name][:, ::STEP, ::STEP]
        except NotImplementedError:  # SciPy does not read version 7.3, which is HDF5
            array = _read_hdf5(path, name)
    array = as_numbers(path, name, array)
    if array.shape[1:] != (SIDE, SIDE) or not len(array):
        raise damaged(
            path,
            f"every fifth point of `{name}` must be [n, {SIDE}, {SIDE}], but is "
            f"{list(array.shape)}",
        )
    return array


def _check_whole(file: BinaryFile, size: int) -> None:
    """Check that the arrays of a version 5 file are complete. SciPy would not notice.

    Raises:
        ValueError: The file ends inside an array.
    """
    head = file.read(HEAD)
    # The writer stores two letters as one number, whose order tells that of the bytes.
    order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
    if order is None or head[124:126] not in (b"\x00\x01", b"\x01\x00"):
        return  # another version, or no MATLAB file
    place = HEAD
    while place < size:
        # Each array begins with its type and its number of bytes.
        file.seek(place)
        tag = file.read(8)
        declared = struct.unpack(f"{order}II", tag)[1] if len(tag) == 8 else 0
        place += 8 + declared
    if place > size:
        raise ValueError(f"it was cut short: an array extends to byte {place}")
    file.seek(0)


def _check_shape(path: Path, name: str, shape: tuple[int, ...] | None, kind: str) -> None:
    """Check, before reading, that an array holds numbers and is not larger than published."""
    if shape is None:
        return
    if math.prod(shape) > MAX_NUMBERS or min(shape, default=0) < 0:
        raise damaged(path, f"`{name}` is larger than [1024, 421, 421]: {list(shape)}")
    if kind not in KINDS:
        raise damaged(path, f"`{name}` is no array of numbers: its class is {shown(kind)}")


def _read_hdf5(path: Path, name: str) -> np.ndarray:
    """Return every fifth point of an array of a version 7.3 file, whose axes are reversed."""
    with open_file(path) as file:
        array = find_array(file, name, 3)
        _check_shape(path, name, array.shape[::-1], "double")
        every = slice(None, None, STEP)
        return read_array(array, (every, every)).T
