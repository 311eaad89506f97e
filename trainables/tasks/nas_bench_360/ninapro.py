"""NinaPro: 18 hand movements from the muscle signals of an arm.

Atzori et al., "Building the Ninapro Database", BioRob 2012; as a task, Tu et al., "NAS-Bench-360",
NeurIPS 2022.

    x  16 electrodes at 52 times, unchanged    [1, 16, 52]
    y  the movement                            0..17

The files are {ninapro,label}_{train,val,test}.npy, [n, 52, 16] and [n]. As in ORCA, the official
training and validation sets are joined. The validation split is a tenth of each class of them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from trainables.tasks.benchmark import ImportedSplits
from trainables.tasks.formats.files import as_numbers, as_single, damaged, finds
from trainables.tasks.formats.restricted_pickle import load_npy
from trainables.tasks.splitting import Labelled, split_published

TIMES, ELECTRODES, CLASSES = 52, 16, 18
KINDS = ("ninapro", "label")

find = finds(*(f"{kind}_{part}.npy" for part in ("train", "val", "test") for kind in KINDS))


def read(files: Sequence[Path], scratch: Path, *, seed: int = 0) -> ImportedSplits:
    """Read the six arrays.

    Raises:
        DataError: A file is missing or damaged, or its array has another shape.
    """
    found = find(files)
    first, second, test = (_part(found, part) for part in ("train", "val", "test"))
    train = Labelled(np.concatenate([first.x, second.x]), np.concatenate([first.y, second.y]))
    return ImportedSplits(split_published(train, test, by_class=True, seed=seed, scope="ninapro"))


def _part(found: Mapping[str, Path], part: str) -> Labelled:
    path, labels = (found[f"{kind}_{part}.npy"] for kind in KINDS)
    x, y = (as_numbers(each, each.stem, load_npy(each)) for each in (path, labels))
    if y.ndim != 1:
        raise damaged(labels, f"labels must be [n], one a window, but are {list(y.shape)}")
    if x.shape != (y.size, TIMES, ELECTRODES):
        raise damaged(
            path,
            f"it must be [{y.size}, {TIMES}, {ELECTRODES}], as many as there are labels, but is "
            f"{list(x.shape)}",
        )
    if not (y.size and np.isin(y, np.arange(CLASSES)).all()):
        raise damaged(labels, f"its labels must be whole numbers of 0..{CLASSES - 1}")
    x = as_single(path, path.stem, x)
    return Labelled(x.transpose(0, 2, 1)[:, None], y.astype(np.int64))
