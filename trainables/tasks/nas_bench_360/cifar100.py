"""CIFAR-100: photographs of 100 kinds of objects.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.

    x  pixels, standardised per channel    [3, 32, 32]
    y  the fine label                      0..99

The files are one of the official versions, as an archive or as its folder:

    cifar-100-python/{train,test}        pickled: data uint8 [n, 3072], fine_labels
    cifar-100-binary/{train,test}.bin    records of 3074 bytes: coarse label, fine label, pixels

Pixels are ordered by red, green and blue, and row by row. Means and deviations are those of ORCA's
code.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from trainables.errors import DataError
from trainables.tasks.benchmark import ImportedSplits
from trainables.tasks.formats.archives import find_archives, unpacked
from trainables.tasks.formats.files import as_numbers, damaged, look_up, md5_note
from trainables.tasks.formats.restricted_pickle import load_pickle
from trainables.tasks.splitting import Labelled, split_published

SHAPE, PIXELS, CLASSES = (3, 32, 32), 3072, 100
RECORD = 2 + PIXELS  # bytes
MAX_BYTES = 2**28  # maximal bytes of a part; the published one has 156 million
MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)  # of pixels in [0, 1]
SCALING = {"mean": [255 * m for m in MEAN], "std": [255 * s for s in STD]}
MD5 = {
    "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
    "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
}
PARTS = ("train", "test")
WANTED = re.compile(r"(^|/)(train|test)(\.bin)?$")
_damaged = partial(damaged, hint="Fetch cifar-100-python.tar.gz again")


def find(files: Sequence[Path], *, seed: int = 0) -> dict[str, Path]:
    """Return the files to read by their published names: the archive, or both parts.

    Raises:
        DataError: A part is missing.
    """
    for published in MD5:
        if archives := find_archives(files, published, WANTED):
            return {archives[0].name: archives[0]}
    parts = [look_up(files, f"{part}.bin") or look_up(files, part) for part in PARTS]
    found = {path.name: path for path in parts if path is not None}
    if len(found) < len(PARTS):
        part = PARTS[parts.index(None)]
        raise DataError(
            f"{', '.join(map(str, files))}: neither {part} nor {part}.bin there. Name "
            "cifar-100-python.tar.gz, or a folder that it was unpacked in."
        )
    return found


def read(files: Sequence[Path], scratch: Path, *, seed: int = 0) -> ImportedSplits:
    """Read both parts. The validation split is a tenth of each training class.

    Raises:
        DataError: A part is missing or truncated, or it has a label above 99.
    """
    found = find(files)
    if archives := [path for name, path in found.items() if not WANTED.search(name)]:
        with unpacked(archives, scratch, WANTED) as folders:
            train, test = _read_parts(find(folders))
    else:
        train, test = _read_parts(found)
    splits = split_published(train, test, by_class=True, seed=seed, scope="cifar100")
    notes = [n for name in MD5 if name in found for n in md5_note(found[name], MD5[name])[1]]
    return ImportedSplits(splits, {"input_scaling": SCALING, "notes": notes})


def _read_parts(found: Mapping[str, Path]) -> list[Labelled]:
    return [_read_part(part, found.get(f"{part}.bin") or found[part]) for part in PARTS]


def _read_part(part: str, path: Path) -> Labelled:
    if (size := path.stat().st_size) > MAX_BYTES:
        raise _damaged(path, f"it has {size} bytes, more than images and labels take: {MAX_BYTES}")
    if path.suffix == ".bin":
        if not size or size % RECORD:
            raise _damaged(
                path,
                f"it is cut short at byte {size}: its size must be a multiple of {RECORD} bytes",
            )
        # A record begins with the coarse label, which is not that of the task.
        rows = np.frombuffer(path.read_bytes(), dtype=np.uint8).reshape(-1, RECORD)
        images, labels = rows[:, 2:], rows[:, 1].astype(np.int64)
    else:
        stored = load_pickle(path)
        if not isinstance(stored, dict) or not {"data", "fine_labels"} <= stored.keys():
            raise _damaged(path, f"{part} must hold `data` and `fine_labels`")
        images, labels = (as_numbers(path, n, stored[n]) for n in ("data", "fine_labels"))
    if labels.ndim != 1 or images.dtype != np.uint8 or images.shape != (labels.size, PIXELS):
        raise _damaged(
            path,
            f"{part} must have {PIXELS} bytes of pixels for each of {labels.size} labels, but they "
            f"are {images.dtype}{list(images.shape)}",
        )
    if not (labels.size and np.isin(labels, np.arange(CLASSES)).all()):
        raise _damaged(path, f"labels of {part} must lie in 0..{CLASSES - 1}")
    return Labelled(images.reshape(-1, *SHAPE), labels.astype(np.int64))
