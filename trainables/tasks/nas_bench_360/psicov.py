"""PSICOV: distances between the residues of a protein.

Adhikari, "PDNET", Bioinformatics 36 (2020); as a task, Tu et al., "NAS-Bench-360", NeurIPS 2022.

    x  57 features of each pair of residues     [57, 512, 512]
    y  their distance in angstroms, known       [2, 512, 512]

The file is protein.zip, or the folder of its contents:

    {deepcov,psicov}.lst                     names of the proteins: for training, for test
    {deepcov,psicov}/features/NAME.pkl       seq, ss [3, L], pssm [L, 22], sa [L], entropy [L];
                                             ccmpred, freecon, potential [L, L]
    {deepcov,psicov}/distance/NAME-cb.npy    objects: L, sequence, distances [L, L]

The 27 numbers of a residue occur twice, once for each residue of a pair (`PairFeatures`). All 3606
proteins take 6 GB packed in half precision; unpacked, they would take 215 GB.

As in ORCA's loader, a protein starts at (5, 5) of a grid of 512 x 512. Distances are at least 1,
and at most 16 in training and validation. Those on the diagonal are the mean of their neighbours.
Of a protein longer than 502 residues, the reader takes one random section for both axes; ORCA draws
a section for each axis. Pairs outside the protein and pairs of unknown distance are masked; ORCA
trains on them too, with targets of 16 and 0.
"""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from trainables.tasks.benchmark import ImportedSplits
from trainables.tasks.formats.archives import find_archives, unpacked
from trainables.tasks.formats.files import as_numbers, damaged, find_root, open_regular, shown
from trainables.tasks.formats.restricted_pickle import load_npy, load_pickle
from trainables.tasks.splitting import hold_out, shuffled, uniforms
from trainables.tasks.store.arrays import scratch_array
from trainables.tasks.store.rows import pack
from trainables.tasks.store.split import SplitData

SIDE, START = 512, 5
MAX_LENGTH = SIDE - 2 * START
FARTHEST = 16.0  # angstroms, in training and validation
SMALLEST, LARGEST = 1.0, 500.0
FEATURE_BOUND = 100.0  # the bound of an assertion in PDNET's code
RESIDUE_FEATURES = 27  # ss 3, pssm 22, sa, entropy
MAPS = ("ccmpred", "freecon", "potential")
WANTED = re.compile(r"(deepcov|psicov)(\.lst|/features/[^/]+\.pkl|/distance/[^/]+-cb\.npy)$")
HOLDING = re.compile(r"(^|/)deepcov\.lst$")
PUBLISHED = "protein.zip"
SETS = {"train": "deepcov", "val": "deepcov", "test": "psicov"}
_damaged = partial(damaged, hint="Unpack protein.zip anew")


def find(files: Sequence[Path], *, seed: int = 0) -> dict[str, Path]:
    """Return the files to read by their published names: the archive, or its contents.

    Raises:
        DataError: A list is missing.
    """
    if archives := find_archives(files, PUBLISHED, HOLDING):
        return {path.name: path for path in archives}
    root = find_root(files, "deepcov.lst")
    found = {}
    for part in sorted(set(SETS.values())):
        found[f"{part}.lst"] = root / f"{part}.lst"
        for name in _names(root / f"{part}.lst"):
            for path in _of_protein(root / part, name):
                found[path.relative_to(root).as_posix()] = path
    return found


def read(files: Sequence[Path], scratch: Path, *, seed: int = 0) -> ImportedSplits:
    """Read the proteins. The validation split is a tenth of the training proteins.

    Raises:
        DataError: A list or a protein is missing, or an array has another shape or is out of range.
    """
    archives = find_archives(files, PUBLISHED, HOLDING)
    with unpacked(archives, scratch, WANTED) as folders:
        return _read(find_root(folders or files, "deepcov.lst"), scratch, seed)


def _read(root: Path, scratch: Path, seed: int) -> ImportedSplits:
    names = {name: _names(root / f"{name}.lst") for name in set(SETS.values())}
    rows = hold_out(len(names["deepcov"]), seed, "psicov", "train")
    rows["test"] = shuffled(len(names["psicov"]), seed, "psicov", "test")
    splits = {}
    for split, indices in rows.items():
        folder = root / SETS[split]
        # All proteins of a set get a draw, so that one has the same stretch in any split.
        position = uniforms((len(names[folder.name]),), seed, "psicov", "stretch", folder.name)
        farthest = LARGEST if split == "test" else FARTHEST
        stem = scratch / f"psicov-{split}"
        splits[split] = _read_split(folder, names[folder.name], indices, position, farthest, stem)
    return ImportedSplits(splits, {"pair_features": {"num_maps": len(MAPS)}})


def _names(path: Path) -> list[str]:
    """Return the names in a list of proteins, which are the first words of its lines.

    Raises:
        DataError: The list is unreadable or empty, has an invalid or repeated name, or names a
            protein whose files are missing.
    """
    try:
        with open_regular(path) as file:
            lines = file.read().decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, f"it is no list of proteins ({error})") from error
    names = [words[0] for line in lines if (words := line.split())]
    if not names:
        raise _damaged(path, "it names no protein")
    if unfit := [name for name in names if len(PurePath(name).parts) != 1 or name == ".."]:
        raise _damaged(path, f"it names {shown(unfit[0])}, which is no protein")
    if len(set(names)) < len(names):
        raise _damaged(path, "it names a protein twice")
    for name in names:
        for part in _of_protein(path.with_suffix(""), name):
            if not part.is_file():
                raise _damaged(part, "it is not there, or no regular file")
    return names


def _of_protein(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the paths of the features and of the distances of a protein."""
    return folder / "features" / f"{name}.pkl", folder / "distance" / f"{name}-cb.npy"


def _read_split(
    folder: Path,
    names: list[str],
    indices: np.ndarray,
    position: np.ndarray,
    farthest: float,
    stem: Path,
) -> SplitData:
    count, num_rows = len(indices), RESIDUE_FEATURES + 1 + len(MAPS) * SIDE
    x = scratch_array(Path(f"{stem}-x.raw"), (count, num_rows, SIDE), np.float16)
    y = scratch_array(Path(f"{stem}-y.raw"), (count, 2, SIDE, SIDE), np.float32)
    lengths = np.empty(count, dtype=np.int64)
    # Unknown distances are stored as 0 with a mask of 0, because a store holds finite numbers only.
    for row, index in enumerate(indices):
        features, distances = _of_protein(folder, names[index])
        residues, maps = _read_features(features)
        lengths[row] = length = residues.shape[1]
        distance = _read_distances(distances, length)
        kept = min(length, MAX_LENGTH)
        first = int(position[index] * (length - kept + 1))
        part, place = slice(first, first + kept), slice(START, START + kept)
        x[row] = pack(residues[:, part], maps[:, part, part], side=SIDE, start=START)
        known = np.isfinite(distance[part, part])
        y[row, 0, place, place] = np.where(known, distance[part, part], 0).clip(max=farthest)
        y[row, 1, place, place] = known
    return SplitData(sample_id=indices, x=x, y=y, params={"length": lengths})


def _read_features(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of the residues [27, L] and of the pairs [3, L, L]."""
    stored = load_pickle(path)
    if not isinstance(stored, dict) or "seq" not in stored:
        raise _damaged(path, "it must be a dictionary with `seq`")
    length = len(stored["seq"])
    shapes: dict[str, tuple[int, ...]] = {
        "ss": (3, length),
        "pssm": (length, 22),
        "sa": (length,),
        "entropy": (length,),
    } | dict.fromkeys(MAPS, (length, length))
    arrays = {}
    for key, shape in shapes.items():
        if key not in stored:
            raise _damaged(path, f"it has no `{key}`")
        arrays[key] = _array(path, key, stored[key], shape)
        if not np.abs(arrays[key]).max() < FEATURE_BOUND:  # written so that NaN fails too
            raise _damaged(path, f"`{key}` must lie within +-{FEATURE_BOUND:g}")
    residues = np.vstack([arrays["ss"], arrays["pssm"].T, arrays["sa"], arrays["entropy"]])
    return residues, np.stack([arrays[key] for key in MAPS])


def _read_distances(path: Path, length: int) -> np.ndarray:
    """Return the distances [L, L] in angstroms, at least 1, and NaN if unknown.

    Values on the diagonal are the means of their neighbours.
    """
    stored = load_npy(path)
    if stored.shape != (3,):
        raise _damaged(path, "it must hold three objects: length, sequence, distances")
    distances = _array(path, "distances", stored[2], (length, length))
    distances = np.where(np.isfinite(distances), distances.clip(min=SMALLEST), np.nan)
    if np.nanmax(distances, initial=0) > LARGEST:
        raise _damaged(path, f"distances must be at most {LARGEST:g}")
    beside = np.full((2, length), np.nan)
    beside[0, 1:], beside[1, :-1] = np.diagonal(distances, -1), np.diagonal(distances, 1)
    known = np.isfinite(beside).sum(0)
    # Where both neighbours are unknown, the smallest distance stands. `clip` avoids 0 / 0 there.
    np.fill_diagonal(distances, np.where(known, np.nansum(beside, 0) / known.clip(1), SMALLEST))
    return distances


def _array(path: Path, key: str, stored: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = as_numbers(path, key, stored, "Unpack protein.zip anew").astype(np.float64)
    if array.shape != shape or not array.size:
        raise _damaged(path, f"`{key}` must have shape {list(shape)}, but has {list(array.shape)}")
    return array
