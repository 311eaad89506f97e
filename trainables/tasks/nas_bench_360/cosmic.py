"""Cosmic: the pixels of a Hubble image that cosmic rays struck.

Zhang and Bloom, "deepCR", ApJ 889 (2020); as a task, Tu et al., "NAS-Bench-360", NeurIPS 2022.

    x  image + s * sky, s ~ U(-0.9, 3), standardised    [1, 128, 128]
    y  struck, ignored: both of 0 and 1                 [2, 128, 128]

The files are deepCR.ACS-WFC.train.tar and deepCR.ACS-WFC.test.tar, or the folder of their contents:

    npy_{train,test}/FILTER/PROGRAM/VISIT/K_….npy       [2 or 3, 256, 256]: image, struck, ignored
    npy_{train,test}/FILTER/PROGRAM/VISIT/sky.npy       sky[K - 1], the level of the sky in image K
    {train,test}_dirs.npy                               lists of the images of each set, optional

Without lists, the images are those of the published script that makes the lists: galaxy fields in
filter F435W. The reader cuts a window of 128 x 128 at (64, 64). Official code draws s at each read
of an image, also in the test set. This reader draws it once for each image. As in official code, it
is 0 for a visit without sky.npy. Official code uses raw counts, while this reader standardises x by
all training pixels.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from trainables.errors import DataError
from trainables.tasks.benchmark import ImportedSplits
from trainables.tasks.formats.archives import find_archives, unpacked
from trainables.tasks.formats.files import damaged, shown
from trainables.tasks.formats.restricted_pickle import load_npy
from trainables.tasks.splitting import hold_out, shuffled, uniforms
from trainables.tasks.store.arrays import scratch_array
from trainables.tasks.store.split import SplitData

SIDE = 128
WINDOW = slice(64, 64 + SIDE)
SKY_RANGE = (-0.9, 3.0)
FILTER = "f435w"
GALAXIES = (  # PROGRAM_VISIT of the fields with galaxies, without clusters and blank sky
    *("10182_pb", "10182_pd", "10190_13", "10190_28", "10260_5", "10260_7", "10342_3", "10407_3"),
    *("10584_13", "10760_2", "10760_4", "12058_1", "12058_6", "12058_12", "12058_16", "12513_2"),
    *("12513_3", "13057_1", "13364_95", "13691_11", "13737_2", "13737_3", "13804_6", "14343_1"),
    *("14704_1", "9490_a2", "9490_a3"),
)
IMAGE = re.compile(
    r"npy_(?P<part>train|test)/(?P<filter>[^/]+)/(?P<field>[^/]+/[^/]+)/\d+_[^/]*\.npy"
)
TAIL = re.compile(r"(npy_(train|test)/.+|(train|test)_dirs)\.npy$")
PARTS = ("train", "test")

Contents = Mapping[str, Path]  # files by their published names
_damaged = partial(damaged, hint="Fetch the published archive again")


def find(files: Sequence[Path], *, seed: int = 0) -> dict[str, Path]:
    """Return the files to read by their published names: the archives, or their contents.

    Raises:
        DataError: A set or a listed image is missing.
    """
    archives, contents = _find(files)
    if archives:  # their contents are unknown until they are unpacked
        return {path.name: path for path in archives} | contents
    lists = [f"{part}_dirs.npy" for part in PARTS]
    names = [name for part in PARTS for name in _names(part, contents, files)]
    skies = {str(PurePath(name).with_name("sky.npy")) for name in names}
    wanted = [*lists, *names, *sorted(skies)]
    return {name: contents[name] for name in wanted if name in contents}


def read(files: Sequence[Path], scratch: Path, *, seed: int = 0) -> ImportedSplits:
    """Read the images. The validation split is a tenth of the training images.

    Raises:
        DataError: A file is no archive, or a set or a listed image is missing. Or an image has
            another shape, is not finite, or has masks with values other than 0 and 1.
    """
    archives, contents = _find(files)
    with unpacked(archives, scratch, TAIL) as folders:
        return _read(contents | _below(folders), files, scratch, seed)


def _read(contents: Contents, files: Sequence[Path], scratch: Path, seed: int) -> ImportedSplits:
    names = {part: _names(part, contents, files) for part in PARTS}
    rows = hold_out(len(names["train"]), seed, "cosmic", "train")
    rows["test"] = shuffled(len(names["test"]), seed, "cosmic", "test")
    splits = {}
    for split, indices in rows.items():
        part = "test" if split == "test" else "train"
        # All images of a part get a draw, so that an image has the same sky in any split.
        share = uniforms((len(names[part]),), seed, "cosmic", "sky", part)
        splits[split] = _read_split(
            contents, names[part], indices, share, scratch / f"cosmic-{split}"
        )
    return ImportedSplits(splits, {"normalization": _standardise(splits)})


def _find(files: Sequence[Path]) -> tuple[list[Path], dict[str, Path]]:
    """Return the archives to unpack, and the files below the named folders."""
    folders = [path for path in files if path.is_dir()]
    named = [path for path in files if not path.is_dir()]
    found = _below(folders)
    # Folders that hold images are unpacked already, so that archives beside them are not needed.
    if not any(map(IMAGE.fullmatch, found)):
        named += sorted(path for folder in folders for path in folder.glob("*.tar"))
    archives = [
        path
        for part in PARTS
        for path in find_archives(
            [*named, *folders], f"deepCR.ACS-WFC.{part}.tar", re.compile(rf"npy_{part}/.+\.npy$")
        )
    ]
    return list(dict.fromkeys(archives)), found


def _below(folders: Sequence[Path]) -> dict[str, Path]:
    paths = (path for folder in folders for path in folder.rglob("*.npy"))
    tails = ((path, TAIL.search(path.as_posix())) for path in paths)
    return {tail[0]: path for path, tail in tails if tail and path.is_file()}


def _names(part: str, contents: Contents, files: Sequence[Path]) -> list[str]:
    """Return the images of a part: those of its list, or the galaxy fields without a list."""
    where = ", ".join(map(str, files))
    if listed := contents.get(f"{part}_dirs.npy"):
        # Lists hold absolute paths of another machine, so only the ends of the paths count.
        tails = [(path, TAIL.search(str(path))) for path in load_npy(listed).ravel()]
        names = [tail[0] if tail else str(path) for path, tail in tails]
        absent = [name for name in names if name not in contents or not IMAGE.fullmatch(name)]
        if absent:
            raise DataError(
                f"{where}: {part}_dirs.npy lists {len(absent)} images that are not there, the "
                f"first {shown(absent[0])}. Unpack the whole archive of the {part} set."
            )
    else:
        names = [
            name
            for name in contents
            if (image := IMAGE.fullmatch(name))
            and (image["part"], image["filter"]) == (part, FILTER)
            and image["field"].replace("/", "_") in GALAXIES
        ]
    if not names:
        raise DataError(
            f"{where}: no image of the {part} set, npy_{part}/{FILTER}/PROGRAM/VISIT/K_….npy of a "
            f"galaxy field. Name deepCR.ACS-WFC.{part}.tar too, or the folder it was unpacked in."
        )
    return sorted(names)


def _read_split(
    contents: Contents, names: list[str], indices: np.ndarray, share: np.ndarray, stem: Path
) -> SplitData:
    x, y = (
        scratch_array(
            stem.with_name(f"{stem.name}-{column}.raw"), (len(indices), *shape), np.float32
        )
        for column, shape in (("x", (1, SIDE, SIDE)), ("y", (2, SIDE, SIDE)))
    )
    low, high = SKY_RANGE
    added = np.empty(len(indices))
    for row, index in enumerate(indices):
        planes = _read_image(contents[names[index]])
        added[row] = (low + (high - low) * share[index]) * _read_sky(contents[names[index]])
        x[row, 0], y[row] = planes[0] + added[row], planes[1:]
    return SplitData(sample_id=indices, x=x, y=y, params={"sky_added": added})


def _read_image(path: Path) -> np.ndarray:
    """Return the window of the image and of its masks struck and ignored, [3, 128, 128]."""
    stored = _load(path)
    if stored.ndim != 3 or len(stored) not in (2, 3) or min(stored.shape[1:]) < WINDOW.stop:
        raise _damaged(path, f"its shape must be [2 or 3, 256, 256], but is {list(stored.shape)}")
    # Without the third plane, no pixel is ignored.
    planes = np.zeros((3, SIDE, SIDE))
    planes[: len(stored)] = stored[:, WINDOW, WINDOW]
    if not np.isfinite(planes).all():
        raise _damaged(path, "it is not finite")
    if not np.isin(planes[1:], (0, 1)).all():
        raise _damaged(path, "its masks hold other values than 0 and 1")
    return planes


def _read_sky(image: Path) -> float:
    """Return the level of the sky in an image, or 0 if its visit has none, as in official code."""
    path = image.with_name("sky.npy")
    if not path.exists():
        return 0.0
    levels = _load(path).ravel()
    number = int(image.name.partition("_")[0])
    if not 1 <= number <= len(levels) or not np.isfinite(levels[number - 1]):
        raise _damaged(path, f"it has {len(levels)} levels, and no finite one of image {number}")
    return float(levels[number - 1])


def _load(path: Path) -> np.ndarray:
    stored = load_npy(path)
    if stored.dtype.kind not in "buif":
        raise _damaged(path, f"it must hold numbers, but holds {stored.dtype}")
    return stored


def _standardise(splits: Mapping[str, SplitData]) -> dict[str, Any]:
    """Standardise the inputs of every split in place by the training pixels."""
    train = splits["train"].x
    mean = float(train.mean(dtype=np.float64))
    # The squares of all images at once would be a second copy of them in memory.
    variances = [np.square(image - mean).mean(dtype=np.float64) for image in train]
    scale = float(np.sqrt(np.mean(variances))) or 1.0
    for data in splits.values():
        data.x[...] -= mean
        data.x[...] /= scale
    return {"kind": "(x - mean) / scale, by all training pixels", "mean": mean, "scale": scale}
