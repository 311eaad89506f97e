"""Satellite: 24 kinds of land cover of a pixel, from 46 satellite images of a year.

Petitjean et al., "Satellite image time series analysis under time warping", IEEE TGRS 50 (2012);
as a task, Tu et al., "NAS-Bench-360", NeurIPS 2022.

    x  the series, unchanged as in ORCA (NAS-Bench-360 standardises each)    [1, 46]
    y  the kind of land cover                                                0..23

The files are satellite_{train,test}.npy, each a pickled {data [n, 46], label [n] of 1..24}.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainables.tasks.benchmark import ImportedSplits
from trainables.tasks.formats.files import as_numbers, as_single, damaged, finds
from trainables.tasks.formats.restricted_pickle import load_npy
from trainables.tasks.splitting import Labelled, split_published

FILES = ("satellite_train.npy", "satellite_test.npy")
TIMES, CLASSES = 46, 24

find = finds(*FILES)


def read(files: Sequence[Path], scratch: Path, *, seed: int = 0) -> ImportedSplits:
    """Read both files. The validation split is a tenth of the training series.

    Raises:
        DataError: A file is missing or damaged, or has another layout.
    """
    train, test = map(_part, find(files).values())
    return ImportedSplits(
        split_published(train, test, by_class=False, seed=seed, scope="satellite")
    )


def _part(path: Path) -> Labelled:
    array = load_npy(path)
    # NumPy saves a dictionary as an array of one object, without axes.
    stored = array.item() if array.dtype == object and array.ndim == 0 else None
    if not isinstance(stored, dict) or not {"data", "label"} <= stored.keys():
        raise damaged(path, "it must hold a dictionary with `data` and `label`")
    x, y = (as_numbers(path, name, stored[name]) for name in ("data", "label"))
    if y.ndim != 1 or x.shape != (y.size, TIMES):
        raise damaged(
            path, f"`data` must be [{y.size}, {TIMES}], as many as labels, but is {list(x.shape)}"
        )
    if not (y.size and np.isin(y, np.arange(1, CLASSES + 1)).all()):
        raise damaged(path, f"labels must be whole numbers of 1..{CLASSES}")
    return Labelled(as_single(path, "data", x)[:, None], y.astype(np.int64) - 1)
