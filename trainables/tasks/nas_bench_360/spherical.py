"""Spherical: images of CIFAR-100, projected on a sphere with a random rotation.

Cohen et al., "Spherical CNNs", ICLR 2018; as a task, Tu et al., "NAS-Bench-360", NeurIPS 2022.

    x  pixels in [0, 1]    [3, 60, 60]
    y  the label           0..99

The file is s2_cifar100.gz, a pickle of {train, test} of {images uint8 [n, 3, 60, 60], labels [n]}.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainables.tasks.benchmark import ImportedSplits
from trainables.tasks.formats.archives import open_gzip
from trainables.tasks.formats.files import as_numbers, damaged, finds
from trainables.tasks.formats.restricted_pickle import load_pickle
from trainables.tasks.splitting import Labelled, split_published

FILE = "s2_cifar100.gz"
SHAPE, CLASSES = (3, 60, 60), 100
MAX_BYTES = 2**30  # maximal unpacked bytes; the published file has 650 million
SCALING = {"mean": [0.0] * 3, "std": [255.0] * 3}
_damaged = partial(damaged, hint=f"Fetch {FILE} again")

find = finds(FILE)


def read(files: Sequence[Path], scratch: Path, *, seed: int = 0) -> ImportedSplits:
    """Read both parts. The validation split is a tenth of each training class.

    Raises:
        DataError: The file is missing or truncated, or has another layout.
    """
    (path,) = find(files).values()
    with open_gzip(path, MAX_BYTES) as file:
        stored = load_pickle(file)
    train, test = (_part(path, stored, part) for part in ("train", "test"))
    splits = split_published(train, test, by_class=True, seed=seed, scope="spherical")
    return ImportedSplits(splits, {"input_scaling": SCALING})


def _part(path: Path, stored: Any, part: str) -> Labelled:
    arrays = stored.get(part) if isinstance(stored, Mapping) else None
    if not isinstance(arrays, Mapping) or not {"images", "labels"} <= arrays.keys():
        raise _damaged(path, f"it must hold `{part}`, with `images` and `labels`")
    x, y = (as_numbers(path, f"{part}/{name}", arrays[name]) for name in ("images", "labels"))
    if y.ndim != 1 or x.dtype != np.uint8 or x.shape != (y.size, *SHAPE):
        raise _damaged(
            path,
            f"{part} must have an image uint8{list(SHAPE)} for each of {y.size} labels, but they "
            f"are {x.dtype}{list(x.shape)}",
        )
    if not (y.size and np.isin(y, np.arange(CLASSES)).all()):
        raise _damaged(path, f"labels of {part} must lie in 0..{CLASSES - 1}")
    return Labelled(x, y.astype(np.int64))
