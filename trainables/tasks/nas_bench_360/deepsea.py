"""DeepSEA: 36 chromatin features of a DNA sequence.

Zhou and Troyanskaya, Nature Methods 12 (2015); as a task, Tu et al., "NAS-Bench-360", NeurIPS 2022.

    x  1 for the base at each of 1000 positions    [4, 1000]
    y  1 for each present feature                  [36]

The file is deepsea_filtered.npz with x_{train,val,test} [n, 1000, 4] and y_{train,val,test}
[n, 36]. As in ORCA, the official training and validation sets are joined. The validation split is a
tenth of them. Sequences are read a few thousand at a time and stored as bytes.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from trainables.tasks.benchmark import ImportedSplits
from trainables.tasks.formats.archives import open_member
from trainables.tasks.formats.files import as_numbers, damaged, finds
from trainables.tasks.formats.restricted_pickle import load_npy, read_head
from trainables.tasks.splitting import hold_out, shuffled
from trainables.tasks.store.arrays import scratch_array
from trainables.tasks.store.split import SplitData

FILE = "deepsea_filtered.npz"
BASES, LENGTH, FEATURES = 4, 1000, 36
CHUNK = 4096  # sequences read at once
MAX_BYTES = {  # maximal unpacked bytes: twice the published sequences, in numbers of 8 bytes
    "x": 8 * BASES * LENGTH * 2 * 223_643,
    "y": 8 * FEATURES * 2 * 223_643,
}
_damaged = partial(damaged, hint=f"Fetch {FILE} again")

find = finds(FILE)


def read(files: Sequence[Path], scratch: Path, *, seed: int = 0) -> ImportedSplits:
    """Read the six arrays.

    Raises:
        DataError: The file is missing or damaged, or an array has another shape or values other
            than 0 and 1.
    """
    (path,) = find(files).values()
    y = {part: _read_features(path, part) for part in ("train", "val", "test")}
    features = np.concatenate([y["train"], y["val"]])
    rows = hold_out(len(features), seed, "deepsea", "train")
    # Training and validation rows share one file in scratch, and the splits are views of it.
    development = np.concatenate([rows["train"], rows["val"]])
    order = shuffled(len(y["test"]), seed, "deepsea", "test")
    x = _read_sequences(path, {p: len(y[p]) for p in ("train", "val")}, development, scratch)
    cut = len(rows["train"])
    splits = {
        "train": SplitData(sample_id=rows["train"], x=x[:cut], y=features[rows["train"]]),
        "val": SplitData(sample_id=rows["val"], x=x[cut:], y=features[rows["val"]]),
        "test": SplitData(
            sample_id=len(features) + order,
            x=_read_sequences(path, {"test": len(order)}, order, scratch),
            y=y["test"][order],
        ),
    }
    return ImportedSplits(splits)


def _read_features(path: Path, part: str) -> np.ndarray:
    with open_member(path, f"y_{part}.npy", MAX_BYTES["y"]) as file:
        y = as_numbers(path, f"y_{part}", load_npy(file))
    if y.ndim != 2 or y.shape[1] != FEATURES or not len(y):
        raise _damaged(path, f"y_{part} must be [n, {FEATURES}], but is {list(y.shape)}")
    _check_bits(path, f"y_{part}", y)
    return y.astype(np.float32)


def _read_sequences(
    path: Path, sizes: dict[str, int], order: np.ndarray, scratch: Path
) -> np.ndarray:
    """Return the concatenated sequences of some parts in `order`, [n, 4, 1000]."""
    name, shape = f"deepsea-{'-'.join(sizes)}.raw", (len(order), BASES, LENGTH)
    x = scratch_array(scratch / name, shape, np.uint8)
    row = np.argsort(order)  # the row of each sequence in the result
    first = 0
    for part, size in sizes.items():
        for sequences in _chunks(path, part, size):
            place = row[first : first + len(sequences)]
            x[place] = sequences.transpose(0, 2, 1)
            first += len(sequences)
    return x


def _chunks(path: Path, part: str, size: int) -> Iterator[np.ndarray]:
    """Yield blocks of sequences, uint8 [k, 1000, 4]."""
    # The member is decompressed block by block, because all sequences together take gigabytes.
    with open_member(path, f"x_{part}.npy", MAX_BYTES["x"]) as file:
        try:
            shape, fortran, dtype = read_head(file)
        except ValueError as error:
            raise _damaged(path, f"x_{part} is no .npy file ({error})") from error
        if shape != (size, LENGTH, BASES) or fortran or dtype.kind not in "buif":
            raise _damaged(
                path,
                f"x_{part} must be [{size}, {LENGTH}, {BASES}] of numbers, row by row, as many as "
                f"y_{part}, but is {dtype}{list(shape)}",
            )
        for start in range(0, size, CHUNK):
            numbers = min(CHUNK, size - start) * LENGTH * BASES
            content = file.read(numbers * dtype.itemsize)
            if len(content) != numbers * dtype.itemsize:
                raise _damaged(path, f"x_{part} is cut short at its byte {file.tell()}")
            sequences = np.frombuffer(content, dtype=dtype).reshape(-1, LENGTH, BASES)
            _check_bits(path, f"x_{part}", sequences, start)
            yield sequences.astype(np.uint8)


def _check_bits(path: Path, name: str, rows: np.ndarray, start: int = 0) -> None:
    """Check that rows hold only 0 and 1.

    `start` is the number of the first row, for the message.

    Raises:
        DataError: A row holds another value.
    """
    fit = ((rows == 0) | (rows == 1)).reshape(len(rows), -1).all(axis=1)
    if not fit.all():
        row = start + int(fit.argmin())
        raise _damaged(path, f"{name} must be of 0 and 1, but is not in row {row} (counted from 0)")
