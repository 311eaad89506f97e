"""The verification of a stored data set. It reads all bytes and checks their content.

faults      data that no trial may read: altered bytes, numbers that are not finite, unknown labels,
            a sample in two splits, a regression whose training outputs are all constant
findings    remarkable properties: recurring inputs, near duplicates, outputs of a regression that
            are constant in a split, and notes of the import

A sample is in two splits if both contain its number and its input. If only the input occurs in
both, bit for bit, this is a finding in published data. In generated data it is a fault, unless
`TaskInfo.recurring` gives a reason.

The search for near duplicates is limited, because all pairs would take hours. For at most 256
inputs of a split, it computes the distance to the nearest of at most 4096 training inputs, at no
more than 1024 evenly spaced points. The unit is the root mean square distance of the training
inputs from their mean. A split takes at most 10^9 products, or one second. Splits are in random
order, so their first rows are a random sample.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.metrics import pairwise_distances_argmin_min

from trainables.errors import DataError
from trainables.tasks.registry import task_info
from trainables.tasks.store.arrays import row_blocks
from trainables.tasks.store.manifest import MANIFEST
from trainables.tasks.store.split import SPLITS, Rows
from trainables.tasks.store.store import Store
from trainables.tasks.task import TaskInfo

LOOKED_AT, COMPARED_WITH, POINTS = 256, 4096, 1024
NOTHING_TO_LEARN = "every training output is constant: there is nothing to learn."
SHORT = 64  # numbers of a row that tell most rows apart
NEAR = 0.01  # distance of a near duplicate, in units of the spread of the training inputs


class DataFault(NamedTuple):
    """A fault of a file or folder."""

    where: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The faults and findings of one data set."""

    folder: Path
    faults: tuple[DataFault, ...]
    findings: tuple[str, ...] = ()
    samples: Mapping[str, int] = field(default_factory=dict)  # by split
    nearest: Mapping[str, Mapping[str, int | float]] = field(default_factory=dict)  # val, test


@dataclass(frozen=True)
class _Inputs:
    """The stored inputs of a split [n, ...], their hashes [n] and their sample numbers [n]."""

    x: np.ndarray
    hashes: np.ndarray
    sample_id: np.ndarray


def _shared(
    folder: Path, pair: tuple[tuple[str, _Inputs], tuple[str, _Inputs]], reason: str
) -> tuple[list[DataFault], list[str]]:
    """Return the faults and findings about samples that two splits have in common.

    The same recurring input is a finding if the protocol or the publication explains it, and a
    fault otherwise.
    """
    (a, one), (b, other) = pair
    faults: list[DataFault] = []
    first, second = (
        set(zip(part.sample_id.tolist(), part.hashes.tolist(), strict=True))
        for part in (one, other)
    )
    if both := sorted(number for number, _ in first & second):
        text = f"{len(both)} samples are in {a} and in {b}, the first of them number {both[0]}."
        faults.append(_of(folder, text))
    recurs = int(np.isin(other.hashes, one.hashes).sum())
    text = f"{recurs} of {len(other.x)} inputs of {b} are in {a} too, bit for bit"
    if recurs and not reason:
        faults.append(_of(folder, f"{text}."))
    return faults, [f"{text}: {reason}."] if recurs and reason else []


def _of_near(split: str, facts: Mapping[str, int | float]) -> str:
    return (
        f"{split}: {facts['near']} of the {facts['looked_at']} inputs looked at are within "
        f"{NEAR:.0%} of the nearest of {facts['compared_with']} training inputs, by their spread; "
        f"the median is at {facts['median']:.2g}."
    )


def verify_folder(folder: Path, name: str) -> Verification:
    """Read and check a complete data set of the task `name`.

    Raises:
        ConfigError: The task is unknown.
    """
    info = task_info(name)
    try:
        store = Store(folder)
    except DataError as error:
        return Verification(folder=folder, faults=(_fault(error, folder),))
    if (task := store.manifest.get("task")) != name:
        return Verification(folder=folder, faults=(_of(folder, f"these are data of {task}."),))
    faults: list[DataFault] = []
    findings = list(store.manifest.get("notes", ()))
    inputs: dict[str, _Inputs] = {}
    for split in SPLITS:
        try:
            store.verify(split)
            misfits = list(_misfits(store, split, info))
            faults += misfits
            if not misfits and info.kind == "regression":
                wrong, remarkable = _constants(store, split, info)
                faults += wrong
                findings += remarkable
            x = store.stored(split)["x"]
            inputs[split] = _Inputs(x, row_hashes(x), store.columns(split)["sample_id"])
        except DataError as error:
            faults.append(_fault(error, folder))
    published = store.manifest.get("data_source") == "official"
    reason = info.recurring or ("so they were published" if published else "")
    for pair in combinations(inputs.items(), 2):
        wrong, remarkable = _shared(folder, pair, reason)
        faults += wrong
        findings += remarkable
    nearest = {
        split: nearest_of(inputs["train"].x, part.x)
        for split, part in inputs.items()
        if split != "train" and "train" in inputs
    }
    findings += [_of_near(split, facts) for split, facts in nearest.items() if facts["near"]]
    return Verification(
        folder=folder,
        faults=tuple(faults),
        findings=tuple(findings),
        samples={split: len(part.x) for split, part in inputs.items()},
        nearest=nearest,
    )


def outputs_fit(info: TaskInfo, y: np.ndarray, grid: tuple[int, ...]) -> bool:
    """Return whether stored outputs have the shape and the labels of a task.

    `y` [n, ...] are outputs as stored, `grid` is the shape of a channel of the inputs.
    """
    classes = info.channels[1]
    if info.kind == "classification":
        return y.ndim == 1 and bool(y.min() >= 0 and y.max() < classes)
    if info.kind == "regression":
        return y.shape[1:] == (classes,) and y.dtype.kind == "f"
    if info.kind == "multilabel":
        return y.shape[1:] == (classes,) and _only_zero_and_one(y)
    if info.mask is None:
        return y.shape[1:] == (classes, *grid)
    return y.shape[1:] == (classes + 1, *grid) and _only_zero_and_one(y[:, -1])


def constant_outputs(y: np.ndarray) -> list[int]:
    """Return the numbers of the outputs, of vectors [n, k], that are equal in all samples."""
    return np.flatnonzero(y.min(axis=0) == y.max(axis=0)).tolist()


def _constants(
    store: Store, split: str, info: TaskInfo
) -> tuple[Sequence[DataFault], Sequence[str]]:
    """Return the fault or the finding on constant outputs of a regression's split, if any."""
    y = getattr(store, split).y
    constant, outputs = constant_outputs(y), info.channels[1]
    if split == "train" and len(constant) == outputs:
        return (_of(store.folder / "train.arrow", NOTHING_TO_LEARN),), ()
    # In a single sample each output is constant.
    if not constant or len(y) == 1:
        return (), ()
    numbers = ", ".join(map(str, constant))
    return (), (f"{split}: {len(constant)} of {outputs} outputs constant, from 0: {numbers}.",)


def _of(path: Path, text: str) -> DataFault:
    return DataFault(str(path), text)


def _fault(error: DataError, folder: Path) -> DataFault:
    """Return the fault of the store's error. The message may begin with the path of a file."""
    for name in (MANIFEST, *(f"{split}.arrow" for split in SPLITS)):
        start = f"{folder / name}: "
        if str(error).startswith(start):
            return _of(folder / name, str(error).removeprefix(start))
    return _of(folder, str(error))


def _only_zero_and_one(array: np.ndarray) -> bool:
    return all(bool(((block == 0) | (block == 1)).all()) for block in row_blocks(array))


def _misfits(store: Store, split: str, info: TaskInfo) -> Iterator[DataFault]:
    path, data = store.folder / f"{split}.arrow", getattr(store, split)
    shape, y = tuple(data.x.shape[1:]), data.y
    official = store.manifest.get("data_source") == "official"
    # Generated data may have another resolution than published ones.
    if shape[0] != info.channels[0] or (official and shape != info.input_shape):
        text = f"inputs are {list(shape)}, but the task's are {list(info.input_shape)}."
        yield _of(path, text)
    if not outputs_fit(info, y, shape[1:]):
        text = (
            f"outputs, {y.dtype}{list(y.shape)}, are not of the task's {info.channels[1]} "
            f"{info.kind} outputs: a label out of range, or another shape."
        )
        yield _of(path, text)


def row_hashes(x: np.ndarray, part: slice = slice(None)) -> np.ndarray:
    """Return a hash of each row, or of a part of its numbers, uint64 [n].

    Among a million rows, the probability of a collision is 3e-8.
    """
    flat = np.asarray(x).reshape(len(x), -1)
    rows = (row for block in row_blocks(flat) for row in block[:, part])
    digests = [blake2b(row, digest_size=8).digest() for row in rows]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def all_recur(x: np.ndarray, others: Sequence[np.ndarray]) -> bool:
    """Return whether each row of `x` is a row of one of the `others` too, bit for bit."""
    middle = np.asarray(x).reshape(len(x), -1).shape[1] // 2
    # Rows whose middles differ do differ. Whole rows are only compared if all middles recur.
    for part in (slice(middle, middle + SHORT), slice(None)):
        first, *known = (row_hashes(rows, part) for rows in (x, *others))
        if not np.isin(first, np.concatenate(known)).all():
            return False
    return True


def nearest_of(train: Rows, held_out: Rows) -> dict[str, int | float]:
    """Return statistics of the distances to the nearest training input, in units of their spread.

    `train` [n, ...] and `held_out` [m, ...] are in random order.
    """
    size = int(np.prod(train.shape[1:]))
    # Both sets are centred by the training mean, so that distances of large values keep precision.
    points = np.unique(np.linspace(0, size - 1, POINTS).astype(np.int64))
    others, rows = (
        np.asarray(array[np.arange(min(count, len(array)))])
        .reshape(-1, size)[:, points]
        .astype(np.float64)
        for array, count in ((train, COMPARED_WITH), (held_out, LOOKED_AT))
    )
    centred = others - others.mean(axis=0)
    spread = float(np.sqrt(np.square(centred).sum(axis=1).mean())) or 1.0
    _, distances = pairwise_distances_argmin_min(rows - others.mean(axis=0), centred)
    distances = distances / spread
    return {
        "looked_at": len(rows),
        "compared_with": len(others),
        "near": int((distances < NEAR).sum()),
        "smallest": float(distances.min()),
        "median": float(np.median(distances)),
    }
